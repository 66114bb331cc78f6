"""Where every weight lies in the flat parameter buffer.

Axis legend: M models, P parameters of one model, I in, O out. Layer l owns W (I, O) row-major followed by
b (O): together one contiguous (I+1, O) block, so that a column of ones in the input folds the bias into
the product and its gradient into the product's. With batch normalisation a hidden layer's γ, β, running mean and
running variance follow, (O) each; the running ones have no gradient, so that no optimizer moves them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.random import Stream, normal
from nets.initializers import INITIALIZERS
from nets.options import Value
from nets.tape import Array

RUNNING = ("running_mean", "running_var")


@dataclass(frozen=True, eq=False)
class Norm:
    """Views (M, O, 1) of what batch normalisation keeps of one hidden layer."""

    gamma: Array
    beta: Array
    mean: Array
    variance: Array


@dataclass(frozen=True)
class Layout:
    """Widths from inputs to outputs, e.g. (64, 128, 10); whether layers have biases, and hidden ones a norm."""

    widths: tuple[int, ...]
    bias: bool = True
    batch_norm: bool = False

    @cached_property
    def n_layers(self) -> int:
        """Layers with weights: hidden layers + 1."""
        return len(self.widths) - 1

    @cached_property
    def rows(self) -> tuple[int, ...]:
        """Rows of every layer's block: its inputs, and one more for the bias."""
        return tuple(width + int(self.bias) for width in self.widths[:-1])

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Start of every layer's block, and the end of the last one: P."""
        extra = [4 * int(self.batch_norm)] * (self.n_layers - 1) + [0]
        sizes = [(rows + more) * out for rows, more, out in zip(self.rows, extra, self.widths[1:], strict=True)]
        return tuple(accumulate(sizes, initial=0))

    @property
    def count(self) -> int:
        """P, the numbers of one model: its parameters, and running figures."""
        return self.offsets[-1]

    @property
    def trained(self) -> int:
        """Parameters that training moves: all but running figures."""
        return self.count - 2 * int(self.batch_norm) * sum(self.widths[1:-1])

    def blocks(self, flat: Array) -> list[Array]:
        """Views (M, I+1, O) of every layer's weights and biases in flat (M, P)."""
        models = flat.shape[0]
        return [
            flat[:, start : start + rows * out].reshape(models, rows, out)
            for start, rows, out in zip(self.offsets, self.rows, self.widths[1:], strict=False)
        ]

    def norms(self, flat: Array) -> list[Norm]:
        """Views of every hidden layer's normalisation in flat (M, P); none without it."""
        found = []
        for start, rows, out in zip(self.offsets, self.rows, self.widths[1:-1], strict=False):
            if self.batch_norm:
                first = start + rows * out
                found.append(Norm(*(flat[:, first + k * out : first + (k + 1) * out, None] for k in range(4))))
        return found

    def layers(self, flat: Array) -> list[dict[str, Array]]:
        """Of every layer the views W (M, I, O), b (M, O) and, normalised, gamma, beta, ... (M, O) in flat (M, P)."""
        found = []
        norms = self.norms(flat)
        for index, block in enumerate(self.blocks(flat), start=1):
            fan_in = self.widths[index - 1]
            layer = {f"W{index}": block[:, :fan_in]}
            if self.bias:
                layer[f"b{index}"] = block[:, fan_in]
            if index <= len(norms):
                norm = norms[index - 1]
                views = zip(("gamma", "beta", *RUNNING), (norm.gamma, norm.beta, norm.mean, norm.variance), strict=True)
                layer |= {f"{name}{index}": view[..., 0] for name, view in views}
            found.append(layer)
        return found

    def named(self, flat: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Views of one model's flat (P,): W1 (I, O), b1 (O,), W2, ..., in the buffer's order."""
        return {name: view[0] for layer in self.layers(flat[None]) for name, view in layer.items()}

    def flat(self, named: Mapping[str, NDArray[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
        """One model's flat (P,) from W1, b1, ...; the inverse of `named`."""
        flat = np.zeros(self.count, dtype)
        for name, view in self.named(flat).items():
            view[...] = named[name]
        return flat

    def is_weight(self) -> NDArray[np.bool_]:
        """(P,) True where the l2 penalty applies: at weights, not at biases."""
        flat = np.zeros(self.count, bool)
        for name, view in self.named(flat).items():
            view[...] = name.startswith("W")
        return flat


def initial(layout: Layout, init: str, options: Mapping[str, Value], seed: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """One model's initial flat (P,): weights by the initialiser, biases 0, layer l keyed (seed, lane l).

    A normalised layer begins with γ = 1 and a running variance of 1.
    """
    flat = np.zeros(layout.count, dtype)
    for name, view in layout.named(flat).items():
        if name.startswith("W"):
            lane = int(name[1:])
            deviation = INITIALIZERS[init].deviation(view.shape[0], view.shape[1], options)
            view[...] = normal(seed, Stream.INITIAL, view.shape, lane=lane) * deviation
        elif name.startswith(("gamma", "running_var")):
            view[...] = 1
    flat += 0.0  # no -0.0: a parameter then never becomes one, whatever passes an update leaves out
    return flat
