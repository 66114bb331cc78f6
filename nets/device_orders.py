"""Rows of a stack's next batches in device memory: drawn there, or on the host where they have weights or are many.

Axis legend: M models, N steps of a chunk, B batch, R rows of an order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels import order_source
from kernels.backend import Array, Backend
from nets.batches import Epoch, Floats, Pool, RowOrder
from nets.member import Member


@dataclass(frozen=True, eq=False)
class Batches:
    """Rows (M, batches, B) int32 on the device; every model's first batch among them; weights (M, N, B) or None."""

    rows: Array
    first: NDArray[np.int64]
    weight: Floats | None


class DeviceOrders:
    """The row orders of a stack. Models may differ in everything but the batch size."""

    def __init__(self, members: Sequence[Member], pool: Pool, backend: Backend) -> None:
        self.batch = members[0].spec.training.batch_size
        self._orders = [
            RowOrder(m.spec.training.seed, count, self.batch, offset, m.spec.training.shuffle, m.data.row_weight)
            for m, offset, count in zip(members, pool.offsets, pool.counts, strict=True)
        ]
        self._backend = backend
        self._epochs: list[Epoch | None] = [None] * len(members)
        self.weighted = any(order.row_weight is not None for order in self._orders)
        self._draws = np.array([_draw_of(order) for order in self._orders], order_source.DRAW)
        compiler, most = backend.compiler, int(self._draws["count"].max())
        self.drawn = (
            compiler is not None
            and not self.weighted
            and most <= order_source.MAX_ROWS
            and compiler.shared_bytes >= order_source.shared_bytes(order_source.MAX_ROWS)
        )
        if self.drawn and compiler is not None:
            self._threads = order_source.threads(most)
            self._launch = compiler.compile(order_source.SOURCE, order_source.SYMBOL, order_source.shared_bytes(most))

    @property
    def per_epoch(self) -> NDArray[np.int64]:
        """(M,) steps of one pass over the rows of every model."""
        return self._draws["per_epoch"]

    @property
    def last(self) -> NDArray[np.int64]:
        """(M,) rows of every model's last batch of an epoch."""
        rows: NDArray[np.int64] = self._draws["count"] - (self.per_epoch - 1) * self.batch
        return rows

    def keep(self, positions: Sequence[int]) -> None:
        """Go on with these models alone."""
        self._orders = [self._orders[p] for p in positions]
        self._epochs = [self._epochs[p] for p in positions]
        self._draws = self._draws[list(positions)]

    def next(self, steps: NDArray[np.int64], n_steps: int) -> Batches:
        """The batches of the next `n_steps` of models that have done `steps`. Undrawn ones end with their epoch."""
        return self._draw(steps, n_steps) if self.drawn else self._from_host(steps, n_steps)

    def _draw(self, steps: NDArray[np.int64], n_steps: int) -> Batches:
        draws = self._draws.copy()
        draws["epoch"], first = np.divmod(steps, self.per_epoch)
        draws["epochs"] = -(-(first + n_steps) // self.per_epoch)
        epochs, batches = int(draws["epochs"].max()), int((draws["epochs"] * self.per_epoch).max())
        rows = self._backend.xp.empty((len(draws), batches, self.batch), np.int32)
        sizes = (np.int32(epochs), np.int32(batches), np.int32(self.batch))
        on_device = self._backend.to_device(draws.view(np.int64))
        self._launch(len(draws) * epochs, self._threads, (on_device, *sizes, rows))
        return Batches(rows, first, None)

    def _from_host(self, steps: NDArray[np.int64], n_steps: int) -> Batches:
        shape = (len(self._orders), n_steps, self.batch)
        rows, weight = np.empty(shape, np.int32), np.empty(shape) if self.weighted else None
        for position, step in enumerate(steps.tolist()):
            number, start = divmod(step, self._orders[position].steps_per_epoch)
            epoch = self._epoch(position, number)
            rows[position] = epoch.rows[start : start + n_steps]
            if weight is not None:
                weight[position] = epoch.weight[start : start + n_steps]
        return Batches(self._backend.to_device(rows), np.zeros(len(rows), np.int64), weight)

    def _epoch(self, position: int, number: int) -> Epoch:
        epoch = self._epochs[position]
        if epoch is None or epoch.number != number:
            epoch = self._epochs[position] = self._orders[position].epoch(number)
        return epoch


def _draw_of(order: RowOrder) -> tuple[int, ...]:
    per_epoch = order.steps_per_epoch
    return order.seed, 0, 0, order.count, order.offset, per_epoch, order.shuffle and per_epoch > 1
