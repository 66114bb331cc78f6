"""The compiled engine: whole chunks of steps without Python, the models of a stack side by side on threads.

Axis legend: M models, N steps of a chunk, S steps of an epoch, B batch, P parameters. A model's bits do not depend
on its neighbours: each is computed by itself, by the same machine code, whatever the number of threads.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels.backend import Backend
from kernels.compiled import measures, steps, updates
from kernels.compiled.orders import orders
from kernels.compiled.panels import Panels, aligned
from nets.batches import Pool, RowOrder
from nets.compiled_evaluator import CompiledEvaluator, each, kind_of, knows_loss, pooled_rows, workspace_for
from nets.dropout import limit_of
from nets.engine import Crossing
from nets.evaluate import Evaluator, Measured
from nets.losses import LOSSES
from nets.member import Member, State
from nets.optimizers import OPTIMIZERS, keeps_zeros, reduced_rule
from nets.progress import interval_of
from nets.stacking import LARGE_STEP
from nets.threads import Pace

SPAN: Final = 4096
"""Steps whose learning rates are computed at once; no chunk crosses a multiple of it."""
MAX_CHUNK_ROWS: Final = 1 << 18
"""Most rows (steps · batch) of a chunk of several epochs."""
MAX_CROSSING_ROWS: Final = 1 << 16
"""Largest training set whose row orders are drawn anew where a chunk begins inside an epoch."""


def compiles(member: Member) -> bool:
    """True if compiled code has everything the member's spec asks for."""
    spec, layout = member.spec, member.layout
    optimizer = OPTIMIZERS[spec.optimizer.name]
    dense = sum(rows * out for rows, out in zip(layout.rows, layout.widths[1:], strict=True))
    return (
        layout.count == dense  # nothing but weights and biases
        and knows_loss(member)
        and not optimizer.searches
        and keeps_zeros(optimizer.rule_for(spec.optimizer.options))
    )


@dataclass(eq=False)
class _Model:
    """What one model of the stack has beside its state: its row orders, weights of rows, rates, numbers."""

    member: Member
    place: int
    order: RowOrder
    update: int
    """Where the compiled update of its optimizer lies."""
    hyper: NDArray[Any]
    dropout: tuple[np.uint64, np.uint64, Any]
    """Seed, limit and scale of its masks; limit 0 without dropout."""
    valid: NDArray[np.int64]
    weight: NDArray[np.float64]
    """(S, B) in the loss, of the epoch `rows` belong to; the same in every epoch unless rows have weights."""
    scaled: NDArray[Any]
    """(S, B) in the gradient."""
    epoch: int = -1
    rows: NDArray[np.int64] | None = None
    """Of `epoch`, where a chunk may go on inside it."""
    span: int = -1
    rates: NDArray[Any] | None = None
    crossed: list[Crossing] | None = None


class CompiledEngine:
    """Engine whose `advance` is one call of compiled code for each model.

    Chunks run over the ends of epochs where nothing has to be decided there: without early stopping. Points on
    the way are measured by compiled code as well, on the rows of `val`.
    """

    name: Final = "compiled"

    def __init__(
        self,
        members: Sequence[Member],
        backend: Backend,
        pool: Pool | None = None,
        val: CompiledEvaluator | None = None,
        threads: int = 1,
    ) -> None:
        first = members[0]
        self.details: dict[str, str] = {}
        self._dtype, self._val = first.dtype, val
        self._optimizer = OPTIMIZERS[first.spec.optimizer.name]
        states = [member.state or {"parameters": member.initial_parameters()} for member in members]
        self._panels = Panels(first.layout.widths, first.layout.bias, self._dtype)
        self._names = ("parameters", *self._optimizer.slots)
        self._packed = self._panels.pack([state.get(name) for name in self._names for state in states])
        self._state = self._views()
        self._places = list(range(len(members)))
        self._steps = [int(state.get("step", np.zeros(()))) for state in states]
        self._begun, self._kept, self._kept_steps = states, dict[str, NDArray[Any]](), list(self._steps)
        pool = pool or Pool.of(members, "train", backend, ones=False)
        self._is_mean = LOSSES[first.spec.loss.name].is_mean(first.spec.loss.options)
        self._models = [self._model(place, member, pool) for place, member in enumerate(members)]
        self._shared = (*kind_of(first), *pooled_rows(members, pool))
        beside, team = _shared_out(first, len(members), threads)
        batch, block = first.spec.training.batch_size, val.block if val else 0
        drops = first.spec.net.dropout > 0
        self._workspaces = [workspace_for(first, batch, team, block, dropout=drops) for _ in range(beside)]
        clips = any(member.spec.training.clip_norm is not None for member in members)
        self._gradients = [aligned(self._panels.count if clips else 1, self._dtype) for _ in range(beside)]
        self._pace = Pace(team)
        self._crosses = all(_can_cross(model) for model in self._models)
        self._pending: list[NDArray[np.float64]] = []

    def _views(self) -> dict[str, NDArray[Any]]:
        """Parameters and slots by name, each (M, P) in panels: a model has one place, its row in all of them."""
        return dict(zip(self._names, np.split(self._packed, len(self._names)), strict=True))

    def _model(self, place: int, member: Member, pool: Pool) -> _Model:
        training, options = member.spec.training, member.spec.optimizer.options
        count, offset = pool.counts[place], pool.offsets[place]
        order = RowOrder(training.seed, count, training.batch_size, offset, training.shuffle, member.data.row_weight)
        limit = np.inf if training.clip_norm is None else training.clip_norm
        fixed = [limit, self._optimizer.decay(options), *self._optimizer.numbers(options)]
        hyper = np.array(fixed, np.float64).astype(self._dtype)
        update = _update_for(self._optimizer.name, tuple(options.items()), self._dtype)
        valid, weight = order.even
        scaled = self._scaled(weight, valid)
        rate = member.spec.net.dropout
        words = limit_of(rate) if rate else np.uint64(0)
        dropout = (np.uint64(training.seed), words, self._dtype.type(1 / (1 - rate)))
        return _Model(member, place, order, update, hyper, dropout, valid.astype(np.int64), weight, scaled)

    def _scaled(self, weight: NDArray[np.float64], valid: NDArray[Any]) -> NDArray[Any]:
        return (weight / valid[:, None] if self._is_mean else weight).astype(self._dtype)

    # ---- running

    def max_chunk(self) -> int:
        """See Engine."""
        left = min(self._left(model, step) for model, step in zip(self._models, self._steps, strict=True))
        return min(left, self._pace.most_steps())

    def _left(self, model: _Model, step: int) -> int:
        """Steps that one model may run at once."""
        to_span, per_epoch = SPAN - step % SPAN, model.order.steps_per_epoch
        to_epoch = per_epoch - step % per_epoch
        if not self._crosses:
            return min(to_span, to_epoch)
        to_end = model.member.total_steps - step
        return min(to_span, to_end, max(to_epoch, MAX_CHUNK_ROWS // model.order.batch))

    def advance(self, n_steps: int) -> None:
        """See Engine."""
        sums, team, before = np.zeros((len(self._models), n_steps)), self._pace.team(), time.perf_counter()
        each(len(self._workspaces), len(self._models), lambda model, place: self._run(model, place, team, sums[model]))
        self._pace.took(team, n_steps, time.perf_counter() - before)
        self._steps = [step + n_steps for step in self._steps]
        self._pending.append(sums.T)

    def _run(self, position: int, place: int, team: int, sums: NDArray[np.float64]) -> None:
        """As many steps of one model as `sums` has places, in a workspace, by a team of threads."""
        model, step, space = self._models[position], self._steps[position], self._workspaces[place]
        epoch, start = divmod(step, model.order.steps_per_epoch)
        n_epochs = -(-(start + len(sums)) // model.order.steps_per_epoch)
        validation = self._val.rows_of(model.place) if self._val else (*self._shared[-3:], _NO_ROWS)
        block = self._val.block if self._val else 1
        figures, finite = np.zeros((n_epochs, -(-len(validation[-1]) // block), 2)), np.ones(n_epochs)
        interval = interval_of(model.member.spec.training.epochs)
        row, models = self._places[position], len(self._state["parameters"])
        first_slot = self._state[self._names[min(1, len(self._names) - 1)]][row]
        between = self._packed.strides[0] // self._packed.itemsize * models  # from slot to slot
        learnt = (self._packed[row], self._gradients[place], first_slot, between)
        rows, rates = self._rows(model, epoch, start, len(sums)), self._rates(model, step, len(sums))
        space.counters[:] = 0
        chunk = (rows, model.valid, model.scaled, model.weight, rates, sums, start, epoch, interval, figures, finite)

        head = (*self._shared, *validation, block)
        rest = (*model.dropout, model.update, model.hyper, *learnt, *chunk)

        def join(thread: int, _thread: int) -> None:
            place = (*space.heads[thread], *space.plan, team)
            arguments: tuple[Any, ...] = (*place, *head, space.measured_at[thread], *rest)
            steps.advance(*arguments)

        each(team, team, join)
        model.crossed = self._crossings(model, figures, finite, epoch, start, len(sums), interval)

    def _rows(self, model: _Model, epoch: int, start: int, n_steps: int) -> NDArray[np.int64]:
        """(N, B) rows of the steps from step `start` of `epoch`."""
        order = model.order
        if not self._crosses:
            if model.epoch != epoch or model.rows is None:
                drawn = order.epoch(epoch)
                model.epoch, model.rows = epoch, drawn.rows
                if order.row_weight is not None:
                    model.weight, model.scaled = drawn.weight, self._scaled(drawn.weight, drawn.valid)
            return model.rows[start : start + n_steps]
        last, inside = divmod(start + n_steps, order.steps_per_epoch)
        rows = np.empty((last + bool(inside), order.steps_per_epoch * order.batch), np.int64)
        known = 0
        if model.rows is not None and model.epoch == epoch:  # the chunk before ended inside it
            rows[0], known = model.rows, 1
        if len(rows) > known:
            keys, shuffle = np.empty((2, order.count + 8), np.uint64), order.shuffle and order.steps_per_epoch > 1
            orders(np.uint64(order.seed), epoch + known, shuffle, order.count, order.offset, keys, rows[known:])
        model.epoch, model.rows = (epoch + last, rows[-1].copy()) if inside else (-1, None)
        return rows.reshape(-1, order.batch)[start : start + n_steps]

    def _rates(self, model: _Model, step: int, n_steps: int) -> NDArray[Any]:
        """(N, n_rates): what the optimizer needs that changes from step to step."""
        first = step - step % SPAN
        if model.span != first or model.rates is None:
            count = min(SPAN, model.member.total_steps - first)
            numbers = np.arange(first, first + count, dtype=np.float64)
            learning_rates = model.member.learning_rates(first, count)
            rates = self._optimizer.rates_at(learning_rates, numbers, model.member.spec.optimizer.options)
            model.span, model.rates = first, np.ascontiguousarray(rates.T).astype(self._dtype)
        return model.rates[step - first : step - first + n_steps]

    def _crossings(
        self,
        model: _Model,
        figures: NDArray[np.float64],
        finite: NDArray[np.float64],
        epoch: int,
        start: int,
        n_steps: int,
        interval: int,
    ) -> list[Crossing]:
        """The points inside the chunk: epochs that ended before its last step, every `interval`-th of them."""
        per_epoch, found = model.order.steps_per_epoch, list[Crossing]()
        if start + n_steps <= per_epoch:
            return found
        totals = figures.sum(axis=1).tolist()
        for ended, (loss, hits) in enumerate(totals):
            done = (ended + 1) * per_epoch - start
            if done < n_steps and (epoch + ended + 1) % interval == 0:
                measured = self._val.measured(model.place, loss, hits) if self._val else None
                found.append(Crossing(done, measured, bool(finite[ended])))
        return found

    def crossed(self, position: int) -> Sequence[Crossing]:
        """See Engine."""
        return self._models[position].crossed or ()

    def drain(self) -> NDArray[np.float64]:
        """See Engine."""
        sums, self._pending = np.concatenate(self._pending), []
        return sums

    # ---- state

    def steps(self) -> list[int]:
        """See Engine."""
        return list(self._steps)

    def _parameters(self, positions: Sequence[int]) -> list[NDArray[Any]]:
        """Of some models, in panels."""
        return [self._state["parameters"][self._places[position]] for position in positions]

    def finite(self) -> NDArray[np.bool_]:
        """See Engine."""
        return np.array([measures.all_finite(row) for row in self._parameters(range(len(self._models)))])

    def weights(self, positions: Sequence[int]) -> NDArray[Any]:
        """See Engine."""
        return self._panels.unpack(self._parameters(positions))

    def measure(self, evaluator: Evaluator, positions: Sequence[int], models: Sequence[int]) -> list[Measured]:
        """See Engine."""
        if isinstance(evaluator, CompiledEvaluator):
            return evaluator.measure_panels(self._parameters(positions), models)
        return evaluator.measure(self.weights(positions), models)

    def state(self, position: int) -> State:
        """See Engine."""
        return self._one(self._state, self._steps, position)

    def keep_copy(self) -> None:
        """See Engine."""
        self._kept = self._kept or {name: np.empty_like(array) for name, array in self._state.items()}
        for name, array in self._state.items():
            np.copyto(self._kept[name], array)
        self._begun, self._kept_steps = [], list(self._steps)

    def kept_state(self, position: int) -> State:
        """See Engine."""
        if self._kept:
            return self._one(self._kept, self._kept_steps, position)
        begun, step = self._begun[position], np.array(self._kept_steps[position], np.int64)
        nothing = np.zeros_like(begun["parameters"])
        return {name: begun.get(name, nothing) for name in self._names} | {"step": step}

    def keep(self, positions: Sequence[int]) -> None:
        """See Engine. Places of the others stay, empty, until they are half of all."""
        chosen = list(positions)
        self._models = [self._models[p] for p in chosen]
        self._steps = [self._steps[p] for p in chosen]
        self._kept_steps = [self._kept_steps[p] for p in chosen]
        self._begun = [self._begun[p] for p in chosen] if self._begun else []
        self._places = [self._places[p] for p in chosen]
        if 2 * len(chosen) <= len(self._state["parameters"]):
            self._move_up()

    def _move_up(self) -> None:
        """Leave no place empty."""
        places, count, names = self._places, len(self._state["parameters"]), range(len(self._names))
        self._packed = self._panels.chosen(self._packed, [name * count + place for name in names for place in places])
        self._state = self._views()
        self._kept = {name: array[places] for name, array in self._kept.items()}
        self._places = list(range(len(places)))

    def _one(self, arrays: Mapping[str, NDArray[Any]], counts: Sequence[int], position: int) -> State:
        place = self._places[position]
        state: State = {name: self._panels.unpack(array[place : place + 1])[0] for name, array in arrays.items()}
        return state | {"step": np.array(counts[position], np.int64)}


@lru_cache(maxsize=256)
def _update_for(optimizer: str, options: tuple[tuple[str, Any], ...], dtype: np.dtype[Any]) -> int:
    """Where the compiled update of an optimizer with these options lies."""
    return updates.address_of(reduced_rule(OPTIMIZERS[optimizer], dict(options)), dtype)


_NO_ROWS: Final = np.zeros(0, np.int64)


def _shared_out(first: Member, models: int, threads: int) -> tuple[int, int]:
    """Models that are trained side by side, and the threads that each of them gets: enough models come first."""
    products = sum(i * o for i, o in pairwise(first.layout.widths)) * first.spec.training.batch_size
    team = threads if models < threads and products >= LARGE_STEP else 1
    return min(models, threads // team), team


def _can_cross(model: _Model) -> bool:
    """True if nothing has to be decided where an epoch ends, and rows carry no weights of their own."""
    stopping = model.member.spec.training.early_stopping
    return stopping is None and model.order.row_weight is None and model.order.count <= MAX_CROSSING_ROWS
