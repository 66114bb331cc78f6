"""What the next steps of a stack's models need: rows, weights of rows and rates, made on the host.

Axis legend: M models, N steps of a chunk, B batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nets.batches import Epoch, Floats, Pool, RowOrder
from nets.losses import LOSSES
from nets.member import Member
from nets.optimizers import OPTIMIZERS

MAX_CACHED_WEIGHTS = 16


@dataclass(frozen=True, eq=False)
class Chunk:
    """The rows of the pool (N, M, B), their weights in the loss, and in the gradient (N, M, B), rates (N, M, n_rates).

    `valid` (N, M) are the rows of every batch that are not padding.
    """

    rows: NDArray[np.int64]
    weight: Floats
    scaled: Floats
    valid: Floats
    rates: Floats


class Chunks:
    """Makes the chunks of a stack; `steps` are the updates done so far by every model."""

    def __init__(self, members: Sequence[Member], pool: Pool, steps: Sequence[int]) -> None:
        self.steps = list(steps)
        self._members = list(members)
        first = members[0].spec
        self._optimizer = OPTIMIZERS[first.optimizer.name]
        self._is_mean = LOSSES[first.loss.name].is_mean(first.loss.options)
        self._orders = [
            RowOrder(
                m.spec.training.seed, n, first.training.batch_size, offset, m.spec.training.shuffle, m.data.row_weight
            )
            for m, offset, n in zip(members, pool.offsets, pool.counts, strict=True)
        ]
        self._epochs: list[Epoch | None] = [None] * len(members)
        self._weights: dict[tuple[int, ...], tuple[Floats, Floats]] = {}

    def left(self) -> int:
        """Steps to the nearest end of an epoch: no chunk goes beyond it."""
        return min(
            order.steps_per_epoch - step % order.steps_per_epoch
            for order, step in zip(self._orders, self.steps, strict=True)
        )

    def next(self, n_steps: int) -> Chunk:
        """The next steps of all models; `steps` stay where they are."""
        epochs = [self._epoch(position) for position in range(len(self._members))]
        first = [step % order.steps_per_epoch for step, order in zip(self.steps, self._orders, strict=True)]
        rows = np.stack([e.rows[s : s + n_steps] for e, s in zip(epochs, first, strict=True)], axis=1)
        valid = np.stack([e.valid[s : s + n_steps] for e, s in zip(epochs, first, strict=True)], axis=1)
        weight, scaled = self._weighed(epochs, first, n_steps, valid)
        return Chunk(rows, weight, scaled, valid, self._rates(n_steps))

    def keep(self, positions: Sequence[int]) -> None:
        """Go on with these models alone."""
        self._members = [self._members[p] for p in positions]
        self._orders = [self._orders[p] for p in positions]
        self._epochs = [self._epochs[p] for p in positions]
        self.steps = [self.steps[p] for p in positions]
        self._weights.clear()

    def _weighed(
        self, epochs: Sequence[Epoch], first: Sequence[int], n_steps: int, valid: Floats
    ) -> tuple[Floats, Floats]:
        """Row weights, and scaled for the gradient; without class weights every epoch has the same."""
        key = (n_steps, *first)
        if key in self._weights:
            return self._weights[key]
        weight = np.stack([e.weight[s : s + n_steps] for e, s in zip(epochs, first, strict=True)], axis=1)
        scaled = weight / valid[:, :, None] if self._is_mean else weight
        if all(order.row_weight is None for order in self._orders) and len(self._weights) < MAX_CACHED_WEIGHTS:
            self._weights[key] = weight, scaled
        return weight, scaled

    def _epoch(self, position: int) -> Epoch:
        order = self._orders[position]
        number = self.steps[position] // order.steps_per_epoch
        epoch = self._epochs[position]
        if epoch is None or epoch.number != number:
            epoch = self._epochs[position] = order.epoch(number)
        return epoch

    def _rates(self, n_steps: int) -> Floats:
        """(N, M, n_rates): what the optimizer needs that changes from step to step."""
        columns = []
        for member, start in zip(self._members, self.steps, strict=True):
            rates = member.learning_rates(start, n_steps)
            steps = np.arange(start, start + n_steps, dtype=np.float64)
            columns.append(self._optimizer.rates_at(rates, steps, member.spec.optimizer.options))
        return np.stack(columns).transpose(2, 0, 1)
