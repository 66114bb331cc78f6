"""What data sets look like, remembered: a submitted job is checked against its data set without reading it again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from nets.table import Table, TableInfo
from store.datasets import DatasetStore

KEPT = 512
"""Data sets whose description is kept."""


class Tables:
    """Descriptions by data set id. A data set never changes: its id stands for its content."""

    def __init__(self, datasets: DatasetStore) -> None:
        self._datasets = datasets
        self._known: OrderedDict[str, tuple[TableInfo, str]] = OrderedDict()
        self._lock = threading.Lock()

    def info(self, dataset_id: str) -> TableInfo:
        """The description of a data set; the store says at submit whether it is still there. Raises NotFound."""
        return self._described(dataset_id)[0]

    def name(self, dataset_id: str) -> str:
        """What people call a data set, remembered like its description. Raises NotFound."""
        return self._described(dataset_id)[1]

    def _described(self, dataset_id: str) -> tuple[TableInfo, str]:
        with self._lock:
            found = self._known.get(dataset_id)
            if found is not None:
                self._known.move_to_end(dataset_id)
                return found
        record = self._datasets.get(dataset_id)
        found = TableInfo.from_json(record.info), record.name
        with self._lock:
            self._known[dataset_id] = found
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return found

    def about(self, dataset_id: str) -> Mapping[str, Any]:
        """The whole record: name, target and image beside the description. Raises NotFound."""
        return self._datasets.get(dataset_id).info

    def table(self, dataset_id: str) -> Table:
        """The data set with its cells, mapped from its files. Raises NotFound."""
        info, x, y = self._datasets.load(dataset_id)
        return Table(TableInfo.from_json(info), x, y)

    def forget(self, dataset_id: str) -> None:
        """The data set was deleted."""
        with self._lock:
            self._known.pop(dataset_id, None)
