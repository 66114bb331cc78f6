"""Data sets as jobs train on them, kept between jobs: the next job on the same data starts at once.

A data set never changes under its id, and preparation depends on the data and the options in the key alone, so what
is kept is exactly what would be computed again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property

from nets.member import Member, State
from nets.origin import Origin
from nets.parts import Rows, Sizes, inputs_of, parts_of
from nets.prepare import PreparedData, prepare, prepare_folds
from nets.resolve import input_count, resolve
from nets.scoring import Holdout
from nets.spec import ResolvedSpec, TrainingSpec
from nets.table import Table, TableInfo
from nets.training_spec import TrainingOptions
from store.datasets import DatasetStore
from store.records import Job

_NOT_PREPARATION = {
    "epochs",
    "batch_size",
    "shuffle",
    "early_stopping",
    "clip_norm",
    "device",
    "checkpoint_every_s",
    "max_runtime_s",
    "test_dataset",
}
"""Training options that do not touch the prepared arrays; every other one, new ones too, is part of the key."""

_ENTRY_BYTES = 4096
"""Memory of what is kept for a job, beside the numbers of its arrays: measured, with 4 columns and 3 classes."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What is trained, on which inputs, and what it is tested on at the end (None: nothing)."""

    member: Member
    about: TableInfo
    holdout: Holdout | None

    @property
    def rows(self) -> dict[str, int]:
        """How many rows train, validate and test."""
        data, held = self.member.data, self.holdout
        n_test = 0 if held is None else held.table.info.n_rows if held.rows is None else len(held.rows)
        return {"train": len(data.x_train), "validation": len(data.x_val), "test": n_test}


@dataclass(frozen=True, eq=False)
class _Kept:
    """A table, what was prepared from it (the job's own data, then those of its folds), and the rows that test."""

    table: Table
    data: tuple[PreparedData, ...]
    sizes: Sizes
    test: Rows

    @cached_property
    def nbytes(self) -> int:
        """Bytes that it takes; the table's are in a file."""
        return sum(data.nbytes for data in self.data) + self.test.nbytes + _ENTRY_BYTES


class DataCache:
    """Tables and prepared data sets, the least recently used forgotten first.

    Args:
        datasets: where the tables come from.
        limit_bytes: bound on what is kept. (Tables are memory-mapped files and cost nothing.)
    """

    def __init__(self, datasets: DatasetStore, limit_bytes: int) -> None:
        self._datasets = datasets
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._kept_bytes = 0

    def subject(self, job: Job, state: State | None, origin: Origin | None = None) -> Subject:
        """What `fit` needs to train `job` from `state` (a checkpoint's arrays, or None from the start), and of what.

        `origin` are the weights that a fork starts from, with their preprocessing.

        Raises:
            InvalidInput: the spec cannot be trained on this data set.
            NotFound, Corrupted: the data set is gone or damaged.
        """
        asked = TrainingSpec.parse(job.spec)
        fork = "" if job.origin is None else str(job.origin["sha256"])
        words = asked.model_dump_json(include={"features", "training"}, exclude={"training": _NOT_PREPARATION})
        key = (job.dataset, fork + words)
        if key in self._kept:
            self._kept.move_to_end(key)
            kept = self._kept[key]
            spec = resolve(asked, kept.table.info, kept.sizes)
        else:
            spec, kept = self._load(job.dataset, asked, origin)
            self._kept[key] = kept
            self._kept_bytes += kept.nbytes
        about = inputs_of(kept.table.info, asked.training)
        start = None
        if origin is not None:
            origin.check(spec, about)
            start = origin.parameters(spec.training.dtype)
        member = Member(spec, kept.data[0], state, kept.data[1:], start, job.halt_epoch)
        return Subject(member, about, self._holdout(asked.training, kept))

    @property
    def kept_bytes(self) -> int:
        """Bytes of all that is kept."""
        return self._kept_bytes

    def _load(self, dataset: str, asked: TrainingSpec, origin: Origin | None) -> tuple[ResolvedSpec, _Kept]:
        """The table, and prepared from it the job's own data and those of its folds, as the resolved spec has it."""
        same = (kept.table for (name, _), kept in self._kept.items() if name == dataset)
        table = next(same, None) or self._table(dataset)
        validation = self._other(asked.training.validation_dataset)
        parts = parts_of(table, asked.training)
        sizes = parts.sizes(None if validation is None else validation.info.n_rows)
        spec = resolve(asked, table.info, sizes)
        fitted = None if origin is None else origin.preprocessing
        self._make_room(_expected_bytes(spec, table.info, sizes))
        data = prepare(table, spec, parts=parts, validation=validation, fitted=fitted)
        return spec, _Kept(table, (data, *prepare_folds(table, spec, parts=parts)), sizes, parts.test)

    def _holdout(self, training: TrainingOptions, kept: _Kept) -> Holdout | None:
        other = self._other(training.test_dataset)
        if other is not None:
            return Holdout(other)
        return Holdout(kept.table, kept.test) if len(kept.test) else None

    def _other(self, dataset: str | None) -> Table | None:
        return None if dataset is None else self._table(dataset)

    def _table(self, dataset: str) -> Table:
        info, x, y = self._datasets.load(dataset)
        return Table(TableInfo.from_json(info), x, y)

    def _make_room(self, needed: int) -> None:
        """Forget until what is to be prepared fits within the bound as well, or nothing is kept."""
        while self._kept and self._kept_bytes + needed > self._limit_bytes:
            _, forgotten = self._kept.popitem(last=False)
            self._kept_bytes -= forgotten.nbytes


def _expected_bytes(spec: ResolvedSpec, info: TableInfo, sizes: Sizes) -> int:
    """Bytes of the inputs that will be prepared for the job and its folds."""
    width = input_count(spec.features, inputs_of(info, spec.training)) * spec.training.dtype.itemsize
    return (1 + (spec.training.folds or 0)) * (sizes.train + sizes.val) * width
