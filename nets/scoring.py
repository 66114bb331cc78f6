"""How well trained weights do on a whole data set: loss, scores, confusion, in blocks of rows.

Axis legend: R rows, F columns, O outputs, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.errors import InvalidInput
from kernels.numpy_backend import NumpyBackend
from nets.losses import LOSSES, Arrays, Loss
from nets.options import Value
from nets.table import Column, Table, TableInfo
from nets.tallies import ClassTally, NumberTally
from nets.tape import play
from nets.weights import Predictor

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

BLOCK_ROWS, BLOCK_INPUTS = 4096, 1 << 22
"""Rows that are predicted at once, and cells or inputs of the net that these rows have, unless one row has more."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Figures by name, None where one is not defined; confusion (C, C): true class by predicted class."""

    n_rows: int
    metrics: dict[str, float | None]
    confusion: Codes | None


@dataclass(frozen=True, eq=False)
class Holdout:
    """Rows to test on, from which nothing is learnt: those of a table, or all (None)."""

    table: Table
    rows: NDArray[np.int64] | None = None


def check_holdout(wanted: TableInfo, given: TableInfo, pointer: str) -> None:
    """Refuse a data set that a net of the wanted inputs cannot be measured on. Raises InvalidInput at the pointer."""
    try:
        Alignment(wanted, given)
    except InvalidInput as error:
        raise InvalidInput.at(pointer, error.errors[0].detail) from None


def evaluate(
    predictor: Predictor,
    table: Table,
    scores_of: Callable[[Floats], NDArray[Any]],
    rows: NDArray[np.int64] | None = None,
) -> Evaluation:
    """Measure a predictor on rows of a table whose columns have the names of its own.

    Args:
        predictor: the net with its preprocessing.
        table: further columns are left alone, their order means nothing; categories and classes go by name.
        scores_of: cells (R, F) -> raw scores (R, O): the predictor's own, or that under a lock.
        rows: which; None: every one.

    Raises:
        InvalidInput: another task, a column that is not there or of another kind, a class that the net does not know.
    """
    align = Alignment(predictor.info, table.info)
    loss, options = LOSSES[predictor.spec.loss.name], predictor.spec.loss.options
    n_rows, n_classes = table.info.n_rows if rows is None else len(rows), len(predictor.info.classes)
    classes = ClassTally(n_classes, n_rows) if predictor.info.task == "classification" else None
    numbers, total = NumberTally(), 0.0
    widest = max(predictor.preprocessing.n_inputs, len(predictor.info.columns))
    step = max(1, min(BLOCK_ROWS, BLOCK_INPUTS // widest))
    for start in range(0, n_rows, step):
        part = slice(start, start + step)
        chosen = part if rows is None else rows[part]
        scores = scores_of(align.cells(np.asarray(table.x[chosen], np.float64)))
        if classes is not None:
            codes = align.codes(table.y[chosen])
            total += float(sample_losses(loss, options, scores, _targets(loss, codes, scores)).sum())
            said = loss.classes(scores, axis=1).astype(np.int64)
            classes.add(codes, said, _lead(scores) if n_classes == 2 else None)
        else:
            aim = predictor.preprocessing.transform_target(table.y[chosen], scores.dtype)
            total += float(sample_losses(loss, options, scores, aim).sum())
            numbers.add(np.asarray(table.y[chosen], np.float64), predictor.preprocessing.restore_target(scores))
    figures = {"loss": total / n_rows if loss.is_mean(options) else total}
    figures |= numbers.figures() if classes is None else classes.figures()
    finite = {name: value if np.isfinite(value) else None for name, value in figures.items()}
    return Evaluation(n_rows, finite, None if classes is None else classes.confusion)


class Alignment:
    """The columns, categories and classes of one table as another one has them.

    Args:
        wanted: what the net was trained on.
        given: what it is measured on.
    """

    def __init__(self, wanted: TableInfo, given: TableInfo) -> None:
        if given.task != wanted.task:
            raise InvalidInput.at("/dataset", f"has the task {given.task}; the job was trained for {wanted.task}")
        places = {column.name: place for place, column in enumerate(given.columns)}
        lacking = [column.name for column in wanted.columns if column.name not in places]
        if lacking:
            more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
            raise InvalidInput.at("/dataset", f"has no column {', '.join(map(repr, lacking[:5]))}{more}")
        self._places = [places[column.name] for column in wanted.columns]
        pairs = [(column, given.columns[place]) for column, place in zip(wanted.columns, self._places, strict=True)]
        self._maps = [_recoding(column, own, given.n_rows) for column, own in pairs]
        unknown = [name for name in given.classes if name not in wanted.classes]
        if unknown:
            raise InvalidInput.at(
                "/dataset",
                f"has the class {unknown[0]!r:.60}; the job's are {', '.join(wanted.classes[:10])}",
            )
        self._classes = np.array([wanted.classes.index(name) for name in given.classes], np.int64)

    def cells(self, x: Floats) -> Floats:
        """Cells in the given table's columns (R, ·) -> cells in the wanted one's (R, F)."""
        out = x[:, self._places]
        for place, recode in enumerate(self._maps):
            if recode is not None:
                out[:, place] = recode(out[:, place])
        return out

    def codes(self, y: NDArray[Any]) -> Codes:
        """Class codes of the given table -> those of the wanted one."""
        return np.asarray(self._classes[y])


def _recoding(wanted: Column, given: Column, n_rows: int) -> Callable[[Floats], Floats] | None:
    """How one column's cells become those of its namesake; None where they are."""
    if given.missing == n_rows:
        return None
    dated = {"datetime"} & {wanted.kind, given.kind}
    if wanted.categories == given.categories and (not dated or wanted.kind == given.kind):
        return None
    other = float(len(wanted.categories)) if wanted.kind == "categorical" else float("nan")
    if wanted.categories and given.categories:
        codes = [wanted.code_of(text) for text in given.categories]
        return _by_table(np.array([other if code is None else code for code in codes] + [other]))
    if given.kind == "numeric" and wanted.categories:
        return lambda cells: np.array([_code(wanted, value, other) for value in cells.tolist()], np.float64)
    raise InvalidInput.at("/dataset", f"has {given.name!r:.60} as {given.kind}; the job was trained on {wanted.kind}")


def _code(column: Column, value: float, other: float) -> float:
    code = float("nan") if value != value else column.code_of(value)
    return other if code is None else code


def _by_table(table: Floats) -> Callable[[Floats], Floats]:
    """Codes to codes; the table's last entry is for codes beyond its categories."""
    padded = np.append(table, np.nan)
    return lambda cells: padded[np.where(np.isnan(cells), len(table), cells).astype(np.intp)]


def _targets(loss: Loss, codes: Codes, scores: NDArray[Any]) -> NDArray[Any]:
    """What the loss compares scores with: codes (R,), or values (R, O), one-hot or 0 and 1."""
    if loss.target == "class":
        return codes
    return np.asarray(codes[:, None] == (1 if loss.one_output else np.arange(scores.shape[1])), scores.dtype)


def sample_losses(
    loss: Loss, options: dict[str, Value], scores: NDArray[Any], targets: NDArray[Any]
) -> NDArray[np.float64]:
    """The loss of every sample (R,), from scores (R, O) and codes (R,) or values (R, O)."""
    count = len(scores)
    backend = NumpyBackend()
    across = np.array(scores.T[None], order="C")  # (1, O, R), a copy: the loss writes into its scores
    flat = (targets * count + np.arange(count))[None, :, None] if loss.target == "class" else targets[None]
    records = np.zeros((loss.n_records, 1, count), scores.dtype)
    with np.errstate(all="ignore"):
        at = Arrays(across, np.ascontiguousarray(flat), np.ones((1, count), scores.dtype), records)
        play(loss.bind(backend, at, options))
        return np.asarray(loss.values(records.astype(np.float64))[0])


def _lead(scores: NDArray[Any]) -> Floats:
    """How far the second of two classes is ahead (R,)."""
    wide = scores.astype(np.float64)
    return np.asarray(wide[:, 0] if wide.shape[1] == 1 else wide[:, 1] - wide[:, 0])
