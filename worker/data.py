"""Data sets as jobs train on them, kept between jobs: the next job on the same data starts at once.

A data set never changes under its id, and preparation depends on the data and the options in the key alone, so what
is kept is exactly what would be computed again.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import chain

from nets.member import Member, State
from nets.prepare import PreparedData, prepare, prepare_folds
from nets.resolve import resolve
from nets.spec import TrainingSpec
from nets.table import Table, TableInfo
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
}
"""Training options that do not touch the prepared arrays; every other one, new ones too, is part of the key."""


class DataCache:
    """Tables and prepared data sets, the least recently used forgotten first.

    Args:
        datasets: where the tables come from.
        limit_bytes: bound on the prepared arrays kept. (Tables are memory-mapped files and cost nothing.)
    """

    def __init__(self, datasets: DatasetStore, limit_bytes: int) -> None:
        self._datasets = datasets
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[tuple[str, str], tuple[Table, tuple[PreparedData, ...]]] = OrderedDict()

    def member(self, job: Job, state: State | None) -> tuple[Member, TableInfo]:
        """What `fit` needs to train `job` from `state` (a checkpoint's arrays, or None from the start), and of what.

        Raises:
            InvalidInput: the spec cannot be trained on this data set.
            NotFound, Corrupted: the data set is gone or damaged.
        """
        asked = TrainingSpec.parse(job.spec)
        key = (job.dataset, asked.training.model_dump_json(exclude=_NOT_PREPARATION))
        if key not in self._kept:
            self._kept[key] = self._load(job.dataset, asked)
        self._kept.move_to_end(key)
        table, data = self._kept[key]
        self._shrink()
        about = table.info.weighted_by(asked.training.sample_weight)
        return Member(resolve(asked, table.info), data[0], state, data[1:]), about

    @property
    def kept_bytes(self) -> int:
        """Bytes of the prepared arrays that are kept."""
        return sum(map(_size, chain.from_iterable(data for _, data in self._kept.values())))

    def _load(self, dataset: str, asked: TrainingSpec) -> tuple[Table, tuple[PreparedData, ...]]:
        """The table, and prepared from it the job's own data and those of its folds."""
        same = (table for (name, _), (table, _) in self._kept.items() if name == dataset)
        table = next(same, None) or self._table(dataset)
        spec = resolve(asked, table.info)
        return table, (prepare(table, spec), *prepare_folds(table, spec))

    def _table(self, dataset: str) -> Table:
        info, x, y = self._datasets.load(dataset)
        return Table(TableInfo.from_json(info), x, y)

    def _shrink(self) -> None:
        """Forget until the bound holds; what was asked for last stays, whatever its size."""
        while len(self._kept) > 1 and self.kept_bytes > self._limit_bytes:
            self._kept.popitem(last=False)


def _size(data: PreparedData) -> int:
    arrays = (data.x_train, data.y_train, data.x_val, data.y_val, data.row_weight)
    return sum(array.nbytes for array in arrays if array is not None)
