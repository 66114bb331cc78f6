"""The workloads: what is trained, on which rows, from which weights. NumPy alone, so that every peer can import it.

Every implementation trains the same net: W (in, out) ~ N(0, 2/in) in its precision, biases 0; mean cross-entropy or
summed squared error; the gradient of the weights, not of the biases, gets `decay` · W; momentum v = µv + g,
p -= lr·v; Adam as published; the last short batch is kept; an epoch's loss is the mean over its rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

Layer = tuple[np.ndarray, np.ndarray | None]


@dataclass(frozen=True)
class Workload:
    """One workload; `batch` 0 is the whole set, `jobs` are trained with different seeds and learning rates."""

    name: str
    title: str
    data: Literal["spiral", "gauss", "digits", "prototypes"]
    rows: int
    widths: tuple[int, ...]
    epochs: int
    batch: int
    activation: Literal["tanh", "sigmoid", "relu", "gelu"] = "relu"
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 0.05
    momentum: float = 0.9
    decay: float = 1e-4
    regression: bool = False
    bias: bool = True
    jobs: int = 1
    precision: Literal["float32", "float64"] = "float32"

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.precision)

    @property
    def batch_size(self) -> int:
        return self.batch or self.rows

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.rows // self.batch_size)

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.epochs * self.jobs

    def learning_rates(self) -> list[float]:
        if self.jobs == 1:
            return [self.learning_rate]
        return [float(rate) for rate in np.logspace(-3, -0.7, self.jobs)]


_DIGITS = Workload("W3", "64-128-10, digits", "digits", 1500, (64, 128, 10), 30, 64)
_MNIST = Workload("W4", "784-256-128-10, MNIST-size", "prototypes", 20_000, (784, 256, 128, 10), 2, 128)
WORKLOADS = {
    w.name: w
    for w in (
        Workload("W1", "2-16-16-3 tanh, spiral", "spiral", 600, (2, 16, 16, 3), 200, 32, "tanh"),
        Workload("W2", "1000-100-10 sigmoid, the lecture's 20 lines", "gauss", 64, (1000, 100, 10), 2000, 0, "sigmoid",
                 learning_rate=1e-4, momentum=0.0, decay=0.0, regression=True, bias=False),
        _DIGITS,
        _MNIST,
        Workload("W5", "3072-1024-1024-10 GELU, CIFAR-size", "prototypes", 5000, (3072, 1024, 1024, 10), 4, 256, "gelu",
                 learning_rate=0.01),
        Workload("W6", "1024-4096-4096-1000, wide", "prototypes", 10_240, (1024, 4096, 4096, 1000), 1, 512,
                 learning_rate=0.01),
        replace(_DIGITS, name="W7", title="64 jobs of W3", epochs=5, jobs=64),
        replace(_MNIST, name="W8", title="W4 with Adam", optimizer="adam", learning_rate=1e-3),
        replace(_DIGITS, name="W3:float64", title="W3 in float64", precision="float64"),
        replace(_MNIST, name="W4:float64", title="W4 in float64", precision="float64"),
    )
}  # fmt: skip


HELD_OUT = 0.1
"""Rows drawn beside the training rows, for validation, as a share of them."""


def rows_of(w: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Training rows, then held out rows: x (R, I) and classes (R,) int64 or values (R, O)."""
    x, y = _drawn(w)
    return x.astype(w.dtype), y.astype(w.dtype) if w.regression else y


def _drawn(w: Workload) -> tuple[np.ndarray, np.ndarray]:
    """The same in float32."""
    rng, inputs, outputs = np.random.default_rng(0), w.widths[0], w.widths[-1]
    count = w.rows + int(HELD_OUT * w.rows)
    if w.data == "digits":
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        return np.ascontiguousarray(x[:count] / 16, np.float32), np.asarray(y[:count], np.int64)
    x = rng.standard_normal((count, inputs), np.float32)
    if w.data == "gauss":
        return x, rng.standard_normal((count, outputs), np.float32)
    y = np.arange(count) % outputs
    if w.data == "spiral":
        radius = rng.uniform(0.1, 1, count)
        angle = 4 * radius + 2 * np.pi * y / outputs + 0.15 * x[:, 0]
        return np.stack([radius * np.sin(angle), radius * np.cos(angle)], 1).astype(np.float32), y
    return x + rng.standard_normal((outputs, inputs), np.float32)[y] * np.float32(0.3), y


def initial(w: Workload, seed: int) -> list[Layer]:
    """[(W (I, O), b (O,) or None), ...] of one job."""
    rng = np.random.default_rng(1000 + seed)
    layers: list[Layer] = []
    for i, o in zip(w.widths, w.widths[1:], strict=False):
        deviation = 1.0 if w.regression else (2 / i) ** 0.5
        weights = (rng.standard_normal((i, o)) * deviation).astype(w.dtype)
        layers.append((weights, np.zeros(o, w.dtype) if w.bias else None))
    return layers


def gemm_flops(w: Workload) -> float:
    """Floating-point operations of the matrix products of all steps (no gradient of the inputs)."""
    products = sum(i * o * (3 if k else 2) for k, (i, o) in enumerate(zip(w.widths, w.widths[1:], strict=False)))
    return 2.0 * products * w.rows * w.epochs * w.jobs
