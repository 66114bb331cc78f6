"""What a trained net says about rows, and how well it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlpq.arrays import Array


@dataclass(frozen=True)
class Prediction:
    """What a net says about rows.

    Attributes:
        predictions: (n,) class names, or numbers for a regression.
        probabilities: (n, classes) float64, or None where the loss gives none.
        classes: the names of the columns of `probabilities`.
    """

    predictions: Array
    probabilities: Array | None
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.predictions)


@dataclass(frozen=True)
class Evaluation:
    """How well a net does on a data set.

    Attributes:
        n_rows: rows that were measured.
        metrics: `loss`, `accuracy`, `balanced_accuracy`, `macro_f1` and for two classes `auc`; or `loss`, `rmse`,
            `mae`, `r2` in the target's own unit. None where one is not defined.
        classes: the names of rows and columns of `confusion`.
        confusion: (classes, classes) counts, true class by predicted class; None for a regression.
    """

    n_rows: int
    metrics: Mapping[str, float | None]
    classes: tuple[str, ...]
    confusion: Array | None
