"""What is known of a stored column, and how columns are measured block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from store.ingest.arrays import Floats

COUNTED_VALUES = 1_000
"""Different numbers counted per numeric column; beyond it the cardinality is not known (null)."""

COUNTED_COLUMNS = 4_096
"""Tables with more columns get no cardinalities of numbers: counting them would take longer than reading."""


@dataclass(frozen=True)
class Column:
    """One stored column.

    Attributes:
        name: unique within the data set.
        kind: `numeric`, `categorical`, `boolean` or `datetime` (seconds since 1970).
        categories: texts in the order of their codes; empty for numbers.
        missing: rows without a value.
        cardinality: different values; None if there are more numbers than are counted.
        minimum: smallest number; None for text or without values.
        maximum: largest number; None for text or without values.
        order: of day and month, `dmy` or `mdy`, in dates written like 01/02/2026.
    """

    name: str
    kind: str = "numeric"
    categories: tuple[str, ...] = ()
    missing: int = 0
    cardinality: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    order: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The column as `info.json` and the API show it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "categories": list(self.categories),
            "missing": self.missing,
            "cardinality": self.cardinality,
            "minimum": self.minimum,
            "maximum": self.maximum,
        } | ({"order": self.order} if self.order else {})


class Statistics:
    """Running measures of all columns of a table.

    Args:
        n_texts: per column the number of its text codes, or None for a column of numbers.

    Attributes:
        missing: shape (n_columns,), rows without a value.
        present: shape (n_columns,), rows with one.
        counts: per column how often each text code occurs; None for numbers.
    """

    def __init__(self, n_texts: Sequence[int | None]) -> None:
        width = len(n_texts)
        self.missing = np.zeros(width, np.int64)
        self.present = np.zeros(width, np.int64)
        self.counts: list[npt.NDArray[np.int64] | None] = [
            None if count is None else np.zeros(count, np.int64) for count in n_texts
        ]
        self._minimum = np.full(width, np.inf)
        self._maximum = np.full(width, -np.inf)
        counted = width <= COUNTED_COLUMNS
        self._values = {i: np.empty(0) for i, count in enumerate(n_texts) if count is None and counted}

    def add(self, block: Floats) -> None:
        """Take in some rows, shape (k, n_columns); NaN is missing."""
        if not len(block):
            return
        absent = np.isnan(block)
        missing = np.count_nonzero(absent, axis=0)
        self.missing += missing
        self.present += len(block) - missing
        np.minimum(self._minimum, np.where(absent, np.inf, block).min(axis=0), out=self._minimum)
        np.maximum(self._maximum, np.where(absent, -np.inf, block).max(axis=0), out=self._maximum)
        for index, counts in enumerate(self.counts):
            if counts is not None:
                codes = block[~absent[:, index], index].astype(np.int64)
                counts += np.bincount(codes, minlength=len(counts))
        for index in list(self._values):
            self._count_different(index, block[~absent[:, index], index])

    def _count_different(self, index: int, present: Floats) -> None:
        first = np.unique(present[: 2 * COUNTED_VALUES])
        if len(first) <= COUNTED_VALUES:
            first = np.union1d(self._values[index], present)
        if len(first) > COUNTED_VALUES:
            del self._values[index]
        else:
            self._values[index] = first

    def distinct(self, index: int) -> int | None:
        """Different values of a column; None when there are too many numbers to count."""
        counts = self.counts[index]
        if counts is not None:
            return int(np.count_nonzero(counts))
        return len(self._values[index]) if index in self._values else None

    def column(self, index: int, name: str) -> Column:
        """A column of numbers with its measures; a text column's have no range."""
        numbers = self.counts[index] is None and bool(self.present[index])
        return Column(
            name,
            missing=int(self.missing[index]),
            cardinality=self.distinct(index),
            minimum=float(self._minimum[index]) + 0.0 if numbers else None,  # -0 is 0
            maximum=float(self._maximum[index]) + 0.0 if numbers else None,
        )

    def is_constant(self, index: int) -> bool:
        """Whether every present value is the same (and there is one)."""
        return bool(self.present[index]) and bool(self._minimum[index] == self._maximum[index])
