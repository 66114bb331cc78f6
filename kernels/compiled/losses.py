"""Losses of a batch: scores become weight · dL/dscores in place, every sample's loss is left in `values`.

Axis legend: C scores, B samples. Scores (C, B) and everything else are flat; `labels` are int32 class codes (B,).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels.compiled.elementary import exp, expm1, log1p
from kernels.compiled.jit import loose

Floats = NDArray[Any]
Codes = NDArray[np.int32]

SOFTMAX: Final = 0
SVM: Final = 1
SQUARED_ERROR: Final = 2


@loose
def softmax(scores: Floats, labels: Codes, weights: Floats, values: Floats, scratch: Floats) -> None:
    """-ln p_y; dL/ds_c = p_c for c != y and -(Σ_{c != y} p_c) for c = y: no 1 - p, nothing cancels.

    `scratch` holds 3 B numbers.
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
    for c in range(scores.size // B):
        s = scores[c * B : (c + 1) * B]
        for b in range(B):
            s[b] = exp(s[b] - peak[b])
        for b in range(B):
            rest[b] += s[b] * (labels[b] != c)
    for b in range(B):
        peak[b] = weights[b] / (rest[b] + exp(own[b]))  # from here on the scale
        values[b] = log1p(rest[b] + expm1(own[b])) - own[b]
    for c in range(scores.size // B):
        s = scores[c * B : (c + 1) * B]
        for b in range(B):
            s[b] = -rest[b] * peak[b] if labels[b] == c else s[b] * peak[b]


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


@loose
def squared_error(scores: Floats, targets: Floats, rows: NDArray[np.int64], weights: Floats, values: Floats) -> None:
    """Σ_c (s_c - t_c)², dL/ds_c = 2 (s_c - t_c); `targets` (R, C) are looked up by row."""
    B = rows.size
    values[:] = 0
    for c in range(scores.size // B):
        s = scores[c * B : (c + 1) * B]
        for b in range(B):
            s[b] -= targets[rows[b], c]
        for b in range(B):
            values[b] += s[b] * s[b]
            s[b] *= weights[b] + weights[b]
