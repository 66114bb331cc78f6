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
from nets.tape import play
from nets.weights import Predictor

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

BLOCK_ROWS, BLOCK_INPUTS = 4096, 1 << 22
"""Rows that are predicted at once, and inputs of the net that these rows have, unless one row has more."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Figures by name, None where one is not defined; confusion (C, C): true class by predicted class."""

    n_rows: int
    metrics: dict[str, float | None]
    confusion: Codes | None


def evaluate(predictor: Predictor, table: Table, scores_of: Callable[[Floats], NDArray[Any]]) -> Evaluation:
    """Measure a predictor on every row of a table whose columns have the names of its own.

    Args:
        predictor: the net with its preprocessing.
        table: further columns are left alone, their order means nothing; categories and classes go by name.
        scores_of: cells (R, F) -> raw scores (R, O): the predictor's own, or that under a lock.

    Raises:
        InvalidInput: another task, a column that is not there or of another kind, a class that the net does not know.
    """
    align = Alignment(predictor.info, table.info)
    loss, options = LOSSES[predictor.spec.loss.name], predictor.spec.loss.options
    by_class = predictor.info.task == "classification"
    n_classes = len(predictor.info.classes)
    total, confusion = 0.0, np.zeros((n_classes, n_classes), np.int64)
    truth, found = np.empty(table.info.n_rows), np.empty(table.info.n_rows)
    step = max(1, min(BLOCK_ROWS, BLOCK_INPUTS // predictor.info.n_inputs))
    for start in range(0, table.info.n_rows, step):
        part = slice(start, start + step)
        scores = scores_of(align.cells(np.asarray(table.x[part], np.float64)))
        if by_class:
            codes = align.codes(table.y[part])
            total += float(sample_losses(loss, options, scores, _targets(loss, codes, scores)).sum())
            np.add.at(confusion, (codes, loss.classes(scores, axis=1).astype(np.int64)), 1)
            truth[part], found[part] = codes, _lead(scores) if n_classes == 2 else 0.0
        else:
            aim = predictor.preprocessing.transform_target(table.y[part], scores.dtype)
            total += float(sample_losses(loss, options, scores, aim).sum())
            truth[part], found[part] = table.y[part], predictor.preprocessing.restore_target(scores)
    figures = {"loss": total / table.info.n_rows if loss.is_mean(options) else total}
    figures |= _of_classes(confusion, truth, found) if by_class else _of_numbers(truth, found)
    finite = {name: value if np.isfinite(value) else None for name, value in figures.items()}
    return Evaluation(table.info.n_rows, finite, confusion if by_class else None)


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


def _of_classes(confusion: Codes, truth: Floats, lead: Floats) -> dict[str, float]:
    """Accuracy; mean recall of the classes that occur; mean F1 of those that occur or are predicted; AUC of two."""
    right, true, said = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    either = true + said > 0
    figures = {
        "accuracy": float(right.sum() / confusion.sum()),
        "balanced_accuracy": float((right[true > 0] / true[true > 0]).mean()),
        "macro_f1": float((2 * right[either] / (true + said)[either]).mean()),
    }
    return figures | ({"auc": auc(truth == 1, lead)} if len(confusion) == 2 else {})


def auc(positive: NDArray[np.bool_], lead: Floats) -> float:
    """Area under the ROC curve: the chance that a positive row is ahead of a negative one, ties count half.

    NaN where one of the two does not occur. (Mann & Whitney 1947.)
    """
    _, places, counts = np.unique(lead, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[places]
    n_pos = int(np.count_nonzero(positive))
    n_neg = len(positive) - n_pos
    if n_pos == 0 or n_neg == 0:
        return float("nan")
    return float((rank[positive].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg))


def _of_numbers(truth: Floats, found: Floats) -> dict[str, float]:
    """Root mean squared error, mean absolute error and R², in the target's own unit."""
    residual = found - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    return {
        "rmse": float(np.sqrt((residual**2).mean())),
        "mae": float(np.abs(residual).mean()),
        "r2": 1.0 - float((residual**2).sum()) / spread if spread > 0 else float("nan"),
    }
