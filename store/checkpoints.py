"""Checkpoints: numeric arrays in one verified file each; the record names the newest and the one before.

The order that makes them safe: the file is whole on the disk (`put`) → one fenced write makes its manifest the
record's newest, together with every event up to its step → older files are removed (`prune`). A worker that
dies anywhere in between leaves a record whose two manifests both have their files.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kernels.errors import Corrupted, NotFound
from store.files import LocalArtifacts, StoredFile
from store.records import Job, Json

Arrays = dict[str, np.ndarray[Any, Any]]

_NAME = re.compile(r"(\d+)-checkpoint-(\d+)(-\d+)?\.npz")
_NUMERIC = "?biuf"
"""Kinds of dtype that a checkpoint may hold: bool, integers, floats."""


@dataclass(frozen=True)
class Restored:
    """The newest checkpoint that is what was written, and what was wrong with those passed over."""

    arrays: Arrays | None
    manifest: Json | None
    problems: tuple[str, ...]


class Checkpoints:
    """Checkpoint files `<job>/<fence>-checkpoint-<step>.npz` among the artifacts, a second one `…-2.npz`."""

    def __init__(self, artifacts: LocalArtifacts) -> None:
        self.artifacts = artifacts

    def put(self, job_id: str, fence: int, step: int, epoch: int, arrays: Mapping[str, Any]) -> Json:
        """Write a checkpoint whole and durable.

        Args:
            job_id: whose.
            fence: the claim's fence: two workers never write the same file.
            step: updates done so far.
            epoch: epochs completed so far.
            arrays: everything a resume needs, by name; numeric arrays only.

        Returns:
            The manifest for `write(claim, checkpoint=…)`: key, sha256, bytes, step, epoch, fence.

        Raises:
            DiskFull: no space left; the earlier checkpoints are untouched.
            TypeError: an array that is not numeric (nothing is ever pickled).
        """
        checked = {name: _numeric(name, value) for name, value in arrays.items()}
        stored = self.artifacts.put(
            self._free_key(f"{job_id}/{fence}-checkpoint-{step}"),
            lambda file: np.savez(file, allow_pickle=False, **checked),
        )
        return {
            "key": stored.key,
            "sha256": stored.sha256,
            "bytes": stored.bytes,
            "step": step,
            "epoch": epoch,
            "fence": fence,
        }

    def _free_key(self, name: str) -> str:
        """A key of no file: the record may name one of the same step, after a run went on from an earlier one."""
        key, number = f"{name}.npz", 1
        while self.artifacts.path(key).exists():
            number += 1
            key = f"{name}-{number}.npz"
        return key

    def prune(self, job_id: str, fence: int, keep: tuple[Json, ...]) -> int:
        """Remove checkpoint files of this claim and earlier ones that are not in `keep`.

        Call it after the fenced write was accepted, with the two manifests that the record now names. Files of
        a later claim are never touched, so a worker that lost its lease meanwhile does no harm.

        Returns:
            How many files were removed.
        """
        wanted = {manifest["key"] for manifest in keep}
        removed = 0
        for path in self.artifacts.path(job_id).glob("*-checkpoint-*.npz"):
            match = _NAME.fullmatch(path.name)
            if match and int(match[1]) <= fence and f"{job_id}/{path.name}" not in wanted:
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def load(self, manifest: Json) -> Arrays:
        """The arrays of one checkpoint. Raises: NotFound, Corrupted."""
        with self.artifacts.open(manifest["key"]) as file:
            content = file.read()
        if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
            raise Corrupted(f"{manifest['key']} does not match its sha256")
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (ValueError, zipfile.BadZipFile) as error:
            raise Corrupted(f"{manifest['key']} is no checkpoint: {error}") from error

    def locate(self, manifest: Json) -> Path:
        """Where one checkpoint lies, read once and found to be what was written. Raises: NotFound, Corrupted."""
        self.artifacts.verify(StoredFile(manifest["key"], manifest["sha256"], manifest["bytes"]))
        return self.artifacts.path(manifest["key"])

    def load_latest(self, job: Job) -> Restored:
        """The newest checkpoint that the record names and whose file is what was written.

        Returns:
            Its arrays and manifest (None, None: start anew), and a sentence for each one that was passed over.
        """
        problems: list[str] = []
        for manifest in job.checkpoints:
            try:
                return Restored(self.load(manifest), manifest, tuple(problems))
            except (Corrupted, NotFound) as error:
                problems.append(f"checkpoint of step {manifest['step']} passed over: {error}")
        return Restored(None, None, tuple(problems))


def _numeric(name: str, value: Any) -> np.ndarray[Any, Any]:
    array = np.asarray(value)
    if array.dtype.kind not in _NUMERIC:
        raise TypeError(f"checkpoint array {name!r} has dtype {array.dtype}; must be numeric")
    return array
