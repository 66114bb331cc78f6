"""A stack's training step as a plan: which kernels and products run over which buffers, from the registries.

Axis legend: M models, B batch, I in, O out, C scores, P parameters, N steps of a chunk, K steps of a recording,
W numbers of a step. Activations are feature-major (M, H, B), as in `network`; a row of ones meets the biases.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from kernels import layer_source, step_source, tail_source, wide_loss
from kernels.errors import RecordingFailed
from kernels.fused_source import (
    LOSS_SYMBOL,
    MASK_SYMBOL,
    MASK_WORDS,
    THREADS,
    UPDATE_SYMBOL,
    group_size,
    loss_source,
    mask_source,
    update_source,
)
from kernels.step_plan import Kernel, Node, Place, StepPlan, product
from nets.fused import MAX_BLOCKS
from nets.step_arrays import StepArrays, turn
from nets.step_shape import StepShape, is_thin

CHAIN, BATCHES, GRADIENTS = range(3)
"""Branches: from layer to layer; what brings batches; gradients' products, for which nothing waits soon."""
SPLIT_PARAMETERS: Final = 1 << 20
"""From so many parameters on, those above the first layer are updated on their own: a launch is short beside them."""


class Span(NamedTuple):
    """Numbers of a buffer from `start` to before `stop`."""

    start: int
    stop: int


def plan_of(shape: StepShape, models: int, capacity: int, recordings: Sequence[int]) -> StepPlan:
    """The plan of a stack: one program for each number of steps in `recordings`, and last one that readies weights.

    A chunk has at most `capacity` steps. Raises RecordingFailed for a model of more numbers than programs count.
    """
    try:
        return _Planner(shape, models, capacity, max(recordings)).plan(recordings)
    except OverflowError as error:
        raise RecordingFailed("a model of 2^31 numbers or more is trained layer by layer") from error


class _Planner:
    """Writes the nodes of a step over its arrays."""

    def __init__(self, shape: StepShape, models: int, capacity: int, steps: int) -> None:
        self.shape, self.models = shape, models
        self._at = StepArrays(shape, models, capacity, steps)

    def plan(self, recordings: Sequence[int]) -> StepPlan:
        """See plan_of."""
        programs = [(*self._steps(count), *self._closing(count)) for count in recordings]
        ready = self._narrow("parameters", "narrowed") if self._at.narrow else []
        return StepPlan(tuple(self._at.buffers.values()), (*programs, tuple(ready)))

    def _steps(self, count: int) -> list[Node]:
        """Steps one after another; each brings the next one's batch along."""
        nodes = self._bring(0)
        for step in range(count):
            nodes += self._bring(step + 1) if step + 1 < count else []
            nodes += self._step(step)
        return nodes

    def _bring(self, step: int) -> list[Node]:
        """What a step needs of its batch, and its masks."""
        masks = range(1, self.shape.layout.n_layers) if self.shape.dropout else ()
        return [self._load(step), *(self._mask(layer, step) for layer in masks)]

    def _step(self, step: int) -> list[Node]:
        shape, nodes = self.shape, list[Node]()
        layers = range(1, shape.layout.n_layers + 1)
        for layer in layers[:-1]:
            nodes += self._forward(layer, step)
        if is_thin(shape.layout):
            nodes += [self._thin_scores(step), self._thin_tail(step)]
        else:
            nodes += [*self._forward(layers[-1], step), self._loss(step)]
            nodes += self._narrow(f"z{len(layers)}", "narrow_scores") if self._at.narrow else []
            nodes += self._backward(layers[-1], step)
        for layer in reversed(layers[1:-1]):
            nodes += self._backward(layer, step)
        nodes += [self._bias()] if shape.bias_apart else []
        whole, first = Span(0, self._at.buffers["parameters"].size), self._first_of_two
        if first is not None:
            nodes.append(self._update(step, Span(first.stop, whole.stop), GRADIENTS))
        if len(layers) > 1:
            nodes += self._backward(1, step)
        clip = self._clip() if shape.clips else []
        return [*nodes, *clip, self._update(step, first or whole)]

    @property
    def _first_of_two(self) -> Span | None:
        """The first layer of a large net: the others are updated while its gradient is computed. Else None."""
        layout = self.shape.layout
        if self.models > 1 or self.shape.clips or layout.n_layers == 1 or layout.count < SPLIT_PARAMETERS:
            return None
        return Span(0, layout.offsets[1])

    def _kernel(
        self,
        source: str,
        symbol: str,
        size: int,
        *arguments: Place | np.generic,
        writes: Sequence[str],
        branch: int = CHAIN,
    ) -> Kernel:
        """A launch with a thread for each of `size` numbers, as far as blocks allow."""
        blocks = min(MAX_BLOCKS, -(-size // THREADS))
        return Kernel(source, symbol, blocks, THREADS, arguments, writes=frozenset(writes), branch=branch)

    def _load(self, step: int) -> Kernel:
        shape = self.shape
        inputs, samples = shape.layout.rows[0], self.models * shape.batch
        sizes = (step, self.models, shape.batch, inputs, self._at.input_leading, shape.targets, shape.width)
        filled = [turn(name, step) for name in ("inputs", "targets", "now", "steps")]
        names = ("sources", "cursor", "rows", "numbers", "first", *filled)
        return self._kernel(
            step_source.load_source(shape.real, shape.arithmetic, by_class=shape.loss.by_class),
            step_source.LOAD_SYMBOL,
            max(samples * inputs, self.models * shape.width),
            *(np.int32(size) for size in sizes),
            *(self._at.whole(name) for name in names),
            writes=filled,
            branch=BATCHES,
        )

    def _mask(self, layer: int, step: int) -> Kernel:
        size = self.shape.layout.widths[layer] * self.shape.batch
        sizes = (np.int32(self.models), np.int32(size), np.int32(layer))
        mask = turn(f"mask{layer}", step)
        places = (self._at.whole(name) for name in ("seeds", turn("steps", step), "stays", "scales", mask))
        threads, source = self.models * -(-size // MASK_WORDS), mask_source(self.shape.real)
        return self._kernel(source, MASK_SYMBOL, threads, *sizes, *places, writes=[mask], branch=BATCHES)

    def _forward(self, layer: int, step: int) -> list[Node]:
        """z = [W; b]ᵀ a, and of a hidden layer a = f(z)."""
        shape, rows, out = self.shape, self.shape.product_rows(layer), self.shape.layout.widths[layer]
        z = self._at.features(f"z{layer}", out, out)
        weights, below = self._at.weights(layer, rows), self._at.below(layer, step)
        multiplied = product(weights.T, below, z, self.models, shape.arithmetic)
        return [multiplied, self._activate(layer, step)] if layer < shape.layout.n_layers else [multiplied]

    def _activate(self, layer: int, step: int) -> Kernel:
        """a = f(z), after z + b where the product left the biases out."""
        shape, layout, z, a = self.shape, self.shape.layout, f"z{layer}", f"a{layer}"
        size = layout.widths[layer] * shape.batch
        stride = size + int(layout.bias) * shape.batch
        group = group_size(shape.dtype.itemsize, size, stride)
        biased = layer == 1 and shape.bias_apart
        operation, numbers = shape.activations[layer - 1]
        source = layer_source.activate_source(operation, numbers, self._elementwise(group), biased=biased)
        sizes = (np.int32(one) for one in (self.models, size, stride, shape.batch, layout.count))
        biases = self._at.biases("parameters", layer) if biased else self._at.whole(z)
        places = (biases, self._at.whole(z), self._at.mask(layer, step), self._at.whole(a))
        threads, writes = self.models * stride // group, [a, z] if biased else [a]
        return self._kernel(source, layer_source.ACTIVATE_SYMBOL, threads, *sizes, *places, writes=writes)

    def _elementwise(self, group: int) -> layer_source.Elementwise:
        return layer_source.Elementwise(self.shape.real, self.shape.arithmetic, self.shape.dropout, group)

    def _loss(self, step: int) -> Kernel:
        shape, samples, count = self.shape, self.models * self.shape.batch, self.shape.layout.widths[-1]
        scores = f"z{shape.layout.n_layers}"
        sizes = (np.int32(self.models), np.int32(count), np.int32(shape.batch))
        arrays = [self._at.whole(name) for name in (scores, turn("targets", step), turn("now", step))]
        records = self._at.records(step)
        arguments: tuple[Place | np.generic, ...] = (*sizes, *arrays, np.int32(shape.width), records)
        writes = frozenset({scores, "records"})
        if count < wide_loss.MIN_COUNT:
            source = loss_source(shape.loss, shape.real)
            return self._kernel(source, LOSS_SYMBOL, samples, *arguments, writes=tuple(writes))
        return Kernel(
            wide_loss.wide_loss_source(shape.loss, shape.real),
            wide_loss.WIDE_LOSS_SYMBOL,
            wide_loss.wide_loss_blocks(self.models, shape.batch),
            wide_loss.THREADS,
            arguments,
            wide_loss.wide_loss_bytes(shape.dtype.itemsize),
            writes,
        )

    @property
    def _thin_numbers(self) -> tail_source.Numbers:
        return tail_source.Numbers(self.shape.layout.widths[-1], self.shape.real, self.shape.arithmetic)

    def _thin_scores(self, step: int) -> Kernel:
        """The last layer's scores, their loss, and its gradient."""
        shape, layout, numbers = self.shape, self.shape.layout, self._thin_numbers
        last = layout.n_layers
        below, rows = layout.widths[-2], layout.rows[-1]
        sizes = (self.models, below, rows * shape.batch, shape.batch, layout.count, int(layout.bias))
        kept = self._at.whole("narrow_scores" if self._at.narrow else f"z{last}")
        records = self._at.records(step)
        batch = (self._at.whole(turn("targets", step)), self._at.whole(turn("now", step)))
        places = (self._at.whole(f"a{last - 1}"), self._weights_from(last), *batch)
        return Kernel(
            tail_source.scores_source(shape.loss, numbers),
            tail_source.SCORES_SYMBOL,
            self.models * -(-shape.batch // numbers.samples),
            tail_source.THREADS,
            (
                *(np.int32(size) for size in sizes),
                *places,
                np.int32(shape.width),
                self._at.whole(f"z{last}"),
                kept,
                records,
            ),
            numbers.scores_bytes,
            frozenset({f"z{last}", kept.buffer, "records"}),
        )

    def _weights_from(self, layer: int) -> Place:
        return self._at.rest("narrowed" if self._at.narrow else "parameters", self.shape.layout.offsets[layer - 1])

    def _thin_tail(self, step: int) -> Kernel:
        """The last layer's gradient, and dL/dz of the layer below."""
        shape, layout, numbers = self.shape, self.shape.layout, self._thin_numbers
        last, rows = layout.n_layers, layout.rows[-1]
        operation, own = shape.activations[last - 2]
        sizes = (layout.widths[-2], rows, shape.batch, layout.count)
        out = self._delta(last - 1)
        places = (
            self._at.whole(f"a{last - 1}"),
            self._weights_from(last),
            self._at.whole("narrow_scores" if self._at.narrow else f"z{last}"),
            self._at.whole(f"z{last - 1}"),
            self._at.mask(last - 1, step),
            self._at.rest("gradient", layout.offsets[last - 1]),
            out,
        )
        return Kernel(
            tail_source.tail_source(operation, own, numbers, masked=shape.dropout),
            tail_source.TAIL_SYMBOL,
            self.models * -(-rows // tail_source.UNITS),
            tail_source.THREADS,
            (*(np.int32(size) for size in sizes), *places),
            numbers.tail_bytes,
            frozenset({"gradient", out.buffer}),
        )

    def _narrow(self, name: str, to: str) -> list[Node]:
        size = self._at.buffers[name].size
        source = step_source.narrow_source(self.shape.arithmetic)
        places = (self._at.whole(name), self._at.whole(to))
        return [self._kernel(source, step_source.NARROW_SYMBOL, size, np.int64(size), *places, writes=[to])]

    def _backward(self, layer: int, step: int) -> list[Node]:
        """d[W; b] = a δᵀ, and below a hidden layer δ = f'(z) · W δ."""
        shape, rows = self.shape, self.shape.product_rows(layer)
        delta, gradient = self._at.delta(layer), self._at.block("gradient", layer, rows)
        branch = GRADIENTS if layer > 1 else CHAIN  # nothing is left to run beside the first layer's
        below = self._at.below(layer, step)
        nodes: list[Node] = [product(below, delta.T, gradient, self.models, shape.arithmetic, branch)]
        if layer > 1:
            width = shape.layout.widths[layer - 1]
            upstream = self._at.features(f"upstream{layer - 1}", width, width)
            nodes.append(product(self._at.weights(layer, width), delta, upstream, self.models, shape.arithmetic))
            nodes.append(self._backpropagate(layer - 1, step))
        return nodes

    def _backpropagate(self, layer: int, step: int) -> Kernel:
        shape, size = self.shape, self._at.buffers[f"z{layer}"].size
        operation, numbers = shape.activations[layer - 1]
        group = group_size(shape.dtype.itemsize)
        source = layer_source.backpropagate_source(operation, numbers, self._elementwise(group))
        out = self._delta(layer)
        arguments = (
            np.int64(size),
            self._at.whole(f"z{layer}"),
            self._at.mask(layer, step),
            self._at.whole(f"upstream{layer}"),
            out,
        )
        threads, symbol = -(-size // group), layer_source.BACKPROPAGATE_SYMBOL
        return self._kernel(source, symbol, threads, *arguments, writes=[out.buffer])

    def _delta(self, layer: int) -> Place:
        """dL/dz of a hidden layer, as products read it."""
        return self._at.whole(f"delta{layer}" if self._at.narrow else f"upstream{layer}")

    def _bias(self) -> Kernel:
        """The gradient of the first layer's biases, which its product leaves out."""
        shape, units, threads = self.shape, self.shape.layout.widths[1], step_source.SUM_THREADS
        sizes = (np.int32(size) for size in (units, shape.batch, shape.layout.count))
        return Kernel(
            layer_source.bias_source(shape.real, shape.arithmetic),
            layer_source.BIAS_SYMBOL,
            self.models * units,
            threads,
            (*sizes, self._delta(1), self._at.biases("gradient", 1)),
            threads * shape.dtype.itemsize,
            frozenset({"gradient"}),
            GRADIENTS,
        )

    def _clip(self) -> list[Node]:
        real, blocks, count = self.shape.real, self._at.clip_blocks, self.shape.layout.count
        sizes = (np.int32(self.models), np.int32(blocks), np.int32(count))
        threads, grid = step_source.SUM_THREADS, self.models * blocks
        gradient, parts = self._at.whole("gradient"), self._at.whole("parts")
        measured = (*sizes, gradient, parts)
        shared = threads * self.shape.dtype.itemsize
        clipped = (*sizes, parts, self._at.whole("limits"), gradient)
        measure, clip = step_source.measure_source(real), step_source.clip_source(real)
        return [
            Kernel(measure, step_source.MEASURE_SYMBOL, grid, threads, measured, shared, frozenset({"parts"})),
            Kernel(clip, step_source.CLIP_SYMBOL, grid, threads, clipped, writes=frozenset({"gradient"})),
        ]

    def _update(self, step: int, span: Span, branch: int = CHAIN) -> Kernel:
        shape, rule, size = self.shape, self.shape.rule, span.stop - span.start
        sizes = (np.int64(size), np.int64(min(size, shape.layout.count)), np.int32(shape.decays))
        names = ["parameters", "gradient", "decay" if shape.decays else "gradient", *rule.slots]
        narrowed = ["narrowed"] if self._at.narrow else []
        arrays = [Place(name, span.start, size) for name in (*names, *narrowed)]
        columns: list[Place | np.generic] = []
        for k in range(len(rule.rates)):
            columns += [self._at.rest(turn("now", step), shape.batch + k), np.int32(shape.width)]
        for k in range(len(rule.hyper)):
            columns += [self._at.rest("hyper", k), np.int32(len(rule.hyper))]
        # every group begins where a group may: in each model, and in a part of the parameters
        group = group_size(shape.dtype.itemsize, span.start, *([shape.layout.count] if self.models > 1 else []))
        source = update_source(rule, shape.real, narrows=self._at.narrow, group=group)
        writes, threads = ["parameters", *rule.slots, *narrowed], -(-size // group)
        return self._kernel(source, UPDATE_SYMBOL, threads, *sizes, *arrays, *columns, writes=writes, branch=branch)

    def _closing(self, steps: int) -> list[Node]:
        """The losses of a recording, and the cursor moved behind it."""
        shape, threads = self.shape, step_source.SUM_THREADS
        sizes = (self.models, shape.batch, shape.width, shape.width - 1)
        places = (self._at.whole(name) for name in ("cursor", "records", "numbers", "losses"))
        tally = Kernel(
            step_source.tally_source(shape.loss, shape.real),
            step_source.TALLY_SYMBOL,
            steps * self.models,
            threads,
            (*(np.int32(size) for size in sizes), *places),
            threads * np.dtype(np.float64).itemsize,
            frozenset({"losses"}),
        )
        source, symbol, moved = step_source.ADVANCE_SOURCE, step_source.ADVANCE_SYMBOL, self._at.whole("cursor")
        return [tally, Kernel(source, symbol, 1, 1, (np.int32(steps), moved), writes=frozenset({"cursor"}))]
