"""Data sets: an upload becomes arrays and a record, once per content; built-in sets look just the same.

A data set never changes and its id stands for its content: the hash of the uploaded bytes, the options and the
format. Its files lie in `<data_dir>/datasets/<id>/`: `x.npy` (n_rows, n_features) with numbers or category codes and
NaN for missing, `y.npy` (n_rows,) with class codes (int64) or values (float64), and `info.json`. They are written in a
temporary folder and appear by one rename; then the record is written. Whoever is killed in between leaves nothing
that anyone sees, and the next upload of the same content takes up what is there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from redis import Redis

from kernels.errors import Conflict, InvalidInput, NotFound
from store import builtin, keys, scripts
from store.connection import redis_errors
from store.files import disk_errors, publish_folder, staging_folder, sweep, sync_directory
from store.ingest.formats import detect
from store.ingest.intake import Intake, Upload, receive
from store.ingest.limits import MAX_NAME_CHARACTERS, Limits
from store.ingest.options import IngestOptions, Source
from store.ingest.problems import shown
from store.ingest.sandbox import ingest
from store.records import iso

_log = logging.getLogger(__name__)

INGEST_VERSION = 5
"""Part of every id; raised when the same file would become other arrays."""

MAX_UPLOAD_BYTES = 32 << 30
"""Size of one upload unless the caller says otherwise."""

PARALLEL_INGESTS = 2
"""Files read at the same time by one process; further uploads wait for their turn."""

PAGE_MAX = 100
"""Most records in one page."""

CURSOR_S = 3600
"""How long the id of a deleted data set still works as a page cursor."""

BUILTIN_CREATED_AT_MS = 1_767_225_600_000
"""The time shown for built-in sets, 2026-01-01: before any upload."""

_ID = re.compile(r"ds_[0-9a-f]{24}")
_SUFFIXES = re.compile(r"(\.[A-Za-z0-9]{1,8}){1,2}$")


@dataclass(frozen=True)
class Dataset:
    """The record of one data set.

    Attributes:
        info: what `info.json` holds: id, name, task, n_rows, n_features, n_classes, classes, columns, target,
            standardize, image, warnings, format, sha256 and bytes of what was uploaded.
        created_at_ms: by the clock of Redis; the same early time for every built-in set.
    """

    info: Mapping[str, Any]
    created_at_ms: int

    @property
    def id(self) -> str:
        """`ds_…`, or the name of a built-in set."""
        return str(self.info["id"])

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.info["name"])

    @property
    def is_builtin(self) -> bool:
        """Whether it comes with the service."""
        return self.id in builtin.BUILTINS

    def to_json(self) -> dict[str, Any]:
        """The resource as the API shows it."""
        return {
            "id": self.id,
            "object": "dataset",
            **self.info,
            "builtin": self.is_builtin,
            "created_at": iso(self.created_at_ms),
        }


@dataclass(frozen=True)
class DatasetPage:
    """One page of a listing, newest first; built-in sets come last."""

    items: tuple[Dataset, ...]
    has_more: bool


class DatasetStore:
    """Every operation on data sets.

    Args:
        redis: where the records are.
        data_dir: below which the files are.
        limits: what one file may cost.

    Raises from every method that asks Redis: StoreUnavailable.
    """

    def __init__(self, redis: Redis, data_dir: Path, limits: Limits | None = None) -> None:
        self.redis = redis
        self.root = data_dir / "datasets"
        self.limits = limits or Limits()
        self._turns = threading.BoundedSemaphore(PARALLEL_INGESTS)
        self._create = redis.register_script(scripts.source("dataset_create"))
        self._delete = redis.register_script(scripts.source("dataset_delete"))

    def sweep(self) -> int:
        """Remove what dead processes left unfinished; call it at start. Returns how many."""
        return sweep(self.root)

    def receive(self, max_bytes: int = MAX_UPLOAD_BYTES) -> AbstractContextManager[Intake]:
        """An intake for one upload: `intake.file(name).write(chunk)` …, then `create_from_upload(intake.uploads(), …)`.

        Raises (from the intake): TooLarge, DiskFull, InvalidInput for a file's name.
        """
        return receive(self.root, max_bytes)

    def create_from_upload(self, uploads: Sequence[Upload], options: Mapping[str, Any]) -> Dataset:
        """Read an upload and record it; the same bytes with the same options give the same data set.

        Blocks while the file is read, in a process with limits of its own.

        Raises:
            InvalidInput: bad options, or a bad file: errors carry pointer, row and column (`CellError`).
            TooLarge: a bomb.
            DiskFull: no space left; nothing is left behind.
        """
        asked = IngestOptions.from_json(options)
        sources = [Source(upload.path, upload.filename) for upload in uploads]
        form = detect(sources, asked).name
        dataset_id = _content_id(uploads, asked, form)
        target = self.root / dataset_id
        with self._exclusive():
            if target.is_dir():
                return self._record(dataset_id)
        with self._turns, staging_folder(self.root) as folder:
            info = {
                "id": dataset_id,
                "name": asked.name or _name_of(uploads[0].filename),
                "sha256": _content_sha256(uploads),
                "bytes": sum(upload.bytes for upload in uploads),
                **ingest(sources, asked, folder, self.limits),
            }
            (folder / "info.json").write_text(json.dumps(info, allow_nan=False), encoding="utf-8")
            _flush(folder)
            with self._exclusive():
                publish_folder(folder, target)
                return self._record(dataset_id)

    def _record(self, dataset_id: str) -> Dataset:
        """Write the record of files that are in place, unless it is there."""
        text = (self.root / dataset_id / "info.json").read_text(encoding="utf-8")
        with redis_errors():
            found = self._create(args=[dataset_id, text])
        return _from_hash(dict(zip(found[::2], found[1::2], strict=True)))

    def get(self, dataset_id: str) -> Dataset:
        """The record of a data set, built-in ones included. Raises: NotFound."""
        if dataset_id in builtin.BUILTINS:
            return _builtin(dataset_id)
        if _ID.fullmatch(dataset_id) is None:
            raise _missing(dataset_id)
        with redis_errors():
            found = cast("dict[bytes, bytes]", self.redis.hgetall(keys.dataset(dataset_id)))
        if not found:
            raise _missing(dataset_id)
        return _from_hash(found)

    def page(self, limit: int = 20, after: str | None = None) -> DatasetPage:
        """Data sets, newest first, those after the data set `after`; the built-in ones are the oldest.

        Raises:
            InvalidInput: a limit outside 1..100, or a cursor that names no data set.
        """
        if not 1 <= limit <= PAGE_MAX:
            raise InvalidInput.at("/query/limit", f"is {limit}; must be 1..{PAGE_MAX}")
        fixed = list(builtin.BUILTINS)
        if after is not None and after in builtin.BUILTINS:
            rest = fixed[fixed.index(after) + 1 :]
            return DatasetPage(tuple(map(_builtin, rest[:limit])), len(rest) > limit)
        items = self._uploaded(limit + 1, after)
        items += [_builtin(dataset_id) for dataset_id in fixed[: max(0, limit + 1 - len(items))]]
        return DatasetPage(tuple(items[:limit]), len(items) > limit)

    def _uploaded(self, count: int, after: str | None) -> list[Dataset]:
        with redis_errors():
            highest = "+inf" if after is None else f"({self._sequence(after)}"
            found = self.redis.zrevrangebyscore(keys.DATASETS, highest, "-inf", start=0, num=count)
            ids = cast("list[bytes]", found)
            with self.redis.pipeline(transaction=False) as pipeline:
                for dataset_id in ids:
                    pipeline.hgetall(keys.dataset(dataset_id.decode()))
                return [_from_hash(found) for found in pipeline.execute() if found]

    def _sequence(self, dataset_id: str) -> int:
        found = None
        if _ID.fullmatch(dataset_id) is not None:
            found = self.redis.hget(keys.dataset(dataset_id), "sequence")
            found = found or self.redis.get(keys.TEMPLATES["deleted"] % dataset_id)
        if found is None:
            raise InvalidInput.at("/query/after", f"names no data set: {shown(dataset_id)}")
        return int(found)

    def delete(self, dataset_id: str) -> None:
        """Forget a data set and remove its files. Raises: NotFound; Conflict while an unfinished job uses it."""
        if dataset_id in builtin.BUILTINS:
            raise Conflict(f"{dataset_id} is built in and cannot be deleted")
        if _ID.fullmatch(dataset_id) is None:
            raise _missing(dataset_id)
        with staging_folder(self.root) as folder, self._exclusive(), redis_errors():
            answer = self._delete(args=[dataset_id, CURSOR_S])
            if answer[0] == b"ok" and (self.root / dataset_id).is_dir():
                (self.root / dataset_id).rename(folder / dataset_id)
                sync_directory(self.root)
        if answer[0] == b"missing":
            raise _missing(dataset_id)
        if answer[0] == b"busy":
            raise Conflict(f"{dataset_id} is used by {answer[1]} unfinished jobs; cancel them or wait for their end")

    def load(self, dataset_id: str) -> tuple[dict[str, Any], npt.NDArray[Any], npt.NDArray[Any]]:
        """The description and the arrays of a data set, memory-mapped and read-only.

        Returns:
            The content of `info.json`; x (n_rows, n_features) float64 or float32; y (n_rows,) int64 or float64.

        Raises:
            NotFound: no such data set, or its files are gone.
        """
        info = dict(self.get(dataset_id).info)
        folder = self._builtin_folder(dataset_id) if dataset_id in builtin.BUILTINS else self.root / dataset_id
        try:
            x = np.load(folder / "x.npy", mmap_mode="r", allow_pickle=False)
            y = np.load(folder / "y.npy", mmap_mode="r", allow_pickle=False)
        except FileNotFoundError as error:
            raise NotFound(f"the files of data set {dataset_id} are gone") from error
        return info, x, y

    def _builtin_folder(self, dataset_id: str) -> Path:
        """Where the files of a built-in set are; made at the first use, by whoever is first."""
        described = str(builtin.descriptions()[dataset_id]["sha256"])
        target = self.root / f"{dataset_id}-{described[:12]}"
        if not target.is_dir():
            with staging_folder(self.root) as folder:
                made = builtin.write_cells(dataset_id, folder)
                if made["sha256"] != described:
                    _log.warning("%s has sha256 %s; %s is described", dataset_id, made["sha256"], described)
                publish_folder(folder, target)
        return target

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Files and record change together: no deletion comes between publishing and recording."""
        self.root.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _content_sha256(uploads: Sequence[Upload]) -> str:
    """The hash of the one file, or of the hashes of several, whose order means nothing."""
    if len(uploads) == 1:
        return uploads[0].sha256
    return hashlib.sha256("\n".join(sorted(upload.sha256 for upload in uploads)).encode()).hexdigest()


def _content_id(uploads: Sequence[Upload], options: IngestOptions, form: str) -> str:
    parts = [INGEST_VERSION, form, options.to_json(), sorted(upload.sha256 for upload in uploads)]
    return "ds_" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _name_of(filename: str) -> str:
    """A data set's default name: the file's, without folders and endings."""
    last = PurePosixPath(filename.replace("\\", "/")).name
    return (_SUFFIXES.sub("", last) or last or "data")[:MAX_NAME_CHARACTERS]


def _from_hash(found: Mapping[bytes, bytes]) -> Dataset:
    return Dataset(json.loads(found[b"record"]), int(found[b"created_at_ms"]))


def _builtin(dataset_id: str) -> Dataset:
    return Dataset(builtin.descriptions()[dataset_id], BUILTIN_CREATED_AT_MS)


def _missing(dataset_id: str) -> NotFound:
    return NotFound(f"no data set {shown(dataset_id)}")


def _flush(folder: Path) -> None:
    """Write the files to the disk before the lock is taken, so that nobody waits for it."""
    with disk_errors():
        for path in folder.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
