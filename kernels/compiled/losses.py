"""Losses of a batch: scores become weight · dL/dscores in place, every sample's loss is left in `values`.

Axis legend: C scores, B samples. Scores (C, B) and everything else are flat; `labels` are int32 class codes (B,).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels.compiled.elementary import exp, expm1, log1p
from kernels.compiled.jit import exact, loose
from kernels.compiled.programs import run

Floats = NDArray[Any]
Codes = NDArray[np.int32]
Table = NDArray[np.int64]

SOFTMAX: Final = 0
SVM: Final = 1
POINTWISE: Final = 2


@loose
def softmax(scores: Floats, labels: Codes, weights: Floats, values: Floats, scratch: Floats, smoothing: float) -> None:
    """-ln p_y; dL/ds_c = p_c for c != y and -(Σ_{c != y} p_c) for c = y: no 1 - p, nothing cancels.

    With smoothing ε the aim is 1 - ε of the label and ε/C of every class. `scratch` holds 3 B numbers.
    """
    B = labels.size
    peak, rest, own = scratch[:B], scratch[B : 2 * B], scratch[2 * B : 3 * B]
    peak[:] = scores[:B]
    rest[:] = 0
    for c in range(1, scores.size // B):
        s = scores[c * B : (c + 1) * B]
        for b in range(B):
            peak[b] = s[b] if s[b] > peak[b] else peak[b]
    for b in range(B):
        own[b] = scores[labels[b] * B + b] - peak[b]
    classes, smoothing = values.dtype.type(scores.size // B), values.dtype.type(smoothing)
    values[:] = 0
    if smoothing > 0:
        _add_scores(scores, peak, values)
        for b in range(B):
            values[b] = smoothing * (values[b] / classes - own[b])  # how far the aim is from the label's score
    for c in range(scores.size // B):
        s = scores[c * B : (c + 1) * B]
        for b in range(B):
            s[b] = exp(s[b] - peak[b])
        for b in range(B):
            rest[b] += s[b] * (labels[b] != c)
    for b in range(B):
        peak[b] = weights[b] / (rest[b] + exp(own[b]))  # from here on the scale
        values[b] = log1p(rest[b] + expm1(own[b])) - (own[b] + values[b])
    for c in range(scores.size // B):
        s = scores[c * B : (c + 1) * B]
        for b in range(B):
            s[b] = -rest[b] * peak[b] if labels[b] == c else s[b] * peak[b]
    if smoothing > 0:
        for c in range(scores.size // B):
            s = scores[c * B : (c + 1) * B]
            for b in range(B):
                s[b] += weights[b] * ((smoothing if labels[b] == c else smoothing * 0) - smoothing / classes)


@loose
def _add_scores(scores: Floats, peak: Floats, sums: Floats) -> None:
    """Σ_c (s_c - peak) into sums (B,)."""
    B = peak.size
    sums[:] = 0
    for c in range(scores.size // B):
        s = scores[c * B : (c + 1) * B]
        for b in range(B):
            sums[b] += s[b] - peak[b]


@loose
def svm(scores: Floats, labels: Codes, weights: Floats, values: Floats, scratch: Floats, margin: float) -> None:
    """Σ_{c != y} max(0, s_c - s_y + margin); at a kink (exactly at the margin) the gradient is 0."""
    B = labels.size
    least, active = scratch[:B], scratch[B : 2 * B]
    values[:] = 0
    active[:] = 0
    for b in range(B):
        least[b] = scores[labels[b] * B + b] - margin
    for c in range(scores.size // B):
        s = scores[c * B : (c + 1) * B]
        for b in range(B):
            over = s[b] - least[b]
            over = over * 0 if over <= 0 or labels[b] == c else over  # NaN is kept
            values[b] += over
            s[b] = weights[b] if over > 0 else over
            active[b] += s[b]
    for b in range(B):
        scores[labels[b] * B + b] = -active[b]


@exact
def pointwise(
    value: int, slope: int, value_constants: Floats, slope_constants: Floats,
    scores: Floats, targets: Floats, rows: Table, weights: Floats, values: Floats, scratch: Floats,
) -> None:  # fmt: skip
    """The sum over scores of a program of score, target and weight, and its slope by another.

    `targets` (R, C) are looked up by row; `scratch` holds 2 B numbers.
    """
    B = rows.size
    target, result = scratch[:B], scratch[B : 2 * B]
    values[:] = 0
    for c in range(scores.size // B):
        s = scores[c * B : (c + 1) * B]
        for b in range(B):
            target[b] = targets[rows[b], c]
        run(value, value_constants, s, target, weights, result, B)
        for b in range(B):
            values[b] += result[b]
        run(slope, slope_constants, s, target, weights, result, B)
        s[:] = result
