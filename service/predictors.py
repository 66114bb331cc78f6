"""Weights as the API hands them out: found, verified against their sha256, converted, held ready to predict."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from kernels.errors import Corrupted, InvalidInput, NotFound
from nets.export import load_npz, map_npz
from nets.parts import input_table, inputs_of, parts_of
from nets.preprocess import Preprocessing
from nets.resolve import layout_of
from nets.scoring import Evaluation, evaluate
from nets.spec import ResolvedSpec
from nets.table import Table, TableInfo
from nets.threads import beside_others
from nets.weight_formats import EXPORTERS, SUFFIXES, write
from nets.weights import Predictor, pack
from service.problems import Refused
from service.tables import Tables
from service.text import echo
from store.checkpoints import Checkpoints
from store.files import LocalArtifacts, StoredFile, hidden_file, sha256_of_open
from store.records import Job, Json

Held = TypeVar("Held")

CACHED_BYTES = 256 * 1024 * 1024
"""Of converted files, and again of predictors."""

HELD_BYTES = 16 * 1024 * 1024
"""Larger results are sent from the disk, after each of them was read once to verify it; what is made of larger files
is made on the disk."""

HIDDEN_BYTES = 4 * 1024 * 1024 * 1024
"""Of the disk, for converted files that are too large for memory."""

_COPIED_BYTES = 1 << 20
"""Of a file at a time."""

LATEST = "latest"
"""The value of `checkpoint` that stands for the newest one."""


class ByteCache(Generic[Held]):
    """The most recently used values up to a number of bytes. Two threads may make the same value; one is kept."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._held: OrderedDict[str, tuple[Held, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: str, make: Callable[[], tuple[Held, int]]) -> Held:
        """The value of `key`; `make` gives the value and its size in bytes."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key][0]
        value, size = make()
        with self._lock:
            if key not in self._held and size <= self._limit:
                self._held[key] = (value, size)
                self._bytes += size
            while self._bytes > self._limit:
                self._bytes -= self._held.popitem(last=False)[1][1]
        return value


@dataclass(frozen=True)
class WeightsFile:
    """One file of weights: its bytes, or where they lie if they are many; their sha256 in hex; the service's name."""

    content: bytes | Path | BinaryIO
    sha256: str
    filename: str

    def copy_to(self, out: BinaryIO) -> None:
        """Write the content into an open file. An open one is read by position: several may copy it at once."""
        if isinstance(self.content, bytes):
            out.write(self.content)
        elif isinstance(self.content, Path):
            with self.content.open("rb") as file:
                shutil.copyfileobj(file, out)
        else:
            at = 0
            while piece := os.pread(self.content.fileno(), _COPIED_BYTES, at):
                out.write(piece)
                at += len(piece)


class Ready:
    """A predictor with its lock: it computes in buffers of its own."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._lock = threading.Lock()

    def evaluate(self, table: Table) -> Evaluation:
        """Figures on a whole table; others' predictions come in between its blocks. Raises InvalidInput."""
        return evaluate(self._predictor, table, self.scores)

    def scores(self, cells: NDArray[np.float64]) -> NDArray[Any]:
        """Cells (R, F) -> raw scores (R, O)."""
        with self._lock, beside_others(self._predictor.layout.count):
            return self._predictor.scores(cells)

    @property
    def predictor(self) -> Predictor:
        """The net; its buffers belong to whoever is in `scores`."""
        return self._predictor

    @property
    def info(self) -> TableInfo:
        """What the net was trained on."""
        return self._predictor.info

    def predict(self, rows: list[Any]) -> Json:
        """Predictions for JSON rows, as the API shows them. Raises InvalidInput naming row and column."""
        cells = self._predictor.cells(rows)
        with self._lock, beside_others(self._predictor.layout.count):
            found = self._predictor.predict(cells)
        classes = list(self._predictor.info.classes) or None
        unseen = self._predictor.unseen(rows, cells)
        return {
            "object": "predictions",
            "predictions": found.predictions,
            "probabilities": None if found.probabilities is None else found.probabilities.tolist(),
            "classes": classes,
            "unseen": [asdict(one) for one in unseen],
        }


class Predictors:
    """Files and predictors of jobs' weights, made when first asked for."""

    def __init__(self, artifacts: LocalArtifacts, tables: Tables) -> None:
        self._artifacts = artifacts
        self._checkpoints = Checkpoints(artifacts)
        self._tables = tables
        self._files: ByteCache[WeightsFile] = ByteCache(CACHED_BYTES)
        self._hidden: ByteCache[WeightsFile] = ByteCache(HIDDEN_BYTES)
        self._ready: ByteCache[Ready] = ByteCache(CACHED_BYTES)

    def file(self, job: Job, file_format: str, checkpoint: str | None) -> WeightsFile:
        """The weights of a job, or of one of its checkpoints, in a format.

        Raises:
            Refused: 404, there are none (yet). Corrupted: what is on the disk is not what was written.
        """
        source = _source(job, checkpoint)
        name = job.id if checkpoint is None else f"{job.id}-step-{source['step']}"
        if file_format == "npz" and "step" not in source and source["bytes"] > HELD_BYTES:
            self._artifacts.verify(StoredFile(source["key"], source["sha256"], source["bytes"]))
            return WeightsFile(self._artifacts.path(source["key"]), source["sha256"], f"{name}.npz")
        key = f"{source['sha256']} {name}.{file_format}"  # equal weights of two jobs differ in the file's name
        filename = f"{name}.{SUFFIXES.get(file_format, file_format)}"
        if source["bytes"] > HELD_BYTES:
            return self._hidden.get(key, lambda: self._make_hidden(job, source, file_format, filename))
        return self._files.get(key, lambda: self._make(job, source, file_format, filename))

    def source(self, job: Job, checkpoint: str | None) -> Json:
        """The manifest of the same weights: sha256, and the step of a checkpoint. Raises as `file` does."""
        return _source(job, checkpoint)

    def ready(self, job: Job, checkpoint: str | None) -> Ready:
        """The predictor of the same weights."""
        source = _source(job, checkpoint)

        def make() -> tuple[Ready, int]:
            arrays = self.arrays(job, checkpoint)
            return Ready(Predictor.from_arrays(arrays)), sum(array.nbytes for array in arrays.values())

        return self._ready.get(f"{source['sha256']} {job.id}", make)  # a checkpoint's file does not say of which net

    def arrays(self, job: Job, checkpoint: str | None) -> dict[str, NDArray[Any]]:
        """The arrays of the same weights. Raises as `file` does."""
        content = self.file(job, "npz", checkpoint).content
        if isinstance(content, bytes | Path):
            return load_npz(content)
        with ExitStack() as opened:
            mapped = self._packed_from_disk(job, _source(job, checkpoint), opened)
            return {name: np.array(array) for name, array in mapped.items()}

    def _make_hidden(self, job: Job, source: Json, file_format: str, filename: str) -> tuple[WeightsFile, int]:
        """The same file made on the disk from mapped arrays, in no more memory than a few blocks."""
        with ExitStack() as opened:
            arrays = self._packed_from_disk(job, source, opened) if "step" in source else self._mapped(source)
            file = hidden_file(self._artifacts.root, partial(write, file_format, arrays))
        return WeightsFile(file, sha256_of_open(file), filename), os.fstat(file.fileno()).st_size

    def _mapped(self, source: Json) -> dict[str, NDArray[Any]]:
        self._artifacts.verify(StoredFile(source["key"], source["sha256"], source["bytes"]))
        return map_npz(self._artifacts.path(source["key"]))

    def _packed_from_disk(self, job: Job, manifest: Json, opened: ExitStack) -> dict[str, NDArray[Any]]:
        """A checkpoint's weights, mapped from a file of their own: products would copy what is not aligned."""
        try:
            stored = map_npz(self._checkpoints.locate(manifest))
        except NotFound:
            raise _files_gone(job) from None
        flat = stored["parameters"]
        content = memoryview(flat.data).cast("B")
        file = opened.enter_context(hidden_file(self._artifacts.root, lambda path: path.write_bytes(content)))
        return self._portable(job, stored | {"parameters": np.asarray(np.memmap(file, flat.dtype, "r"))})

    def _make(self, job: Job, source: Json, file_format: str, filename: str) -> tuple[WeightsFile, int]:
        content = self._packed(job, source) if "step" in source else self._read(source)
        if file_format != "npz":
            content = EXPORTERS[file_format](load_npz(content))
        return WeightsFile(content, hashlib.sha256(content).hexdigest(), filename), len(content)

    def _read(self, source: Json) -> bytes:
        with self._artifacts.open(source["key"]) as file:
            content = file.read()
        if hashlib.sha256(content).hexdigest() != source["sha256"]:
            raise Corrupted(f"{source['key']} is not what was written: its sha256 differs")
        return content

    def _packed(self, job: Job, manifest: Json) -> bytes:
        """A checkpoint as a weights file."""
        try:
            stored = self._checkpoints.load(manifest)
        except NotFound:
            raise _files_gone(job) from None
        return EXPORTERS["npz"](self._portable(job, stored))

    def _portable(self, job: Job, stored: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The arrays of a weights file from those of a checkpoint; one without preprocessing has it fitted again."""
        spec = ResolvedSpec.parse(job.spec)
        try:
            about = inputs_of(self._tables.info(job.dataset), spec.training)
            if "input_mean" in stored:
                small = {name: np.array(array) for name, array in _small(stored)}
                preprocessing = Preprocessing.from_arrays(small, spec.features)
            else:
                table = self._tables.table(job.dataset)
                rows = parts_of(table, spec.training).train
                inputs = input_table(table, spec.training)
                preprocessing = Preprocessing.fit(inputs, rows, spec.features, spec.training.seed)
        except NotFound:
            raise _files_gone(job) from None
        flat = stored["parameters"]
        named = layout_of(spec, preprocessing.n_inputs, about.n_outputs).named(flat)
        return pack(named, preprocessing, spec, about, {}, flat=flat)


def _small(stored: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, NDArray[Any]]]:
    """What prepares inputs and restores targets."""
    return ((name, array) for name, array in stored.items() if name.startswith(("input_", "target_")))


def _files_gone(job: Job) -> Refused:
    return _no_weights(f"the files of this checkpoint, or data set {job.dataset}, are gone")


def _source(job: Job, checkpoint: str | None) -> Json:
    """The manifest of what was asked for: the result's, or a checkpoint's (it has a `step`)."""
    steps = [str(manifest["step"]) for manifest in job.checkpoints]
    if checkpoint is None:
        if job.result is not None:
            return job.result
        seen = f"checkpoints of steps {', '.join(steps)}" if steps else "no checkpoint"
        raise _no_weights(f"the job is {job.status} and has no result; it has {seen}")
    if checkpoint == LATEST and steps:
        return job.checkpoints[0]
    if checkpoint in steps:
        return job.checkpoints[steps.index(checkpoint)]
    if checkpoint != LATEST and not (checkpoint.isascii() and checkpoint.isdigit()):
        raise InvalidInput.at("/query/checkpoint", f"is {echo(checkpoint)}; must be a step, or {LATEST}")
    raise _no_weights(f"there is no such checkpoint; there are: {', '.join(steps) or 'none'}")


def _no_weights(detail: str) -> Refused:
    return Refused(404, "no_weights", "There are no such weights", detail)
