"""The engine: runs steps of a stack of models on preallocated buffers, without allocation or waiting.

Axis legend: M models, B batch, P parameters, I in, O out, N steps of a chunk, K records of a loss.
A single job is the stack with M = 1. Other engines (whole epochs compiled, one kernel per epoch) run the
same stacks behind the same protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from kernels.backend import Backend
from nets.batches import OwnRows, Pool
from nets.clipping import bind_clipping
from nets.dropout import Dropout
from nets.evaluate import Evaluator, Measured
from nets.fused import bind_loss, bind_update
from nets.losses import LOSSES, Arrays
from nets.member import Member, State
from nets.network import Network, activations_of
from nets.optimizers import OPTIMIZERS, Update, zeros_of
from nets.search import RandomSearch
from nets.stack_state import StackState
from nets.tape import Array, Tape, play

MAX_CHUNK_STEPS = 512
MAX_CHUNK_ROWS = 1 << 20
"""Most rows (steps · models · batch) whose indices and records are kept at once."""


@dataclass(frozen=True)
class Crossing:
    """The end of an epoch inside a chunk, where the run has a metric point."""

    done: int
    """Steps of the chunk up to there."""
    measured: Measured | None
    finite: bool
    """Whether all parameters were."""


class Engine(Protocol):
    """Runs the steps of a stack. Positions count the models that are still in it."""

    @property
    def name(self) -> str:
        """What a job's record calls it."""

    @property
    def details(self) -> dict[str, str]:
        """What the record says beside the name of how the stack runs; to be added to."""

    @property
    def grows(self) -> bool:
        """Whether further models can be taken in; else an engine of all of them is made."""

    def admit(self, members: Sequence[Member], rows: OwnRows) -> None:
        """Go on with these, too, behind the others, whose present state becomes the last good one; rows are theirs."""

    def max_chunk(self) -> int:
        """Most steps that one `advance` may run now; a model that passes the end of an epoch tells by `crossed`."""

    def advance(self, n_steps: int) -> None:
        """Run `n_steps` steps of all models; only enqueues work on a device with a queue."""

    def drain(self) -> NDArray[np.float64]:
        """(N, M) weighted loss sums of the steps since the last drain. Waits for the device."""

    def crossed(self, position: int) -> Sequence[Crossing]:
        """The metric points that one model passed inside the last `advance`; most engines end chunks at them."""

    def steps(self) -> list[int]:
        """Updates done so far by every model."""

    def finite(self) -> NDArray[np.bool_]:
        """(M,) True where all parameters are finite. Waits for the device."""

    def weights(self, positions: Sequence[int]) -> NDArray[Any]:
        """A copy (K, P) of some models' parameters, on the host. Waits for the device."""

    def measure(self, evaluator: Evaluator, positions: Sequence[int], models: Sequence[int]) -> list[Measured]:
        """What the evaluator of these members finds at some positions, whose models it knows by other numbers."""

    def state(self, position: int) -> State:
        """One model's parameters, optimizer state and step, on the host."""

    def keep_copy(self) -> None:
        """Remember the present state of all models as the last good one."""

    def kept_state(self, position: int) -> State:
        """One model's last good state, on the host."""

    def keep(self, positions: Sequence[int]) -> None:
        """Go on with these models alone; their bits do not change."""


class LayeredEngine(StackState):
    """Layer by layer through the backend's operations: one tape of calls per step, any net, any device."""

    name: Final = "layered"

    def __init__(self, members: Sequence[Member], backend: Backend, pool: Pool | None = None) -> None:
        pool = pool or Pool.of(members, "train", backend)
        first = members[0]
        self._layout, self._dtype, self._batch = first.layout, first.dtype, first.spec.training.batch_size
        self._loss = LOSSES[first.spec.loss.name]
        self._loss_options = first.spec.loss.options
        self._optimizer = OPTIMIZERS[first.spec.optimizer.name]
        blanks = dict.fromkeys(self._optimizer.slots, np.zeros(self._layout.count, self._dtype))
        if self._optimizer.searches:
            blanks["least_loss"] = np.full(1, np.inf)
        super().__init__(members, backend, pool, blanks)
        self._state = {name: array.copy() for name, array in self._kept.items()}
        self.details: dict[str, str] = {}
        self._take(pool)
        self._build()

    def _take(self, pool: Pool) -> None:
        """Use the pooled rows; class codes become offsets into the flat scores."""
        self._x = pool.x
        self._y = self._backend.to_device(pool.y * self._batch if self._loss.target == "class" else pool.y)

    # ---- building: everything a step touches exists before it

    def _build(self) -> None:
        backend, models, count = self._backend, len(self._members), self._layout.count
        dtype, batch = self._dtype, self._batch
        self._gradient = backend.zeros((models, count), dtype)
        specs = self._members[0].spec.net.activation
        # per step and model: the weights of the batch's rows, the optimizer's rates, every row's share of the batch
        shares = batch if self._layout.batch_norm else 0
        self._numbers = backend.zeros((models, batch + self._optimizer.n_rates + shares), dtype)
        self._net = Network(
            backend,
            self._layout,
            activations_of(specs),
            batch,
            self._state["parameters"],
            self._gradient,
            dropout=any(member.spec.net.dropout for member in self._members),
            shares=self._numbers[:, batch + self._optimizer.n_rates :] if shares else None,
        )
        target_dtype = np.dtype(np.int64) if self._loss.target == "class" else dtype
        self._targets = backend.zeros((models, batch, self._y.shape[1]), target_dtype)
        self._record = backend.zeros((self._loss.n_records, models, batch), dtype)
        at = Arrays(self._net.scores, self._targets, self._numbers[:, :batch], self._record)
        self._loss_tape = bind_loss(self._loss, backend, at, self._loss_options)
        self._fills: list[Callable[[Sequence[int]], None]] = []  # what draws numbers for every model's step
        if self._net.masks:
            seeds = [member.spec.training.seed for member in self._members]
            rates = [member.spec.net.dropout for member in self._members]
            self._fills.append(Dropout(backend, seeds, rates, self._net.masks).fill)
        self._backward_tape = self._net.backward
        self._update_tape = self._build_search() if self._optimizer.searches else self._build_update()
        self._tape = self._net.forward + self._loss_tape + self._backward_tape + self._update_tape
        limit = max(1, min(MAX_CHUNK_STEPS, MAX_CHUNK_ROWS // (models * batch)))
        self._records = backend.zeros((limit, *self._record.shape), dtype)
        self._pending: list[tuple[Array, NDArray[np.float64]]] = []
        base = np.arange(models)[:, None] * self._layout.widths[-1] * batch + np.arange(batch)
        self._base = backend.to_device(base[..., None])  # of label 0 in the flat scores (M, B, 1)

    def _column(self, values: Sequence[float]) -> Array:
        return self._backend.to_device(np.array(values, np.float64).astype(self._dtype)[:, None])

    def _build_update(self) -> Tape:
        options = [member.spec.optimizer.options for member in self._members]
        decay, decays = None, np.array([self._optimizer.decay(one) for one in options])[:, None]
        if decays.any():
            decay = self._backend.to_device((decays * self._layout.is_weight()).astype(self._dtype))
        hyper = zip(*(self._optimizer.numbers(one) for one in options), strict=True)
        update = Update(
            self._optimizer.rule_for(options[0]),
            self._state["parameters"],
            self._gradient,
            decay,
            {name: self._state[name] for name in self._optimizer.slots},
            [self._numbers[:, k : k + 1] for k in range(self._batch, self._batch + self._optimizer.n_rates)],
            [self._column(values) for values in hyper],
            zeros_of(self._optimizer, options),
        )
        limits = [member.spec.training.clip_norm for member in self._members]
        return bind_clipping(self._backend, limits, self._gradient) + bind_update(self._backend, update)

    def _build_search(self) -> Tape:
        search = RandomSearch(
            self._backend,
            [member.spec.training.seed for member in self._members],
            [member.spec.optimizer.number("scale") for member in self._members],
            self._state["parameters"],
            self._state["least_loss"],
            self._numbers[:, : self._batch],
            self._record,
            self._loss,
            self._gradient,
        )
        self._fills.append(search.propose)
        self._backward_tape = []
        return [search.judge]

    # ---- running

    def max_chunk(self) -> int:
        """See Engine."""
        return min(self._chunks.left(), len(self._records))

    def advance(self, n_steps: int) -> None:
        """See Engine."""
        chunk = self._chunk(n_steps)
        take_rows, copy, tape = self._backend.take_rows, self._backend.xp.copyto, self._tape
        x, inputs, targets, numbers, record = self._x, self._net.inputs, self._targets, self._numbers, self._record
        steps = zip(chunk.rows, chunk.targets, chunk.numbers, self._records[:n_steps], strict=True)
        for done, (rows, target, number, kept) in enumerate(steps):
            take_rows(x, rows, inputs)  # (M, B, I+1)
            copy(targets, target)
            copy(numbers, number)
            if self._fills:
                self._fill(done)
            for step in tape:  # forward, loss, backward, update
                step()
            copy(kept, record)
        self._chunks.steps = [step + n_steps for step in self._chunks.steps]
        self._pending.append((self._records[:n_steps].copy(), chunk.weight))

    def _fill(self, done: int) -> None:
        """Draw what the step `done` steps into this chunk needs: its numbers depend on model and step alone."""
        steps = [step + done for step in self._chunks.steps]
        for fill in self._fills:
            fill(steps)

    def drain(self) -> NDArray[np.float64]:
        """See Engine."""
        pending, self._pending = self._pending, []
        return np.concatenate([self._loss_sums(records, weight) for records, weight in pending])

    def _loss_sums(self, on_device: Array, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, M) from a chunk's records, in float64: the one read of the device in a chunk."""
        records = self._backend.to_host(on_device).astype(np.float64)  # (N, K, M, B)
        values = self._loss.values(records.transpose(1, 0, 2, 3))  # (N, M, B)
        return np.asarray((np.where(weight > 0, values, 0.0) * weight).sum(axis=-1))

    def _chunk(self, n_steps: int) -> _Chunk:
        """Rows, targets, weights and rates of the next steps of all models, ready on the device."""
        backend = self._backend
        chunk = self._chunks.next(n_steps)
        n, models, batch = chunk.rows.shape
        on_device = backend.to_device(chunk.rows)
        targets = backend.zeros((n * models, batch, self._y.shape[1]), self._targets.dtype)
        backend.take_rows(self._y, on_device.reshape(n * models, batch), targets)
        targets = targets.reshape(n, *self._targets.shape)
        if self._loss.target == "class":
            targets += self._base
        columns = [chunk.scaled, chunk.rates]
        if self._layout.batch_norm:
            valid = chunk.valid[..., None]
            columns.append((np.arange(batch) < valid) / valid)  # padding is at the end
        numbers = np.concatenate(columns, axis=2, dtype=self._dtype, casting="same_kind")
        return _Chunk(on_device, targets, backend.to_device(numbers), chunk.weight)

    def trace_step(self) -> Iterator[tuple[str, Array]]:
        """Run one step phase by phase, giving every tensor by name just after it is computed."""
        chunk = self._chunk(1)
        copy = self._backend.xp.copyto
        self._backend.take_rows(self._x, chunk.rows[0], self._net.inputs)
        copy(self._targets, chunk.targets[0])
        copy(self._numbers, chunk.numbers[0])
        self._fill(0)
        play(self._net.forward)
        yield from ((f"the output of layer {layer}", a) for layer, a in enumerate(self._net.hidden, start=1))
        yield f"the output of layer {self._layout.n_layers}", self._net.scores
        play(self._loss_tape)
        copy(self._records[0], self._record)
        self._chunks.steps = [step + 1 for step in self._chunks.steps]
        yield "the loss", self._loss_sums(self._records[:1], chunk.weight)
        play(self._backward_tape)
        yield from self._named("the gradient of ", self._gradient, reverse=True)
        play(self._update_tape)
        yield from self._named("", self._state["parameters"])

    def _named(self, prefix: str, flat: Array, *, reverse: bool = False) -> Iterator[tuple[str, Array]]:
        layers = self._layout.layers(flat)
        for layer in reversed(layers) if reverse else layers:
            yield from ((f"{prefix}{name}", view) for name, view in layer.items())

    def crossed(self, position: int) -> Sequence[Crossing]:  # noqa: ARG002
        """See Engine."""
        return ()

    def keep(self, positions: Sequence[int]) -> None:
        """See Engine."""
        super().keep(positions)
        self._state = self._moved_up()
        self._build()


@dataclass(frozen=True, eq=False)
class _Chunk:
    rows: Array
    targets: Array
    numbers: Array
    weight: NDArray[np.float64]
