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

from kernels.backend import Array, Backend
from kernels.persistent_source import SYMBOL, source
from nets.batches import Pool
from nets.device_orders import DeviceOrders
from nets.device_rates import DeviceRates
from nets.engine import Crossing
from nets.evaluate import Evaluator, Measured
from nets.member import Member, State
from nets.optimizers import OPTIMIZERS
from nets.persistent_program import Program
from nets.progress import interval_of
from nets.stack_state import LiveParameters

MAX_CHUNK_STEPS: Final = 4096
MAX_CHUNK_ROWS: Final = 1 << 24
"""Most rows (steps · models · batch) whose numbers are kept at once: 64 MB."""
MAX_SNAPSHOTS: Final = 64
"""Most metric points that one model passes in a chunk."""
MAX_SNAPSHOT_BYTES: Final = 1 << 27
"""What the parameters at all of them may take."""


@dataclass(frozen=True, eq=False)
class _Passed:
    """Points that the last chunk passed: where in it, for every model, and the parameters there."""

    done: Sequence[Sequence[int]]
    snapshots: Array
    """(L, kept, P)"""


class PersistentEngine(LiveParameters):
    """Engine whose `advance` is one launch of the program that `kernels.persistent_source` writes.

    Chunks run over the ends of epochs where nothing has to be decided there: without early stopping. Points on the
    way are measured afterwards, on snapshots of the parameters.
    """

    name: Final = "persistent"

    def __init__(
        self,
        members: Sequence[Member],
        backend: Backend,
        program: Program,
        pool: Pool | None = None,
        val: Evaluator | None = None,
    ) -> None:
        first = members[0]
        self._backend, self._members, self._val = backend, list(members), val
        self.details: dict[str, str] = {}
        self._plan, self._dtype, self._n_records = program.plan, first.dtype, program.loss.records
        self._optimizer = OPTIMIZERS[first.spec.optimizer.name]
        self._names = ("parameters", *self._optimizer.slots)
        states = [member.state or {"parameters": member.initial_parameters()} for member in members]
        blank = np.zeros(self._plan.parameters, self._dtype)
        self._state = backend.to_device(
            np.stack([np.stack([state.get(name, blank) for state in states]) for name in self._names])
        )  # (S, M, P)
        self._kept = self._state.copy()
        self._steps = np.array([int(state.get("step", np.zeros(()))) for state in states], np.int64)
        self._kept_steps = self._steps.copy()
        self._places = list(range(len(members)))
        self._take(pool or Pool.of(members, "train", backend))
        self._hyper = backend.to_device(np.stack([self._numbers(member) for member in members]).astype(self._dtype))
        self._rates = DeviceRates(members, self._optimizer, backend)
        self._limit = max(
            1, min(MAX_CHUNK_STEPS, self._rates.span, MAX_CHUNK_ROWS // (len(members) * self._plan.batch))
        )
        self._most_kept = max(1, min(MAX_SNAPSHOTS, MAX_SNAPSHOT_BYTES // int(self._state[0].nbytes)))
        self._every = np.array([interval_of(member.spec.training.epochs) for member in members], np.int64)
        self._total = np.array([member.total_steps for member in members], np.int64)
        self._nothing = backend.zeros((1,), self._dtype)
        self._pending: list[Array] = []
        self._passed: _Passed | None = None
        self._found: list[list[Crossing]] = []
        rules = program.rules(first, row_weights=self._orders.weighted)
        compiler = program.compiler
        self._launch = compiler.compile(source(self._plan, rules), SYMBOL, self._plan.shared_bytes)

    def _take(self, pool: Pool) -> None:
        """Use the pooled rows; class codes take 4 bytes."""
        self._x = pool.x
        codes = pool.y.dtype.kind == "i"
        self._y = self._backend.to_device(pool.y.astype(np.int32) if codes else pool.y)
        self._orders = DeviceOrders(self._members, pool, self._backend)
        self._crosses = self._orders.drawn and all(m.spec.training.early_stopping is None for m in self._members)

    def _numbers(self, member: Member) -> NDArray[np.float64]:
        """The optimizer's numbers of one model that do not change, decay last."""
        options = member.spec.optimizer.options
        return np.array([*self._optimizer.numbers(options), self._optimizer.decay(options)])

    # ---- running

    def max_chunk(self) -> int:
        """See Engine: steps that every model may run at once."""
        per_epoch = self._orders.per_epoch
        most = per_epoch - self._steps % per_epoch
        if self._crosses:
            most = np.maximum(most, np.minimum(self._total - self._steps, self._most_kept * self._every * per_epoch))
        return min(self._limit, int(most.min()))

    def advance(self, n_steps: int) -> None:
        """See Engine: one launch, and before it one that draws the orders."""
        xp, models, plan = self._backend.xp, len(self._places), self._plan
        batches = self._orders.next(self._steps, n_steps)
        rates, begun = self._rates.at(self._steps, n_steps)
        points = self._points(n_steps)
        kept = max(map(len, points), default=0)
        losses = xp.empty((models, n_steps), np.float64)
        snapshots = xp.empty((models, kept, plan.parameters), self._dtype) if kept else self._nothing
        weight = batches.weight
        arguments = (
            self._backend.to_device(self._tasks(batches.first, begun, keeps=kept > 0)),
            *(
                np.int32(size)
                for size in (n_steps, self._state.shape[1], batches.rows.shape[1], self._rates.span, kept)
            ),
            self._state,
            self._x,
            self._y,
            batches.rows,
            rates,
            self._hyper,
            self._nothing if weight is None else self._backend.to_device(weight.astype(self._dtype)),
            xp.empty((models, n_steps, plan.batch, self._n_records), self._dtype),
            losses,
            snapshots,
        )
        self._launch(models, plan.threads, arguments)
        self._steps = self._steps + n_steps
        self._pending.append(losses)
        self._passed, self._found = (_Passed(points, snapshots) if kept else None), []

    def _points(self, n_steps: int) -> list[range]:
        """Steps of the next chunk after which each model is at a metric point, but for one at the chunk's end.

        Empty where no model passes one.
        """
        between = self._orders.per_epoch * self._every
        first = between - self._steps % between
        if first.min() >= n_steps:
            return []
        return [range(begin, n_steps, step) for begin, step in zip(first.tolist(), between.tolist(), strict=True)]

    def _tasks(self, first: NDArray[np.int64], begun: NDArray[np.int64], *, keeps: bool) -> NDArray[np.int32]:
        """(L, 8): what the kernel calls Task."""
        per_epoch = self._orders.per_epoch
        epoch, at = np.divmod(self._steps, per_epoch)
        every = self._every if keeps else np.zeros_like(epoch)
        columns = (self._places, first, at, per_epoch, self._orders.last, epoch, every, begun)
        return np.stack(columns, axis=1).astype(np.int32)

    def drain(self) -> NDArray[np.float64]:
        """See Engine."""
        sums = np.concatenate([self._backend.to_host(losses).T for losses in self._pending])
        self._pending = []
        return sums

    def crossed(self, position: int) -> Sequence[Crossing]:
        """See Engine: all models are measured when the first is asked for."""
        if self._passed is None:
            return ()
        if not self._found:
            self._found = self._crossings(self._passed)
        return self._found[position]

    def _crossings(self, passed: _Passed) -> list[list[Crossing]]:
        finite = self._backend.to_host(self._backend.xp.isfinite(passed.snapshots).all(axis=2))
        at = [(position, k) for position, done in enumerate(passed.done) for k in range(len(done))]
        measured: Sequence[Measured | None] = [None] * len(at)
        if self._val is not None:
            positions, numbers = (list(one) for one in zip(*at, strict=True))
            parameters = passed.snapshots[positions, numbers]
            measured = self._val.measure(parameters, [self._places[position] for position in positions])
        found: list[list[Crossing]] = [[] for _ in passed.done]
        for (position, k), figures in zip(at, measured, strict=True):
            found[position].append(Crossing(passed.done[position][k], figures, bool(finite[position, k])))
        return found

    # ---- state

    @property
    def _parameters(self) -> Array:
        return self._state[0]

    def steps(self) -> list[int]:
        """See Engine."""
        return [int(step) for step in self._steps]

    def state(self, position: int) -> State:
        """See Engine."""
        return self._on_host(self._state, self._steps, position)

    def keep_copy(self) -> None:
        """See Engine."""
        self._backend.xp.copyto(self._kept, self._state)
        self._kept_steps = self._steps

    def kept_state(self, position: int) -> State:
        """See Engine."""
        return self._on_host(self._kept, self._kept_steps, position)

    def _on_host(self, arrays: Array, steps: NDArray[np.int64], position: int) -> State:
        host = self._backend.to_host(arrays[:, self._places[position]])
        state: State = {name: array.copy() for name, array in zip(self._names, host, strict=True)}
        return state | {"step": np.array(steps[position], np.int64)}

    def keep(self, positions: Sequence[int]) -> None:
        """See Engine. The others keep their places and are launched no more."""
        chosen = list(positions)
        self._members = [self._members[p] for p in chosen]
        self._orders.keep(chosen)
        self._steps, self._kept_steps = self._steps[chosen], self._kept_steps[chosen]
        self._every, self._total = self._every[chosen], self._total[chosen]
        self._places = [self._places[p] for p in chosen]
        self._rates.keep(chosen)
        self._passed = None
