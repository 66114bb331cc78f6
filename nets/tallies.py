"""Figures of predictions that come block by block, kept in little memory however many rows there are.

Axis legend: R rows of a block, C classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

MAX_RANKED_ROWS = 1 << 22
"""Most rows that are ranked for the area under the ROC curve, 32 MiB; of more it is not known."""

_SEARCHED = 1 << 16


class ClassTally:
    """How often each class was taken for which; for two classes, how far the second was ahead."""

    def __init__(self, n_classes: int, n_rows: int) -> None:
        self.confusion = np.zeros((n_classes, n_classes), np.int64)
        self._ranks = n_classes == 2
        self._leads = np.empty(n_rows) if self._ranks and n_rows <= MAX_RANKED_ROWS else None
        self._filled = [0, 0]
        """Of the leads of both classes: the first's lie at the beginning, the second's at the end."""

    def add(self, truth: Codes, said: Codes, lead: Floats | None) -> None:
        """One block: true and predicted classes (R,), and with two of them the lead of the second (R,)."""
        np.add.at(self.confusion, (truth, said), 1)
        if self._leads is None or lead is None:
            return
        n_first, n_second = int(np.count_nonzero(truth == 0)), int(np.count_nonzero(truth == 1))
        begin, end = self._filled[0], len(self._leads) - self._filled[1]
        self._leads[begin : begin + n_first] = lead[truth == 0]
        self._leads[end - n_second : end] = lead[truth == 1]
        self._filled = [begin + n_first, self._filled[1] + n_second]

    def figures(self) -> dict[str, float]:
        """Accuracy; mean recall of the classes that occur; mean F1 of those that occur or are said; AUC of two."""
        right, true, said = self.confusion.diagonal(), self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        either = true + said > 0
        figures = {
            "accuracy": float(right.sum() / true.sum()),
            "balanced_accuracy": float((right[true > 0] / true[true > 0]).mean()),
            "macro_f1": float((2 * right[either] / (true + said)[either]).mean()),
        }
        return figures | ({"auc": self._auc()} if self._ranks else {})

    def _auc(self) -> float:
        if self._leads is None:
            return float("nan")
        first, second = self._leads[: self._filled[0]], self._leads[len(self._leads) - self._filled[1] :]
        return ranked(second, first)


class NumberTally:
    """Sums over residuals, and the spread of the true values, merged block by block (Chan, Golub, LeVeque 1979)."""

    def __init__(self) -> None:
        self._count, self._squares, self._sizes = 0, 0.0, 0.0
        self._mean, self._spread = 0.0, 0.0
        self._unit = 1.0

    @np.errstate(over="ignore", invalid="ignore")
    def add(self, truth: Floats, found: Floats) -> None:
        """One block: true and predicted values (R,)."""
        if self._count == 0:
            self._unit = _unit(float(np.abs(truth).max(initial=0.0)))
        if self._unit != 1.0:
            truth, found = truth / self._unit, found / self._unit
        residual, before, mean = found - truth, self._count, np.float64(truth.mean())
        self._count += len(truth)
        self._squares += float((residual**2).sum())
        self._sizes += float(np.abs(residual).sum())
        apart = mean - self._mean
        self._spread += float(((truth - mean) ** 2).sum() + apart**2 * before * len(truth) / self._count)
        self._mean += float(apart * len(truth) / self._count)

    def figures(self) -> dict[str, float]:
        """Root mean squared error, mean absolute error and R², in the target's own unit."""
        return {
            "rmse": (self._squares / self._count) ** 0.5 * self._unit,
            "mae": self._sizes / self._count * self._unit,
            "r2": 1.0 - self._squares / self._spread if self._spread > 0 else float("nan"),
        }


def _unit(largest: float) -> float:
    """What values are divided by so that their squares neither overflow nor vanish."""
    return 1.0 if largest == 0.0 or 1e-100 < largest < 1e100 else largest


def ranked(positive: Floats, negative: Floats) -> float:
    """Area under the ROC curve: the chance that a positive row is ahead of a negative one, ties count half.

    NaN where one of the two does not occur. Both are sorted in place. (Mann & Whitney 1947.)
    """
    if not (len(positive) and len(negative)):
        return float("nan")
    negative.sort()
    positive.sort()
    ahead = 0
    for start in range(0, len(positive), _SEARCHED):
        part = positive[start : start + _SEARCHED]
        ahead += sum(int(np.searchsorted(negative, part, side).sum()) for side in ("left", "right"))
    return ahead / (2 * len(positive) * len(negative))
