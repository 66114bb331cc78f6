"""A fully connected net on preallocated buffers: forward and backward as the lecture writes them.

Axis legend: M models, B samples of a batch, I in, O out. Activations are feature-major (M, H, B), so
that elementwise work and reductions over features run along contiguous memory. Where layers have biases
an activation buffer has one more row of ones: [W; b] is one block and the bias costs no call.

Between product and activation a layer may be normalised (`batch_norm.py`), behind it units may be left out
(`dropout.py`); both are asked for, and neither costs anything where it is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernels.backend import Backend
from kernels.operations import ACTIVATIONS, Operation
from nets.batch_norm import BatchNorm
from nets.choices import ActivationSpec
from nets.options import CUSTOM
from nets.parameters import Layout
from nets.tape import Array, Tape, call

Activation = tuple[Operation, Mapping[str, float]]


def activations_of(specs: Sequence[ActivationSpec]) -> list[Activation]:
    """Operations with their parameters, one for each hidden layer."""
    operations = [one.operation if one.name == CUSTOM.name else ACTIVATIONS[one.name] for one in specs]
    return [
        (operation, {name: one.number(name) for name in operation.parameter_names})
        for operation, one in zip(operations, specs, strict=True)
    ]


class Network:
    """Buffers of M nets of one shape and the tapes over them.

    `inputs` (M, B, I) is filled by the caller (its last column is 1 where layers have biases); `forward`
    leaves `scores` (M, O, B); the caller turns them into dL/dscores; `backward` leaves `gradient` (M, P).
    Without a gradient the net predicts: running figures normalise, and no unit is left out. With one, a caller
    that asks for `dropout` fills `masks` [(M, H, B)] before every step, and one whose layout has batch
    normalisation gives `shares` (M, B), 1/rows of the batch for its rows and 0 for padding.
    """

    def __init__(
        self,
        backend: Backend,
        layout: Layout,
        activations: Sequence[Activation],
        batch: int,
        parameters: Array,
        gradient: Array | None = None,
        *,
        dropout: bool = False,
        shares: Array | None = None,
    ) -> None:
        models, dtype = parameters.shape[0], parameters.dtype
        self._backend, self._activations = backend, list(activations)
        self._weights = layout.blocks(parameters)  # [(M, I+1, O)]
        self._widths = layout.widths
        self.inputs = backend.zeros((models, batch, layout.rows[0]), dtype)
        self.hidden = [self._buffer(models, width, batch, layout.bias, dtype) for width in layout.widths[1:-1]]
        self.before = [backend.zeros((models, width, batch), dtype) for width in layout.widths[1:-1]]
        self.scores = backend.zeros((models, layout.widths[-1], batch), dtype)
        shapes = [z.shape for z in self.before]
        self.masks = [backend.zeros(shape, dtype) for shape in shapes] if dropout else []
        raw = [backend.zeros(shape, dtype) for shape in shapes] if dropout else None
        self._values = raw or [a[:, :width] for a, width in zip(self.hidden, self._widths[1:], strict=False)]
        self._shares = shares if gradient is not None else None
        self._products = [backend.zeros(shape, dtype) for shape in shapes] if layout.batch_norm else self.before
        self._norms = [
            BatchNorm(backend, norm, z, out)
            for norm, z, out in zip(layout.norms(parameters), self._products, self.before, strict=False)
        ]
        self.forward: Tape = self._forward()
        self.backward: Tape = [] if gradient is None else self._backward(layout, gradient)

    def _buffer(self, models: int, width: int, batch: int, bias: bool, dtype: np.dtype[Any]) -> Array:
        rows = self._backend.zeros((models, width + int(bias), batch), dtype)
        rows[:, width:] = 1
        return rows

    def _forward(self) -> Tape:
        tape: Tape = []
        matmul, activate = self._backend.matmul, self._backend.activate
        a = self.inputs.transpose(0, 2, 1)  # (M, I+1, B)
        for layer, (operation, numbers) in enumerate(self._activations):
            z, width = self.before[layer], self._widths[layer + 1]
            call(
                tape, matmul, self._weights[layer].transpose(0, 2, 1), a, self._products[layer]
            )  # [W; b]ᵀ a  (M, O, B)
            if self._norms:
                norm = self._norms[layer]
                tape += norm.predict() if self._shares is None else norm.forward(self._shares)  # z = γ ẑ + β
            a = self.hidden[layer]
            call(tape, activate, operation, z, numbers, self._values[layer])  # a = f(z)
            if self.masks:
                call(tape, self._backend.xp.multiply, self._values[layer], self.masks[layer], out=a[:, :width])
        call(tape, matmul, self._weights[-1].transpose(0, 2, 1), a, self.scores)  # scores (M, C, B)
        return tape

    def _backward(self, layout: Layout, gradient: Array) -> Tape:
        """From d = dL/dscores in `scores`: d[W; b] = a dᵀ, then d = f'(z) · W d for the layer below."""
        tape: Tape = []
        gradients, norms = layout.blocks(gradient), layout.norms(gradient)
        matmul, backpropagate = self._backend.matmul, self._backend.backpropagate
        d = self.scores  # (M, O, B)
        for layer in range(len(gradients) - 1, -1, -1):
            below = self.hidden[layer - 1] if layer else self.inputs.transpose(0, 2, 1)  # (M, I+1, B)
            call(tape, matmul, below, d.transpose(0, 2, 1), gradients[layer])  # (M, I+1, O)
            if layer:
                operation, numbers = self._activations[layer - 1]
                width, z = self._widths[layer], self.before[layer - 1]
                upstream = self._backend.zeros(z.shape, z.dtype)
                call(tape, matmul, self._weights[layer][:, :width], d, upstream)  # W d  (M, I, B)
                if self.masks:
                    call(tape, self._backend.xp.multiply, upstream, self.masks[layer - 1], out=upstream)
                call(tape, backpropagate, operation, z, self._values[layer - 1], upstream, numbers, upstream)
                d = upstream
                if self._shares is not None:
                    tape += self._norms[layer - 1].backward(d, self._shares, norms[layer - 1])  # through γ ẑ + β
        return tape
