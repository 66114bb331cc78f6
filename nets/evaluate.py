"""Loss and score of models on whole parts of their data, in blocks of fixed size.

Axis legend: M models of the stack, k models that are measured, E rows of a block, S blocks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kernels.backend import Backend
from nets.batches import OwnRows, Pool
from nets.fused import bind_loss
from nets.losses import LOSSES, Arrays
from nets.member import Member
from nets.network import Network, activations_of
from nets.resolve import evaluation_block
from nets.tape import Array, Tape, play

Floats = NDArray[np.float64]
MAX_TRAIN_ROWS = 4096
"""Training rows, evenly spaced, on which final figures are taken: a last look, not another epoch."""
LEAST_TRAIN_ROWS = 1024
LOOK = 20
"""How many times the rows of the last look a job has trained on before, above LEAST_TRAIN_ROWS."""


@dataclass(frozen=True)
class Measured:
    """Data loss (without the l2 term) and score of one model: accuracy, or R² for regression."""

    loss: float
    score: float


@dataclass(frozen=True, eq=False)
class _Bound:
    """A net of k models on one block of rows, and its loss."""

    net: Network
    parameters: Array
    targets: Array
    weights: Array
    records: Array
    loss_tape: Tape
    label_base: NDArray[np.int64]


def rows_looked_at(count: int, epochs: int) -> int:
    """Of so many training rows, those that final figures are taken on: a short job's last look is short too."""
    return min(count, MAX_TRAIN_ROWS, max(LEAST_TRAIN_ROWS, epochs * count // LOOK))


def _evenly(used: int, count: int, offset: int) -> NDArray[np.int64]:
    """(used,) of `count` rows from `offset` on, evenly spaced."""
    return np.arange(used) * count // max(used, 1) + offset


@dataclass(frozen=True, eq=False)
class Sample:
    """What one model is measured on: rows (n,), as its pool numbers them.

    A loss that is a sum is `scale` times what it is over these rows. `spread` is what they leave to a constant.
    """

    rows: NDArray[np.int64]
    scale: float
    spread: float


class Evaluator(ABC):
    """Measures models of one stack on their "val" rows, or on the "train" rows of `rows_looked_at`.

    Blocks have the same size whatever the stack, so a model's figures do not depend on its neighbours.
    """

    def __init__(self, members: Sequence[Member], part: str, rows: Pool | OwnRows) -> None:
        self._part = part
        self._spec, self._layout, self._dtype = members[0].spec, members[0].layout, members[0].dtype
        self._loss = LOSSES[self._spec.loss.name]
        self._is_mean = self._loss.is_mean(self._spec.loss.options)
        self._block = evaluation_block(self._spec)
        self._codes = members[0].data.task == "classification"
        self._samples = self._samples_of(members, rows)

    def _samples_of(self, members: Sequence[Member], rows: Pool | OwnRows) -> list[Sample]:
        """What each of these models is measured on."""
        known, found = dict[tuple[int, int, int], NDArray[np.int64]](), list[Sample]()
        for model, (member, count, offset) in enumerate(zip(members, rows.counts, rows.offsets, strict=True)):
            used = rows_looked_at(count, member.spec.training.epochs) if self._part == "train" else count
            if (used, count, offset) not in known:
                known[used, count, offset] = _evenly(used, count, offset)
            chosen = known[used, count, offset]
            found.append(Sample(chosen, count / max(used, 1), self._total_spread(rows, model, chosen)))
        return found

    def _total_spread(self, rows: Pool | OwnRows, model: int, chosen: NDArray[np.int64]) -> float:
        """Σ (y - mean)² over the rows in use: what a constant prediction leaves of a regression target."""
        if self._codes or len(chosen) == 0:
            return 1.0
        target = rows.targets(model, chosen).astype(np.float64)
        return float(((target - target.mean(axis=0)) ** 2).sum())

    def admit(self, _stay: Sequence[int], _members: Sequence[Member], _rows: OwnRows) -> None:
        """Go on with some of the models, and with further ones behind them, whose rows these are.

        For what measures the stack of an engine that grows.
        """
        raise TypeError(f"{type(self).__name__} does not grow")

    @abstractmethod
    def measure(self, parameters: Array, models: Sequence[int]) -> list[Measured]:
        """Loss and score of the given models with parameters (k, P), in the same order. Waits for the device."""

    def _summary(self, model: int, loss: float, hit: float) -> Measured:
        on = self._samples[model]
        count, spread = len(on.rows), on.spread
        mean = loss / count if self._is_mean else loss * on.scale
        if self._codes:
            return Measured(mean, hit / count)
        return Measured(mean, 1.0 - hit / spread if spread > 0 else float("nan"))


class LayeredEvaluator(Evaluator):
    """Layer by layer through the backend's operations: any net, any device."""

    def __init__(self, members: Sequence[Member], backend: Backend, part: str, pool: Pool) -> None:
        super().__init__(members, part, pool)
        self._backend, self._x, self._y = backend, pool.x, pool.y
        self._bound: dict[int, _Bound] = {}

    @cached_property
    def _rows(self) -> NDArray[np.int64]:
        """(M, S, E) rows of every block, the last one repeated to its end."""
        blocks = self._blocks(range(len(self._samples)))
        rows = np.zeros((len(self._samples), blocks * self._block), np.int64)
        for row, one in zip(rows, self._samples, strict=True):
            count = len(one.rows)
            row[:count], row[count:] = one.rows, one.rows[-1:] if count else 0
        return rows.reshape(len(rows), blocks, self._block)

    @cached_property
    def _mask(self) -> NDArray[np.bool_]:
        """(M, S, E) which of them count."""
        places = np.arange(self._rows[0].size).reshape(self._rows[0].shape)
        return np.asarray(places < np.array([len(one.rows) for one in self._samples])[:, None, None])

    def _blocks(self, models: Iterable[int]) -> int:
        """Blocks of the one of these models that has most rows."""
        return max(-(-len(self._samples[model].rows) // self._block) for model in models)

    def _bind(self, k: int) -> _Bound:
        if k in self._bound:
            return self._bound[k]
        backend, block, dtype = self._backend, self._block, self._dtype
        parameters = backend.zeros((k, self._layout.count), dtype)
        net = Network(backend, self._layout, activations_of(self._spec.net.activation), block, parameters)
        by_class = self._loss.target == "class"
        targets = backend.zeros((k, block, self._y.shape[1]), np.dtype(np.int64) if by_class else dtype)
        weights = backend.zeros((k, block), dtype)
        records = backend.zeros((self._loss.n_records, k, block), dtype)
        arrays = Arrays(net.scores, targets, weights, records)
        tape = bind_loss(self._loss, backend, arrays, self._spec.loss.options)
        base = np.arange(k)[:, None] * self._layout.widths[-1] * block + np.arange(block)
        self._bound[k] = _Bound(net, parameters, targets, weights, records, tape, base[..., None])
        return self._bound[k]

    def measure(self, parameters: Array, models: Sequence[int]) -> list[Measured]:
        """See Evaluator."""
        chosen = list(models)
        at = self._bind(len(chosen))
        self._backend.xp.copyto(at.parameters, parameters)
        rows, mask = self._rows[chosen], self._mask[chosen]
        losses, hits = np.zeros(len(chosen)), np.zeros(len(chosen))
        for s in range(self._blocks(chosen)):
            value, hit = self._measure_block(at, rows[:, s], mask[:, s])
            losses += value
            hits += hit
        return [self._summary(m, losses[i], hits[i]) for i, m in enumerate(chosen)]

    def _measure_block(self, at: _Bound, rows: NDArray[np.int64], mask: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """(k,) loss sums and (k,) hits (right classes, or squared residuals) of one block."""
        backend, xp = self._backend, self._backend.xp
        backend.take_rows(self._x, backend.to_device(rows), at.net.inputs)
        play(at.net.forward)
        y = self._y[rows]  # (k, E, T)
        by_class = self._loss.target == "class"
        xp.copyto(at.targets, backend.to_device(y * self._block + at.label_base if by_class else y))
        scores = at.net.scores  # (k, C, E)
        if self._codes:
            codes = y[..., 0] if y.shape[-1] == 1 else y.argmax(axis=-1)
            hit = (backend.to_host(self._loss.classes(scores, axis=1)) == codes).astype(np.float64)
        else:
            hit = ((backend.to_host(scores).astype(np.float64) - y.transpose(0, 2, 1)) ** 2).sum(axis=1)
        play(at.loss_tape)
        value = self._loss.values(backend.to_host(at.records).astype(np.float64))
        return np.where(mask, value, 0.0).sum(axis=-1), np.where(mask, hit, 0.0).sum(axis=-1)
