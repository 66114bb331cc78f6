"""Whether probabilities mean what they say: reliability by bins, expected calibration error, Brier score.

Two classes are judged by the probability of the second one, more by that of the predicted one (Guo et al. 2017).
Axis legend: R rows, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nets.explain.subject import Known, Subject, only_classes
from nets.options import Option, Value

Floats = NDArray[np.float64]

BINS = Option("bins", 10, "Bins of equal width that probabilities fall into", low=2, high=50)


def lacks(known: Known) -> str | None:
    """Why a job has no such explanation."""
    if known.loss.probabilities is None:
        return only_classes(known) or f"the loss {known.spec.loss.name} gives scores, not probabilities"
    return only_classes(known)


def compute(subject: Subject, options: Mapping[str, Value]) -> dict[str, Any]:
    """Per bin the mean probability beside the share that came true; errors of the whole."""
    names, count = list(subject.predictor.info.classes), int(options["bins"] or 0)
    part, rows = subject.rows(str(options["rows"]))
    sums = np.zeros((3, count))  # rows, probabilities and hits of every bin
    brier = all_classes = 0.0
    for scores, codes in subject.blocks(rows):
        probabilities = _probabilities(subject, scores)
        stated, hit = _judged(probabilities, codes)
        bins = np.minimum((stated * count).astype(np.int64), count - 1)
        for row, values in enumerate((np.ones_like(stated), stated, hit)):
            sums[row] += np.bincount(bins, values, count)
        brier += float(((stated - hit) ** 2).sum())
        all_classes += float(((probabilities - (codes[:, None] == np.arange(len(names)))) ** 2).sum())
    filled = np.maximum(sums[0], 1)
    gaps = np.abs(sums[1] - sums[2]) / filled
    return {
        "rows": part,
        "n_rows": len(rows),
        "classes": names,
        "of": f"the probability of {names[1]}" if len(names) == 2 else "the probability of the predicted class",
        "bins": [_bin(i, count, sums[:, i]) for i in range(count)],
        "expected_calibration_error": float((gaps * sums[0]).sum() / len(rows)),
        "maximum_calibration_error": float(gaps.max()),
        "brier_score": brier / len(rows),
        "brier_score_all_classes": all_classes / len(rows),
    }


def _probabilities(subject: Subject, scores: NDArray[Any]) -> Floats:
    link = subject.known.loss.probabilities
    if link is None:
        raise TypeError(f"the loss {subject.known.spec.loss.name} has no probabilities")
    return np.nan_to_num(np.asarray(link(scores.astype(np.float64)), np.float64))  # of scores that overflowed


def _judged(probabilities: Floats, codes: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """(stated probability (R,), 1 where it came true (R,))."""
    if probabilities.shape[1] == 2:
        return probabilities[:, 1], (codes == 1).astype(np.float64)
    top = probabilities.argmax(axis=1)
    return probabilities[np.arange(len(top)), top], (top == codes).astype(np.float64)


def _bin(i: int, count: int, sums: Floats) -> dict[str, Any]:
    rows = int(sums[0])
    return {
        "low": i / count,
        "high": (i + 1) / count,
        "count": rows,
        "stated": float(sums[1] / rows) if rows else None,
        "observed": float(sums[2] / rows) if rows else None,
    }
