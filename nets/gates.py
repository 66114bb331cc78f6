"""The gates of a computational graph: every one knows its own value and its own derivative, nothing else.

Beside each value stands what the gate sends down: downstream = upstream × local.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.numpy_backend import NumpyBackend
from kernels.operations import ACTIVATIONS, Operation

Floats = NDArray[np.float64]
Downstream = tuple[Floats, ...]
_CPU: Final = NumpyBackend()


@dataclass(frozen=True)
class Gate:
    """One kind of node: its value, and beside it what it sends down.

    `value(*inputs, *settings)` is z. `downstream(upstream, z, *inputs, *settings)` has, for every input,
    upstream × local; an input that was spread over a larger shape is summed back by the graph.
    """

    name: str
    doc: str
    value: Callable[..., Floats]
    downstream: Callable[..., Downstream]


def _matmul_downstream(up: Floats, _z: Floats, a: Floats, b: Floats) -> Downstream:
    """dA = upstream Bᵀ, dB = Aᵀ upstream; a vector is one row on the left and one column on the right."""
    left = a if a.ndim == 2 else a[None, :]
    right = b if b.ndim == 2 else b[:, None]
    up = up.reshape(left.shape[0], right.shape[1])
    return (up @ right.T).reshape(a.shape), (left.T @ up).reshape(b.shape)


def _matmul(a: Floats, b: Floats) -> Floats:
    if not {a.ndim, b.ndim} <= {1, 2}:
        raise ValueError("matmul takes vectors and matrices")
    return np.asarray(a @ b)


def _sum(x: Floats, axis: int | None = None) -> Floats:
    return np.asarray(x.sum(axis=axis, keepdims=axis is not None))


def _fused(operation: Operation) -> Gate:
    """An activation as one gate, straight from the table that training uses."""

    def value(x: Floats, *numbers: float) -> Floats:
        z = np.empty(x.shape)
        _CPU.activate(operation, x, dict(zip(operation.parameter_names, numbers, strict=True)), z)
        return z

    def downstream(up: Floats, z: Floats, x: Floats, *numbers: float) -> Downstream:
        parameters = dict(zip(operation.parameter_names, numbers, strict=True))
        dx = np.empty(x.shape)
        _CPU.backpropagate(operation, x, z, up, parameters, dx)  # upstream × local
        return (dx,)

    return Gate(operation.name, operation.doc, value, downstream)


GATES: Final[Mapping[str, Gate]] = {
    gate.name: gate
    for gate in (
        Gate("add", "x + y: distributes.", np.add, lambda up, _z, _x, _y: (up * 1, up * 1)),
        Gate("subtract", "x - y: distributes, with the sign.", np.subtract, lambda up, _z, _x, _y: (up * 1, up * -1)),
        Gate("multiply", "x · y: swaps.", np.multiply, lambda up, _z, x, y: (up * y, up * x)),
        Gate(
            "maximum",
            "max(x, y): routes to the larger; a tie goes to y, so that max(x, 0) has relu's gradient.",
            np.maximum,
            lambda up, _z, x, y: (up * (x > y), up * ~(x > y)),
        ),
        Gate("copy", "x, to be used more than once: the gradients of all uses add.", np.copy, lambda up, _z, _x: (up,)),
        Gate("scale", "a · x.", lambda x, a: np.asarray(x * a), lambda up, _z, _x, a: (up * a,)),
        Gate("shift", "x + c.", lambda x, c: np.asarray(x + c), lambda up, _z, _x, _c: (up * 1,)),
        Gate("exp", "eˣ.", np.exp, lambda up, z, _x: (up * z,)),
        Gate("log", "ln x.", np.log, lambda up, _z, x: (up * (1 / x),)),
        Gate("reciprocal", "1/x.", np.reciprocal, lambda up, _z, x: (up * (-1 / x**2),)),
        Gate("square", "x², element by element.", np.square, lambda up, _z, x: (up * (2 * x),)),
        Gate("sum", "Σ x.", _sum, lambda up, _z, x, *_axis: (up * np.ones_like(x),)),
        Gate("squared_norm", "‖x‖² = Σ x².", lambda x: np.asarray((x * x).sum()), lambda up, _z, x: (up * (2 * x),)),
        Gate("matmul", "A B, of matrices and vectors.", _matmul, _matmul_downstream),
        *(_fused(operation) for operation in ACTIVATIONS.values()),
    )
}
