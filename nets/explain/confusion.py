"""Which classes are taken for which: the confusion matrix, with precision and recall of every class.

Axis legend: C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nets.explain.subject import Subject, finite
from nets.options import Value

WORST = 10
"""Pairs of classes that are named."""


def compute(subject: Subject, options: Mapping[str, Value]) -> dict[str, Any]:
    """Counts, true class by predicted class; precision, recall and F1 of every class; the most frequent mistakes."""
    names = list(subject.predictor.info.classes)
    part, rows = subject.rows(str(options["rows"]))
    matrix = np.zeros((len(names), len(names)), np.int64)
    for scores, codes in subject.blocks(rows):
        np.add.at(matrix, (codes, subject.known.loss.classes(scores, axis=1).astype(np.int64)), 1)
    return {
        "rows": part,
        "n_rows": len(rows),
        "classes": names,
        "matrix": matrix.tolist(),
        "per_class": [_class(name, c, matrix) for c, name in enumerate(names)],
        "metrics": {name: finite(value) for name, value in _figures(matrix).items()},
        "most_confused": _most_confused(names, matrix),
    }


def _figures(matrix: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy; mean recall of the classes that occur; mean F1 of those that occur or are predicted."""
    right, true, said = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    either = true + said > 0
    return {
        "accuracy": float(right.sum() / matrix.sum()),
        "balanced_accuracy": float((right[true > 0] / true[true > 0]).mean()),
        "macro_f1": float((2 * right[either] / (true + said)[either]).mean()),
    }


def _class(name: str, c: int, matrix: NDArray[np.int64]) -> dict[str, Any]:
    right, said, true = int(matrix[c, c]), int(matrix[:, c].sum()), int(matrix[c].sum())
    return {
        "class": name,
        "precision": right / said if said else None,
        "recall": right / true if true else None,
        "f1": 2 * right / (said + true) if said + true else None,
        "support": true,
    }


def _most_confused(names: list[str], matrix: NDArray[np.int64]) -> list[dict[str, Any]]:
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:WORST]
    pairs = [divmod(int(place), len(names)) for place in order]
    return [{"true": names[t], "predicted": names[p], "count": int(wrong[t, p])} for t, p in pairs if wrong[t, p]]
