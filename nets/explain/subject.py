"""What an explanation is made of: a net with its weights, the table it was trained on, and that table's rows.

Axis legend: R rows, F columns, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.errors import InvalidInput
from nets.losses import LOSSES, Loss
from nets.options import Option
from nets.parts import Parts, Rows, parts_of
from nets.scoring import BLOCK_INPUTS, BLOCK_ROWS, Alignment
from nets.spec import ResolvedSpec
from nets.table import Image, Table, TableInfo
from nets.weights import Predictor

Floats = NDArray[np.float64]

MAX_CELLS = 2_000_000_000
"""Rows times columns that one explanation may read."""

ROWS = Option(
    "rows",
    "auto",
    "Rows that it is taken on; auto: the validation rows, or the training rows of a job that held none back",
    choices=("auto", "validation", "train", "test", "all"),
)


@dataclass(frozen=True)
class Known:
    """What tells which explanations a job can have, before anything is computed."""

    spec: ResolvedSpec
    info: TableInfo
    image: Image | None = None

    @property
    def loss(self) -> Loss:
        """The row of the job's loss."""
        return LOSSES[self.spec.loss.name]


@dataclass(frozen=True, eq=False)
class Subject:
    """A net and data to explain it with.

    Attributes:
        predictor: the net with its preprocessing.
        table: the job's own data set, or another one with the same columns.
        scores: cells (R, F) of the net's columns -> raw scores (R, O): the predictor's own, or that under a lock.
        image: the shape of a row.
        foreign: whether the table is another one than the job was trained on.
    """

    predictor: Predictor
    table: Table
    scores: Callable[[Floats], NDArray[Any]]
    image: Image | None = None
    foreign: bool = False

    @property
    def known(self) -> Known:
        """The part that needs no data."""
        return Known(self.predictor.spec, self.predictor.info, self.image)

    @property
    def parts(self) -> Parts:
        """The rows of the job's own table that train, validate and test."""
        return parts_of(self.table, self.predictor.spec.training)

    def rows(self, asked: str) -> tuple[str, Rows]:
        """Which rows `asked` are, by name and by number. Raises InvalidInput at /query/rows."""
        if asked == "all" or self.foreign:
            self._check_size(self.table.info.n_rows)
        everything = np.arange(self.table.info.n_rows)
        if self.foreign:
            if asked in ("auto", "all"):
                return "all", everything
            detail = f"is {asked}; another data set was not split for this job: must be one of auto, all"
            raise InvalidInput.at("/query/rows", detail)
        if asked == "all":
            return asked, everything
        parts = self.parts
        found = {"train": parts.train, "validation": parts.val, "test": parts.test}
        if asked == "auto":
            asked = "validation" if len(parts.val) else "train"
        if not len(found[asked]):
            there = ", ".join(["auto", *(name for name, rows in found.items() if len(rows)), "all"])
            detail = f"is {asked}; the job's data set has no such rows: must be one of {there}; or name a dataset"
            raise InvalidInput.at("/query/rows", detail)
        return asked, found[asked]

    def cells(self, rows: Rows) -> Floats:
        """The net's columns (R, F) of some rows of the table."""
        return self._aligned.cells(np.asarray(self.table.x[rows], np.float64))

    def truth(self, rows: Rows) -> NDArray[Any]:
        """Class codes as the net has them (R,), or target values (R,)."""
        y = np.asarray(self.table.y[rows])
        return self._aligned.codes(y) if self.predictor.info.task == "classification" else y.astype(np.float64)

    def targets(self, truth: NDArray[Any], scores: NDArray[Any]) -> NDArray[Any]:
        """What the loss compares scores (R, O) with: codes (R,), or values (R, O), one-hot or 0 and 1 for classes."""
        loss = self.known.loss
        if self.predictor.info.task == "regression":
            return self.predictor.preprocessing.transform_target(truth, scores.dtype)
        if loss.target == "class":
            return truth
        return np.asarray(truth[:, None] == (1 if loss.one_output else np.arange(scores.shape[1])), scores.dtype)

    def blocks(self, rows: Rows) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """(raw scores (R, O), truth (R,)) of the rows, block by block."""
        self._check_size(len(rows))
        widest = max(self.predictor.preprocessing.n_inputs, len(self.predictor.info.columns))
        step = max(1, min(BLOCK_ROWS, BLOCK_INPUTS // widest))
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            yield self.scores(self.cells(part)), self.truth(part)

    def _check_size(self, rows: int) -> None:
        cells = rows * len(self.predictor.info.columns)
        if cells > MAX_CELLS:
            raise InvalidInput.at("/query/rows", f"have {cells} cells; must be 1..{MAX_CELLS}")

    @property
    def _aligned(self) -> Alignment:
        return Alignment(self.predictor.info, self.table.info)


def spread(rows: Rows, most: int) -> Rows:
    """At most so many of the rows, evenly spread."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def finite(value: float) -> float | None:
    """A number as JSON has it; None for what is not finite."""
    return float(value) if np.isfinite(value) else None


def only_classes(known: Known) -> str | None:
    """Why an explanation of classes does not apply."""
    return None if known.info.task == "classification" else "the job predicts numbers; it has no classes"
