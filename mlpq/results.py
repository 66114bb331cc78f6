"""What a trained net says about rows, and how well it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlpq.arrays import Array

SHOWN_VALUES = 10


@dataclass(frozen=True)
class Unseen:
    """Categories of one column that the training rows did not have; they count as none.

    Attributes:
        column: the column's name.
        n_rows: rows that have one.
        values: the first ten different ones, as they were given.
    """

    column: str
    n_rows: int
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Prediction:
    """What a net says about rows.

    Attributes:
        predictions: (n,) class names, or numbers for a regression.
        probabilities: (n, classes) float64, or None where the loss gives none.
        classes: the names of the columns of `probabilities`.
        unseen: columns with categories that the training rows did not have.
    """

    predictions: Array
    probabilities: Array | None
    classes: tuple[str, ...]
    unseen: tuple[Unseen, ...] = ()

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


def unseen_in(parts: Sequence[Mapping[str, Any]]) -> tuple[Unseen, ...]:
    """What the answers about some rows each say is unseen, as one: rows add up, values stay different."""
    found: dict[str, Unseen] = {}
    for one in (one for part in parts for one in part.get("unseen") or ()):
        before = found.get(one["column"], Unseen(one["column"], 0, ()))
        values = tuple(dict.fromkeys((*before.values, *one["values"])))[:SHOWN_VALUES]
        found[one["column"]] = Unseen(one["column"], before.n_rows + one["n_rows"], values)
    return tuple(found.values())
