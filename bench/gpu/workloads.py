"""What is trained: shapes, data and batches that every implementation gets, from NumPy alone.

Rows are whole batches, so that no implementation needs a special last step. Axis legend: M models, S steps of an
epoch, B batch, N rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
WRONG_LABELS = 0.25


@dataclass(frozen=True)
class Workload:
    """Softmax classification by sgd with momentum, no decay; models differ in learning rate and weights.

    `precision` is that of the products' factors: float32, tf32 or bfloat16; everything else is float32.
    """

    name: str
    widths: tuple[int, ...]
    activation: str
    batch: int
    rows: int
    learning_rate: float = 0.05
    momentum: float = 0.9
    models: int = 1
    gate_steps: int = 40
    precision: str = "float32"

    @property
    def steps_per_epoch(self) -> int:
        return self.rows // self.batch

    @property
    def gate_epochs(self) -> int:
        return -(-self.gate_steps // self.steps_per_epoch)

    def flops(self) -> float:
        """Of the matrix products of one step of all models: forward, gradient, and delta below the first layer."""
        pairs = list(pairwise(self.widths))
        products = 2 * sum(i * o for i, o in pairs) + sum(i * o for i, o in pairs[1:])
        return 2.0 * self.batch * products * self.models

    def learning_rates(self) -> Array:
        """(M,)"""
        return (
            self.learning_rate * np.logspace(-1, 0, self.models) if self.models > 1 else np.array([self.learning_rate])
        )

    def data(self) -> tuple[Array, Array]:
        """x (N, I) float32 around one centre per class, y (N,) int64.

        A share of the labels is drawn anew, so that no loss falls to where rounded numbers have no digits left.
        """
        rng = np.random.default_rng(0)
        classes = self.widths[-1]
        y = rng.integers(classes, size=self.rows)
        centres = rng.standard_normal((classes, self.widths[0]), np.float32)
        x = rng.standard_normal((self.rows, self.widths[0]), np.float32) + centres[y]
        return x, np.where(rng.random(self.rows) < WRONG_LABELS, rng.integers(classes, size=self.rows), y)


WORKLOADS = {
    one.name: one
    for one in (
        Workload("W1", (2, 16, 16, 3), "tanh", 32, 608),
        Workload("W3", (64, 128, 10), "relu", 64, 1536),
        Workload("W4", (784, 256, 128, 10), "relu", 128, 60_032, 0.01, gate_steps=20),
        Workload("W5", (3072, 1024, 1024, 10), "gelu", 256, 50_176, 0.01, gate_steps=6),
        Workload("W6", (1024, 4096, 4096, 1000), "relu", 4096, 16_384, 0.01, gate_steps=2),
        Workload("W7", (64, 128, 10), "relu", 64, 1536, models=1024, gate_steps=24),
    )
}


def split(widths: tuple[int, ...], flat: Array) -> list[tuple[Array, Array]]:
    """(W (M, I, O), b (M, 1, O)) of every layer from flat (M, P), laid out W1 | b1 | W2 | ..."""
    layers, at, models = [], 0, len(flat)
    for i, o in pairwise(widths):
        weights = flat[:, at : at + i * o].reshape(models, i, o)
        layers.append((weights, flat[:, at + i * o : at + (i + 1) * o].reshape(models, 1, o)))
        at += (i + 1) * o
    return layers
