"""Values and derivatives of every activation in float64, written without the language under test.

`error` is the measure that all accuracy gates share: the worst difference, relative to the reference where that is
larger than 1 and absolute elsewhere, in units of the precision's epsilon.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import special

from kernels.operations import Operation

Array = np.ndarray[Any, Any]
Reference = Callable[[Array, Mapping[str, float]], Array]

# Worst case over `inputs`, in epsilons (float32: 1.2e-7). A constant cut to four digits shows as 20 or more.
VALUE_GATE = 2.0
GRADIENT_GATE = 8.0
# The tanh form's gradient multiplies 1 - tanh, known to one epsilon, by x (0.8 + 0.1 x^2), up to 13 where it matters.
GRADIENT_GATES = {"gelu": 32.0}
# Relative Euclidean norms, float32.
VALUE_NORM_GATE = 1e-7
GRADIENT_NORM_GATE = 3e-7

_ROOT = math.sqrt(2.0 / math.pi)
_LAMBDA, _ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717

VALUES: dict[str, Reference] = {
    "identity": lambda x, p: x.copy(),
    "sigmoid": lambda x, p: special.expit(x),
    "tanh": lambda x, p: np.tanh(x),
    "relu": lambda x, p: np.where(x > 0, x, 0.0),
    "leaky_relu": lambda x, p: np.where(x > 0, x, p["alpha"] * x),
    "elu": lambda x, p: np.where(x > 0, x, p["alpha"] * np.expm1(np.minimum(x, 0.0))),
    "gelu": lambda x, p: x * special.expit(2.0 * _ROOT * (x + 0.044715 * x**3)),
    "gelu_erf": lambda x, p: x * special.ndtr(x),
    "silu": lambda x, p: x * special.expit(x),
    "softplus": lambda x, p: np.logaddexp(0.0, x),
    "selu": lambda x, p: _LAMBDA * np.where(x > 0, x, _ALPHA * np.expm1(np.minimum(x, 0.0))),
}


def _gelu_derivative(x: Array, p: Mapping[str, float]) -> Array:
    u = 2.0 * _ROOT * (x + 0.044715 * x**3)
    return special.expit(u) + x * special.expit(u) * special.expit(-u) * 2.0 * _ROOT * (1.0 + 3.0 * 0.044715 * x**2)


DERIVATIVES: dict[str, Reference] = {
    "identity": lambda x, p: np.ones_like(x),
    "sigmoid": lambda x, p: special.expit(x) * special.expit(-x),
    "tanh": lambda x, p: 4.0 * special.expit(2.0 * x) * special.expit(-2.0 * x),
    "relu": lambda x, p: np.where(x > 0, 1.0, 0.0),
    "leaky_relu": lambda x, p: np.where(x > 0, 1.0, p["alpha"]),
    "elu": lambda x, p: np.where(x > 0, 1.0, p["alpha"] * np.exp(np.minimum(x, 0.0))),
    "gelu": _gelu_derivative,
    "gelu_erf": lambda x, p: special.ndtr(x) + x * np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi),
    "silu": lambda x, p: special.expit(x) * (1.0 + x * special.expit(-x)),
    "softplus": lambda x, p: special.expit(x),
    "selu": lambda x, p: _LAMBDA * np.where(x > 0, 1.0, _ALPHA * np.exp(np.minimum(x, 0.0))),
}


def parameter_sets(operation: Operation) -> list[dict[str, float]]:
    """The defaults, and for a row with parameters two more points within their ranges."""
    sets = [operation.defaults]
    for share in (0.3, 0.9) if operation.parameters else ():
        sets.append({p.name: p.low + share * min(p.high - p.low, 2.0) for p in operation.parameters})
    return sets


def inputs(dtype: str, size: int = 20_011) -> Array:
    """Numbers around zero, a fine grid over the bend of every function, and both tails."""
    spread = np.random.default_rng(7).normal(0.0, 3.0, size)
    tails = np.array([1e4, 1e3, 100.0, 88.8, 40.0, 20.0, 1e-3, 1e-10, 1e-30, 0.0])
    return np.concatenate([spread, np.linspace(-8.0, 8.0, 4001), tails, -tails]).astype(dtype)


def error(result: Array, reference: Array) -> float:
    """Worst difference in units of the result's epsilon; see the head of this file. Non-finite results are infinite."""
    assert np.isfinite(reference).all()
    if not np.isfinite(result).all():
        return math.inf
    difference = np.abs(result.astype(np.float64) - reference) / np.maximum(1.0, np.abs(reference))
    return float(difference.max() / np.finfo(result.dtype).eps)


def norm_error(result: Array, reference: Array) -> float:
    """Euclidean norm of the difference relative to that of the reference."""
    return float(np.linalg.norm(result.astype(np.float64) - reference) / np.linalg.norm(reference))


def gradient_gate(operation: Operation) -> float:
    return GRADIENT_GATES.get(operation.name, GRADIENT_GATE)
