"""Which rows every step of every model sees: counter-based orders over one pooled data set.

Axis legend: M models, B batch, R rows of the pool. A short last batch is padded to B by repeating its last
row with weight 0, so that shapes never change and models with different row counts share a stack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kernels.backend import Backend
from kernels.random import permutation
from nets.losses import LOSSES, Loss
from nets.member import Member
from nets.prepare import PreparedData
from nets.tape import Array

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pool:
    """Rows of several models' data in one array.

    x (R, I+1) on the device, with its column of ones where there are biases; y (R, T) on the host; every model's first
    row and number of rows.
    """

    x: Array
    y: NDArray[Any]
    offsets: tuple[int, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, members: Sequence[Member], part: str, backend: Backend) -> Self:
        """Pool the "train" or "val" part; models whose arrays are the same object share their rows.

        Class codes stay codes (T = 1, int64) unless the loss compares values; values are (R, O).
        """
        first = members[0]
        dtype, bias = first.dtype, first.spec.net.bias
        offsets, counts, place, total = [], [], dict[int, int](), 0
        parts: list[tuple[NDArray[Any], NDArray[Any]]] = []
        for member in members:
            x, y = _part(member, part)
            if id(x) not in place:
                place[id(x)] = total
                parts.append((x, y()))
                total += len(x)
            offsets.append(place[id(x)])
            counts.append(len(x))
        width = first.data.n_inputs
        pooled = np.ones((total, width + int(bias)), dtype)
        np.concatenate([x for x, _ in parts], out=pooled[:, :width], casting="same_kind")
        y_pooled = np.concatenate([y for _, y in parts])
        return cls(backend.to_device(pooled), y_pooled, tuple(offsets), tuple(counts))

    def targets(self, _model: int, rows: NDArray[np.int64]) -> NDArray[Any]:
        """What rows of a model, as numbered here, are compared with."""
        return np.asarray(self.y[rows])


@dataclass(frozen=True, eq=False)
class OwnRows:
    """Rows of several models' data, each model's where they lie: x (n, I) and y (n, T) of every model, on the host.

    What is a row-major array of the right precision is not copied: who joins a stack costs it nothing.
    """

    x: tuple[NDArray[Any], ...]
    y: tuple[NDArray[Any], ...]

    @classmethod
    def of(cls, members: Sequence[Member], part: str) -> Self:
        """The "train" or "val" part; models whose arrays are the same object share them. y as a Pool has it."""
        known: dict[int, tuple[NDArray[Any], NDArray[Any]]] = {}
        found = []
        for member in members:
            x, y = _part(member, part)
            if id(x) not in known:
                known[id(x)] = np.require(x, member.dtype, ["C", "A", "W"]), np.ascontiguousarray(y())
            found.append(known[id(x)])
        return cls(tuple(x for x, _ in found), tuple(y for _, y in found))

    @property
    def offsets(self) -> tuple[int, ...]:
        """Every model's first row."""
        return (0,) * len(self.x)

    @property
    def counts(self) -> tuple[int, ...]:
        """Every model's number of rows."""
        return tuple(map(len, self.x))

    def targets(self, model: int, rows: NDArray[np.int64]) -> NDArray[Any]:
        """What rows of a model are compared with."""
        return self.y[model][rows]


def _part(member: Member, part: str) -> tuple[NDArray[Any], Callable[[], NDArray[Any]]]:
    """Inputs of the member's "train" or "val" rows, and how to make what its loss compares scores with."""
    data, loss = member.data, LOSSES[member.spec.loss.name]
    x, y = (data.x_train, data.y_train) if part == "train" else (data.x_val, data.y_val)
    return x, lambda: targets_of(loss, data, y, member.dtype)


def targets_of(loss: Loss, data: PreparedData, y: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """What the loss compares scores with: codes (n, 1) int64, or values (n, O), one-hot or 0 and 1 for classes."""
    if data.task != "classification":
        return y.astype(dtype)
    if loss.target == "class":
        return y[:, None].astype(np.int64)
    return np.asarray(y[:, None] == (1 if loss.one_output else np.arange(data.n_outputs)), dtype)


@dataclass(frozen=True, eq=False)
class Epoch:
    """One model's epoch: pooled rows (S, B) int64 and their weights (S, B), 0 at padded places."""

    number: int
    rows: NDArray[np.int64]
    weight: Floats
    valid: Floats
    """(S,) rows of each batch that are not padding."""


@dataclass(frozen=True, eq=False)
class RowOrder:
    """The batches of one model, epoch by epoch. A batch that is the whole training set is never shuffled."""

    seed: int
    count: int
    batch: int
    offset: int
    shuffle: bool
    row_weight: Floats | None

    @property
    def steps_per_epoch(self) -> int:
        """Updates of one pass over the rows."""
        return -(-self.count // self.batch)

    def epoch(self, number: int) -> Epoch:
        """The batches of epoch `number` (from 0); depends on (seed, number, count, batch) alone."""
        steps = self.steps_per_epoch
        order = np.arange(self.count)
        if self.shuffle and steps > 1:
            order = permutation(self.seed, number, self.count)
        rows = np.empty(steps * self.batch, np.int64)
        np.add(order, self.offset, out=rows[: self.count])
        rows[self.count :] = rows[self.count - 1]
        valid, weight = self.even
        if self.row_weight is not None:
            weight = weight * self.row_weight[rows - self.offset].reshape(weight.shape)
        return Epoch(number, rows.reshape(steps, self.batch), weight, valid)

    @cached_property
    def even(self) -> tuple[Floats, Floats]:
        """Rows of every batch (S,), and weights (S, B): 1, or 0 at padded places; equal in every epoch."""
        weight = np.ones((self.steps_per_epoch, self.batch))
        weight.reshape(-1)[self.count :] = 0
        return weight.sum(axis=1), weight
