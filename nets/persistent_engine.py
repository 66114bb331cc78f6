"""The engine for nets that fit one multiprocessor: a whole chunk of steps is one launch, one block per model.

Axis legend: M models that the stack began with, L models still in it, B batch, P parameters, N steps of a chunk,
S state arrays (parameters first, then the optimizer's slots). Models that leave are not launched any more;
their place stays, so that nothing moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.backend import Array, Backend, Launch
from kernels.fused_source import LossProgram
from kernels.persistent import PersistentPlan, fits
from kernels.persistent_source import SYMBOL, Rules, source
from kernels.updates import UpdateRule
from nets.batches import Epoch, Pool, RowOrder
from nets.engine import Crossing
from nets.evaluate import Evaluator, Measured
from nets.fused import program_of
from nets.losses import LOSSES
from nets.member import Member, State
from nets.network import activations_of
from nets.optimizers import OPTIMIZERS

MAX_CHUNK_STEPS: Final = 4096
MAX_CHUNK_ROWS: Final = 1 << 22
"""Most rows (steps · models · batch) whose numbers are kept at once: 16 MB."""


@dataclass(frozen=True, eq=False)
class Program:
    """A plan, the optimizer's rule and the loss: what all models of a stack share."""

    plan: PersistentPlan
    rule: UpdateRule
    loss: LossProgram


def program_for(member: Member, backend: Backend) -> Program | None:
    """The program for stacks of models like this one; None where the kernel cannot train them on this backend."""
    spec = member.spec
    optimizer = OPTIMIZERS[spec.optimizer.name]
    rule = optimizer.rule_for(spec.optimizer.options)
    loss = program_of(LOSSES[spec.loss.name], spec.loss.options)
    if backend.compiler is None or optimizer.searches or loss is None:
        return None
    if spec.net.dropout or spec.net.batch_norm or spec.training.clip_norm is not None:
        return None
    plan = fits(
        member.layout,
        spec.training.batch_size,
        member.dtype,
        n_slots=len(rule.slots),
        n_targets=1 if loss.by_class else member.layout.widths[-1],
        shared_bytes=backend.compiler.shared_bytes,
    )
    if plan is None or plan.parameters != member.layout.count:  # a layer keeps more than [W; b]
        return None
    return Program(plan, rule, loss)


class PersistentEngine:
    """Engine whose `advance` is one launch of the program that `kernels.persistent_source` writes."""

    name: Final = "persistent"

    def __init__(self, members: Sequence[Member], backend: Backend, program: Program, pool: Pool | None = None) -> None:
        first = members[0]
        self._backend, self._members = backend, list(members)
        self.details: dict[str, str] = {}
        self._plan, self._dtype = program.plan, first.dtype
        self._optimizer = OPTIMIZERS[first.spec.optimizer.name]
        self._names = ("parameters", *self._optimizer.slots)
        states = [member.state or {"parameters": member.initial_parameters()} for member in members]
        blank = np.zeros(self._plan.parameters, self._dtype)
        self._state = backend.to_device(
            np.stack([np.stack([state.get(name, blank) for state in states]) for name in self._names])
        )  # (S, M, P)
        self._kept = self._state.copy()
        self._steps = [int(state.get("step", np.zeros(()))) for state in states]
        self._kept_steps = list(self._steps)
        self._places = list(range(len(members)))
        self._take(pool or Pool.of(members, "train", backend))
        self._hyper = backend.to_device(np.stack([self._numbers(member) for member in members]).astype(self._dtype))
        self._models = backend.to_device(np.array(self._places, np.int32))
        batch = self._plan.batch
        self._limit = max(1, min(MAX_CHUNK_STEPS, MAX_CHUNK_ROWS // (len(members) * batch)))
        self._records = backend.zeros((len(members) * self._limit * batch,), self._dtype)
        self._losses = backend.zeros((len(members) * self._limit,), np.float64)
        self._pending: list[Array] = []
        self._launch = self._compile(program)

    def _take(self, pool: Pool) -> None:
        """Use the pooled rows; class codes take 4 bytes."""
        self._x = pool.x
        codes = pool.y.dtype.kind == "i"
        self._y = self._backend.to_device(pool.y.astype(np.int32) if codes else pool.y)
        self._orders = [
            RowOrder(m.spec.training.seed, count, self._plan.batch, offset, m.spec.training.shuffle, m.data.row_weight)
            for m, offset, count in zip(self._members, pool.offsets, pool.counts, strict=True)
        ]
        self._weighted = any(order.row_weight is not None for order in self._orders)
        self._epochs: list[Epoch | None] = [None] * len(self._members)

    def _numbers(self, member: Member) -> NDArray[np.float64]:
        """The optimizer's numbers of one model that do not change, decay last."""
        options = member.spec.optimizer.options
        return np.array([*self._optimizer.numbers(options), self._optimizer.decay(options)])

    def _compile(self, program: Program) -> Launch:
        spec = self._members[0].spec
        rules = Rules(
            activations=activations_of(spec.net.activation),
            loss=program.loss,
            loss_is_mean=LOSSES[spec.loss.name].is_mean(spec.loss.options),
            update=program.rule,
            row_weights=self._weighted,
        )
        compiler = self._backend.compiler
        if compiler is None:
            raise TypeError(f"the {self._backend.name} backend cannot run CUDA source")
        return compiler.compile(source(self._plan, rules), SYMBOL, self._plan.shared_bytes)

    # ---- running

    def max_chunk(self) -> int:
        """See Engine."""
        left = min(
            order.steps_per_epoch - step % order.steps_per_epoch
            for order, step in zip(self._orders, self._steps, strict=True)
        )
        return min(left, self._limit)

    def advance(self, n_steps: int) -> None:
        """See Engine: one launch."""
        backend, models = self._backend, len(self._places)
        batches, weights = self._batches(n_steps)
        rates = backend.to_device(self._rates(n_steps))
        arguments = (
            self._models,
            np.int32(n_steps),
            np.int32(self._state.shape[1]),
            self._state,
            self._x,
            self._y,
            backend.to_device(batches),
            rates,
            self._hyper,
            rates if weights is None else backend.to_device(weights),
            self._records,
            self._losses,
        )
        self._launch(models, self._plan.threads, arguments)
        self._steps = [step + n_steps for step in self._steps]
        self._pending.append(self._losses[: models * n_steps].reshape(models, n_steps).copy())

    def _batches(self, n_steps: int) -> tuple[NDArray[np.int32], NDArray[np.floating] | None]:
        """(L, N, B+1) rows of every batch and how many are not padding; (L, N, B) their weights if they have any."""
        batch = self._plan.batch
        batches = np.empty((len(self._places), n_steps, batch + 1), np.int32)
        weights = np.empty((len(self._places), n_steps, batch), self._dtype) if self._weighted else None
        for position in range(len(self._places)):
            epoch = self._epoch(position)
            start = self._steps[position] % self._orders[position].steps_per_epoch
            chunk = slice(start, start + n_steps)
            batches[position, :, :batch] = epoch.rows[chunk]
            batches[position, :, batch] = epoch.valid[chunk]
            if weights is not None:
                weights[position] = epoch.weight[chunk]
        return batches, weights

    def _epoch(self, position: int) -> Epoch:
        order = self._orders[position]
        wanted = self._steps[position] // order.steps_per_epoch
        epoch = self._epochs[position]
        if epoch is None or epoch.number != wanted:
            epoch = self._epochs[position] = order.epoch(wanted)
        return epoch

    def _rates(self, n_steps: int) -> NDArray[np.floating]:
        """(L, N, n_rates): the optimizer's numbers that change from step to step."""
        columns = []
        for member, start in zip(self._members, self._steps, strict=True):
            steps = np.arange(start, start + n_steps, dtype=np.float64)
            rates = self._optimizer.rates_at(
                member.learning_rates(start, n_steps), steps, member.spec.optimizer.options
            )
            columns.append(rates.T)
        return np.stack(columns).astype(self._dtype)

    def drain(self) -> NDArray[np.float64]:
        """See Engine."""
        sums = np.concatenate([self._backend.to_host(losses).T for losses in self._pending])
        self._pending = []
        return sums

    def crossed(self, position: int) -> Sequence[Crossing]:  # noqa: ARG002
        """See Engine."""
        return ()

    # ---- state

    def steps(self) -> list[int]:
        """See Engine."""
        return list(self._steps)

    def parameters(self) -> Array:
        """See Engine."""
        return self._state[0] if len(self._places) == self._state.shape[1] else self._state[0][self._places]

    def measure(self, evaluator: Evaluator, positions: Sequence[int], models: Sequence[int]) -> list[Measured]:
        """See Engine."""
        return evaluator.measure(self.parameters()[list(positions)], models)

    def finite(self) -> NDArray[np.bool_]:
        """See Engine."""
        return self._backend.to_host(self._backend.xp.isfinite(self._state[0]).all(axis=1))[self._places]

    def state(self, position: int) -> State:
        """See Engine."""
        return self._on_host(self._state, self._steps, position)

    def keep_copy(self) -> None:
        """See Engine."""
        self._backend.xp.copyto(self._kept, self._state)
        self._kept_steps = list(self._steps)

    def kept_state(self, position: int) -> State:
        """See Engine."""
        return self._on_host(self._kept, self._kept_steps, position)

    def _on_host(self, arrays: Array, steps: Sequence[int], position: int) -> State:
        host = self._backend.to_host(arrays[:, self._places[position]])
        state: State = {name: array.copy() for name, array in zip(self._names, host, strict=True)}
        return state | {"step": np.array(steps[position], np.int64)}

    def keep(self, positions: Sequence[int]) -> None:
        """See Engine. The others keep their places and are launched no more."""
        chosen = list(positions)
        self._members = [self._members[p] for p in chosen]
        self._orders = [self._orders[p] for p in chosen]
        self._epochs = [self._epochs[p] for p in chosen]
        self._steps = [self._steps[p] for p in chosen]
        self._kept_steps = [self._kept_steps[p] for p in chosen]
        self._places = [self._places[p] for p in chosen]
        self._models = self._backend.to_device(np.array(self._places, np.int32))
