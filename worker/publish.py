"""The files of a run: checkpoints to resume from, and the result, each whole on the disk before anyone is told."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from nets.export import load_npz, to_npz
from nets.member import Member, State
from nets.origin import Origin
from nets.table import TableInfo
from nets.threads import beside_others
from nets.trainer import Outcome
from nets.weights import pack
from store.checkpoints import Checkpoints
from store.files import LocalArtifacts, StoredFile
from store.records import Claim, Job
from worker import failpoints, log
from worker.outbox import Outbox

Manifest = dict[str, Any]

PREPARES = ("input_", "target_")
"""How the names of what prepares inputs and restores targets begin: a run computes it anew, an export does not."""


class Files:
    """Writes and reads the files of claimed jobs below `data_dir`."""

    def __init__(self, data_dir: Path) -> None:
        self._artifacts = LocalArtifacts(data_dir)
        self._checkpoints = Checkpoints(self._artifacts)
        self._packing = threading.Lock()
        """One result at a time is put together: that is Python's work, and threads that train wait for their turn."""

    def resume(self, claim: Claim, outbox: Outbox) -> State | None:
        """The newest checkpoint that is what was written, or None to start anew; says what was passed over."""
        restored = self._checkpoints.load_latest(replace(claim.job, checkpoints=outbox.checkpoints))
        for problem in restored.problems:
            log.warning("checkpoint_passed_over", job=claim.job_id, detail=problem)
            outbox.add(("log", {"level": "warning", "message": problem}))
        if restored.manifest is not None:
            log.info("resuming", job=claim.job_id, step=restored.manifest["step"], epoch=restored.manifest["epoch"])
        arrays = restored.arrays
        return None if arrays is None else {name: arrays[name] for name in arrays if not name.startswith(PREPARES)}

    def origin(self, job: Job) -> Origin | None:
        """The weights that a fork starts from. Raises: NotFound, Corrupted."""
        if job.origin is None:
            return None
        stored = StoredFile(*(job.origin[key] for key in ("key", "sha256", "bytes")))
        self._artifacts.verify(stored)
        return Origin.from_arrays(load_npz(self._artifacts.path(stored.key)))

    def save_checkpoint(self, claim: Claim, member: Member, state: State, step: int, epoch: int) -> Manifest:
        """Write a checkpoint durably, with what prepares its inputs; returns its manifest. Raises: DiskFull."""
        prepares = {} if member.data.preprocessing is None else member.data.preprocessing.arrays()
        with failpoints.writing("checkpoint"):
            return self._checkpoints.put(claim.job_id, claim.fence, step, epoch, state | prepares)

    def prune(self, claim: Claim, keep: tuple[Manifest, ...]) -> None:
        """Remove the checkpoints of this job that the record no longer names; one that stays does no harm."""
        try:
            self._checkpoints.prune(claim.job_id, claim.fence, keep)
        except OSError as error:
            log.warning("checkpoints_not_pruned", job=claim.job_id, detail=str(error))

    def save_result(self, claim: Claim, member: Member, about: TableInfo, outcome: Outcome) -> Manifest:
        """Write the weights durably and read them back. Returns: key, sha256, bytes. Raises: DiskFull, Corrupted."""
        preprocessing = member.data.preprocessing
        if preprocessing is None:
            raise ValueError("a member without preprocessing has no portable weights")
        failpoints.reach("before_result")
        # the last bits of its golden vectors depend on the threads of BLAS
        with self._packing, beside_others(member.layout.count):
            content = to_npz(pack(outcome.parameters, preprocessing, member.spec, about, outcome.metrics))
        with failpoints.writing("result"):
            stored = self._artifacts.put(f"{claim.job_id}/{claim.fence}-weights.npz", content)
        self._artifacts.verify(stored)
        failpoints.reach("after_result_file")
        return {"key": stored.key, "sha256": stored.sha256, "bytes": stored.bytes}
