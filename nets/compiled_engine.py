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

from kernels.compiled import measures, steps, updates
from kernels.compiled.orders import orders
from kernels.compiled.panels import Panels, aligned
from kernels.compiled.workspace import Workspace
from nets.batches import OwnRows, RowOrder
from nets.compiled_evaluator import CompiledEvaluator, Rows, each, kind_of, knows_loss, rows_of_each, workspace_for
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
ROWS_AHEAD: Final = 1 << 14
"""Rows whose orders are drawn at once, in whole epochs: chunks of many models are short."""


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
    """What one model of the stack has beside its state: its row orders, weights of rows, rates, arguments."""

    member: Member
    order: RowOrder
    given: tuple[Any, ...]
    """What compiled code is given of its loss and its rows, and of those that it is measured on."""
    learns: tuple[Any, ...]
    """Its dropout (seed, limit and scale of the masks; limit 0 without), its optimizer's update and numbers."""
    valid: NDArray[np.int64]
    weight: NDArray[np.float64]
    """(S, B) in the loss, of the epoch `rows` belong to; the same in every epoch unless rows have weights."""
    scaled: NDArray[Any]
    """(S, B) in the gradient."""
    interval: int
    """Epochs from point to point."""
    place: int
    """As the evaluator counts."""
    epoch: int = 0
    rows: NDArray[np.int64] | None = None
    """(S·K, B) of so many epochs from `epoch` on."""
    span: int = -1
    rates: NDArray[Any] | None = None


@dataclass(frozen=True, eq=False)
class _Chunk:
    """N steps of all models. What they leave: sums (M, N); for E epochs figures (M, E, blocks, 2) and finite (M, E)."""

    team: int
    sums: NDArray[np.float64]
    figures: NDArray[np.float64]
    finite: NDArray[np.float64]


class CompiledEngine:
    """Engine whose `advance` is one call of compiled code for each model.

    Chunks run over the ends of epochs where nothing has to be decided there: without early stopping. Points on
    the way are measured by compiled code as well, on the rows of `val`.
    """

    name: Final = "compiled"
    grows: Final = True

    def __init__(
        self,
        members: Sequence[Member],
        rows: OwnRows | None = None,
        val: CompiledEvaluator | None = None,
        threads: int = 1,
    ) -> None:
        first = members[0]
        self.details: dict[str, str] = {}
        self._dtype, self._val, self._threads = first.dtype, val, threads
        self._optimizer = OPTIMIZERS[first.spec.optimizer.name]
        self._panels = Panels(first.layout.widths, first.layout.bias, self._dtype)
        self._names = ("parameters", *self._optimizer.slots)
        self._is_mean = LOSSES[first.spec.loss.name].is_mean(first.spec.loss.options)
        self._kind = kind_of(first)
        self._begun = _beginnings(members)
        self._packed = self._pack(self._begun)
        self._state = self._views()
        self._places = list(range(len(members)))
        self._steps = [_step_of(state) for state in self._begun]
        self._kept, self._kept_steps = dict[str, NDArray[Any]](), list(self._steps)
        self._models = list[_Model]()
        self._workspaces, self._gradients, self._pace = list[Workspace](), list[NDArray[Any]](), Pace(1)
        self._crossed = list[list[Crossing]]()
        self._pending: list[NDArray[np.float64]] = []
        self._enrol(members, rows or OwnRows.of(members, "train"))

    def admit(self, members: Sequence[Member], rows: OwnRows) -> None:
        """See Engine."""
        states, names = _beginnings(members), range(len(self._names))
        packed = self._pack(states)
        both = [[*self._rows_of(name), *np.split(packed, len(names))[name]] for name in names]
        self._packed = self._panels.copied([row for rows_of_name in both for row in rows_of_name])
        self._state = self._views()
        self._places = list(range(len(self._places) + len(members)))
        self._steps += [_step_of(state) for state in states]
        self._kept = {}
        self.keep_copy()
        for place, model in enumerate(self._models):
            model.place = place
        self._enrol(members, rows)

    def _enrol(self, members: Sequence[Member], rows: OwnRows) -> None:
        """What these models have beside their state, and buffers for as many side by side as there are now."""
        for member, own in zip(members, rows_of_each(members, rows), strict=True):
            place = len(self._models)
            self._models.append(self._model(place, member, self._given(place, own)))
        self._crossed += [[] for _ in members]
        self._crosses = all(_can_cross(model) for model in self._models)
        self._furnish()

    def _furnish(self) -> None:
        """Make the buffers that are missing."""
        first, models = self._models[0].member, self._models
        beside, team = _shared_out(first, len(models), self._threads)
        if team != self._pace.threads:
            self._workspaces, self._pace = [], Pace(team)
        block, drops = self._val.block if self._val else 0, first.spec.net.dropout > 0
        batch = first.spec.training.batch_size
        while len(self._workspaces) < beside:
            self._workspaces.append(workspace_for(first.spec, first.layout, batch, team, block, dropout=drops))
        clips = any(model.member.spec.training.clip_norm is not None for model in models)
        size = self._panels.count if clips else 1
        if len(self._gradients) < beside or size > len(self._gradients[0]):
            self._gradients = [aligned(size, self._dtype) for _ in range(beside)]

    def _pack(self, states: Sequence[State]) -> NDArray[Any]:
        """(S·M, P) in panels: the parameters of all these models, then slot by slot."""
        return self._panels.pack([state.get(name) for name in self._names for state in states])

    def _rows_of(self, name: int) -> list[NDArray[Any]]:
        """One array's rows of the models that are there, in panels."""
        first = name * len(self._state["parameters"])
        return [self._packed[first + place] for place in self._places]

    def _views(self) -> dict[str, NDArray[Any]]:
        """Parameters and slots by name, each (M, P) in panels: a model has one place, its row in all of them."""
        return dict(zip(self._names, np.split(self._packed, len(self._names)), strict=True))

    def _model(self, place: int, member: Member, given: tuple[Any, ...]) -> _Model:
        training, options, data = member.spec.training, member.spec.optimizer.options, member.data
        order = RowOrder(training.seed, len(data.x_train), training.batch_size, 0, training.shuffle, data.row_weight)
        limit = np.inf if training.clip_norm is None else training.clip_norm
        fixed = [limit, self._optimizer.decay(options), *self._optimizer.numbers(options)]
        hyper = np.array(fixed, np.float64).astype(self._dtype)
        update = _update_for(self._optimizer.name, tuple(options.items()), self._dtype)
        valid, weight = order.even
        scaled = self._scaled(weight, valid)
        rate = member.spec.net.dropout
        words = limit_of(rate) if rate else np.uint64(0)
        dropout = (np.uint64(training.seed), words, self._dtype.type(1 / (1 - rate)))
        interval = interval_of(training.epochs)
        return _Model(
            member,
            order,
            given,
            (*dropout, update, hyper),
            valid.astype(np.int64),
            weight,
            scaled,
            interval,
            place,
        )

    def _given(self, place: int, own: Rows) -> tuple[Any, ...]:
        """Loss, rows, those that are measured, and how many of these at a time."""
        if self._val is None:
            return (*self._kind, *own, *own, _NO_ROWS, 1)
        return (*self._kind, *own, *self._val.rows_of(place), self._val.block)

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
        chunk, before = self._chunk(n_steps), time.perf_counter()
        each(len(self._workspaces), len(self._models), lambda model, place: self._run(model, place, chunk))
        self._pace.took(chunk.team, n_steps, time.perf_counter() - before)
        self._crossed = self._crossings(chunk)
        self._steps = [step + n_steps for step in self._steps]
        self._pending.append(chunk.sums.T)

    def _chunk(self, n_steps: int) -> _Chunk:
        """Room for what so many steps leave."""
        models, epochs, blocks = len(self._models), 1, 0
        for model, step in zip(self._models, self._steps, strict=True):
            per_epoch, (*_, measured, block) = model.order.steps_per_epoch, model.given
            epochs = max(epochs, -(-(step % per_epoch + n_steps) // per_epoch))
            blocks = max(blocks, -(-len(measured) // block))
        figures = np.zeros((models, epochs, blocks, 2))
        return _Chunk(self._pace.team(), np.zeros((models, n_steps)), figures, np.ones((models, epochs)))

    def _run(self, position: int, place: int, chunk: _Chunk) -> None:
        """The chunk's steps of one model, in a workspace, by a team of threads."""
        model, step, space, sums = self._models[position], self._steps[position], self._workspaces[place], chunk.sums
        epoch, start = divmod(step, model.order.steps_per_epoch)
        row, models = self._places[position], len(self._state["parameters"])
        first_slot = self._state[self._names[min(1, len(self._names) - 1)]][row]
        between = self._packed.strides[0] // self._packed.itemsize * models  # from slot to slot
        rows, rates = self._rows(model, epoch, start, sums.shape[1]), self._rates(model, step, sums.shape[1])
        rest: tuple[Any, ...] = (
            *model.learns, self._packed[row], self._gradients[place], first_slot, between,
            rows, model.valid, model.scaled, model.weight, rates, sums[position],
            start, epoch, model.interval, chunk.figures[position], chunk.finite[position],
        )  # fmt: skip
        space.counters[:] = 0

        def join(thread: int, _thread: int) -> None:
            head = (*space.heads[thread], *space.plan, chunk.team, *model.given)
            arguments: tuple[Any, ...] = (*head, space.measured_at[thread], *rest)
            steps.advance(*arguments)

        each(chunk.team, chunk.team, join)

    def _rows(self, model: _Model, epoch: int, start: int, n_steps: int) -> NDArray[np.int64]:
        """(N, B) rows of the steps from step `start` of `epoch`."""
        per_epoch = model.order.steps_per_epoch
        rows, begin = model.rows, (epoch - model.epoch) * per_epoch + start
        if rows is None or begin + n_steps > len(rows):
            rows, begin = self._drawn(model, epoch, -(-(start + n_steps) // per_epoch)), start
            model.epoch, model.rows = epoch, rows
        return rows[begin : begin + n_steps]

    def _drawn(self, model: _Model, epoch: int, epochs: int) -> NDArray[np.int64]:
        """(S·K, B) rows of so many epochs, or of some more."""
        order, per_epoch = model.order, model.order.steps_per_epoch
        if not self._crosses:
            drawn = order.epoch(epoch)
            if order.row_weight is not None:
                model.weight, model.scaled = drawn.weight, self._scaled(drawn.weight, drawn.valid)
            return drawn.rows
        epochs = max(epochs, min(model.member.spec.training.epochs - epoch, ROWS_AHEAD // order.count))
        keys, rows = np.empty((2, order.count + 8), np.uint64), np.empty((epochs, per_epoch * order.batch), np.int64)
        orders(np.uint64(order.seed), epoch, order.shuffle and per_epoch > 1, order.count, order.offset, keys, rows)
        return rows.reshape(-1, order.batch)

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

    def _crossings(self, chunk: _Chunk) -> list[list[Crossing]]:
        """Every model's points inside the chunk: epochs that ended before its last step and have a point."""
        totals, finite, n_steps = chunk.figures.sum(axis=2).tolist(), chunk.finite.tolist(), chunk.sums.shape[1]
        found: list[list[Crossing]] = []
        for model, step, figures, sound in zip(self._models, self._steps, totals, finite, strict=True):
            per_epoch = model.order.steps_per_epoch
            epoch, start = divmod(step, per_epoch)
            found.append([])
            for ended, done in enumerate(range(per_epoch - start, n_steps, per_epoch)):
                if (epoch + ended + 1) % model.interval == 0:
                    measured = self._val.measured(model.place, *figures[ended]) if self._val else None
                    found[-1].append(Crossing(done, measured, bool(sound[ended])))
        return found

    def crossed(self, position: int) -> Sequence[Crossing]:
        """See Engine."""
        return self._crossed[position]

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
        return measures.finite_rows(self._state["parameters"], np.array(self._places, np.int64))

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
        self._crossed = [self._crossed[p] for p in chosen]
        if 2 * len(chosen) <= len(self._state["parameters"]):
            self._move_up()

    def _move_up(self) -> None:
        """Leave no place empty."""
        places = self._places
        self._packed = self._panels.copied([row for name in range(len(self._names)) for row in self._rows_of(name)])
        self._state = self._views()
        self._kept = {name: array[places] for name, array in self._kept.items()}
        self._places = list(range(len(places)))

    def _one(self, arrays: Mapping[str, NDArray[Any]], counts: Sequence[int], position: int) -> State:
        place = self._places[position]
        state: State = {name: self._panels.unpack(array[place : place + 1])[0] for name, array in arrays.items()}
        return state | {"step": np.array(counts[position], np.int64)}


def _beginnings(members: Sequence[Member]) -> list[State]:
    """Each one's checkpoint, or its parameters before the first step."""
    return [member.state or {"parameters": member.initial_parameters()} for member in members]


def _step_of(state: State) -> int:
    return int(state.get("step", np.zeros(())))


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
