"""Optimizers: one pass over a model's flat buffers, in the order of operations of the layered engine.

`decay` is 2·l2, for weights alone: the caller hands over the weights and the biases of each layer by themselves.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels.compiled.jit import exact, loose

Floats = NDArray[Any]

SGD: Final = 0
ADAM: Final = 1


@exact
def sgd(p: Floats, g: Floats, v: Floats, rate: Any, momentum: Any, decay: Any, nesterov: bool) -> None:
    """v = µv + g; Nesterov looks ahead: u = g + µv, else u = v; p -= lr·u."""
    if nesterov:
        for i in range(p.size):
            d = g[i] + decay * p[i]
            v[i] = momentum * v[i] + d
            p[i] -= rate * (d + momentum * v[i])
    elif momentum != 0:
        for i in range(p.size):
            u = momentum * v[i] + (g[i] + decay * p[i])
            v[i] = u
            p[i] -= rate * u
    else:  # v is never read
        for i in range(p.size):
            p[i] -= rate * (g[i] + decay * p[i])


@exact
def adam(
    p: Floats, g: Floats, m: Floats, s: Floats,
    rate: Any, epsilon: Any, beta1: Any, beta2: Any, rest1: Any, rest2: Any, decay: Any,
) -> None:  # fmt: skip
    """m = β₁m + (1-β₁)g; s = β₂s + (1-β₂)g²; p -= rate·m / (√s + ε̂)."""
    for i in range(p.size):
        d = g[i] + decay * p[i]
        mean = beta1 * m[i] + rest1 * d
        square = beta2 * s[i] + rest2 * (d * d)
        m[i] = mean
        s[i] = square
        p[i] -= rate * (mean / (math.sqrt(square) + epsilon))


@loose
def norm(g: Floats) -> float:
    """‖g‖ as largest · ‖g / largest‖, in float64: the squares neither overflow nor vanish."""
    largest = g[0] * 0
    for i in range(g.size):
        largest = abs(g[i]) if abs(g[i]) > largest else largest
    unit, total = 1 / np.float64(largest) if largest > 1e-300 else 1.0, 0.0
    for i in range(g.size):
        total += (np.float64(g[i]) * unit) * (np.float64(g[i]) * unit)
    return float(np.sqrt(total) / unit)


@exact
def scale(g: Floats, factor: Any) -> None:
    """g *= factor."""
    for i in range(g.size):
        g[i] *= factor
