"""A fully connected net on preallocated buffers: forward and backward as the lecture writes them.

Axis legend: M models, B samples of a batch, I in, O out. Activations are feature-major (M, H, B), so
that elementwise work and reductions over features run along contiguous memory. Where layers have biases
an activation buffer has one more row of ones: [W; b] is one block and the bias costs no call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kernels.backend import Backend
from kernels.operations import ACTIVATIONS, Operation
from nets.parameters import Layout
from nets.spec import ActivationSpec
from nets.tape import Array, Tape, call

Activation = tuple[Operation, Mapping[str, float]]


def activations_of(specs: Sequence[ActivationSpec]) -> list[Activation]:
    """Operations with their parameters, one for each hidden layer."""
    return [(ACTIVATIONS[one.name], {name: one.number(name) for name in one.options}) for one in specs]


class Network:
    """Buffers of M nets of one shape and the tapes over them.

    `inputs` (M, B, I) is filled by the caller (its last column is 1 where layers have biases); `forward`
    leaves `scores` (M, O, B); the caller turns them into dL/dscores; `backward` leaves `gradient` (M, P).
    """

    def __init__(
        self,
        backend: Backend,
        layout: Layout,
        activations: Sequence[Activation],
        batch: int,
        parameters: Array,
        gradient: Array | None = None,
    ) -> None:
        models, dtype = parameters.shape[0], parameters.dtype
        self._backend, self._activations = backend, list(activations)
        self._weights = layout.blocks(parameters)  # [(M, I+1, O)]
        self._widths = layout.widths
        self.inputs = backend.zeros((models, batch, layout.rows[0]), dtype)
        self.hidden = [self._buffer(models, width, batch, layout.bias, dtype) for width in layout.widths[1:-1]]
        self.before = [backend.zeros((models, width, batch), dtype) for width in layout.widths[1:-1]]
        self.scores = backend.zeros((models, layout.widths[-1], batch), dtype)
        self.forward: Tape = self._forward()
        self.backward: Tape = [] if gradient is None else self._backward(layout.blocks(gradient))

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
            call(tape, matmul, self._weights[layer].transpose(0, 2, 1), a, z)  # z = [W; b]ᵀ a  (M, O, B)
            a = self.hidden[layer]
            call(tape, activate, operation, z, numbers, a[:, :width])  # a = f(z)
        call(tape, matmul, self._weights[-1].transpose(0, 2, 1), a, self.scores)  # scores (M, C, B)
        return tape

    def _backward(self, gradients: Sequence[Array]) -> Tape:
        """From d = dL/dscores in `scores`: d[W; b] = a dᵀ, then d = f'(z) · W d for the layer below."""
        tape: Tape = []
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
                a = self.hidden[layer - 1][:, :width]
                call(tape, backpropagate, operation, z, a, upstream, numbers, upstream)
                d = upstream
        return tape
