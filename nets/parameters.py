"""Where every weight lies in the flat parameter buffer.

Axis legend: M models, P parameters of one model, I in, O out. Layer l owns W (I, O) row-major followed by
b (O): together one contiguous (I+1, O) block, so that a column of ones in the input folds the bias into
the product and its gradient into the product's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.random import Stream, normal
from nets.initializers import INITIALIZERS
from nets.options import Value
from nets.tape import Array


@dataclass(frozen=True)
class Layout:
    """Widths from inputs to outputs, e.g. (64, 128, 10), and whether layers have biases."""

    widths: tuple[int, ...]
    bias: bool = True

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
        sizes = [rows * out for rows, out in zip(self.rows, self.widths[1:], strict=True)]
        return tuple(int(x) for x in np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]))

    @property
    def count(self) -> int:
        """P, the number of parameters of one model."""
        return self.offsets[-1]

    def blocks(self, flat: Array) -> list[Array]:
        """Views (M, I+1, O) of every layer's weights and biases in flat (M, P)."""
        models = flat.shape[0]
        return [
            flat[:, start:stop].reshape(models, rows, out)
            for start, stop, rows, out in zip(self.offsets, self.offsets[1:], self.rows, self.widths[1:], strict=False)
        ]

    def named(self, flat: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Views of one model's flat (P,): W1 (I, O), b1 (O,), W2, ..., in the buffer's order."""
        found: dict[str, NDArray[Any]] = {}
        for index, block in enumerate(self.blocks(flat[None]), start=1):
            fan_in = self.widths[index - 1]
            found[f"W{index}"] = block[0, :fan_in]
            if self.bias:
                found[f"b{index}"] = block[0, fan_in]
        return found

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
    """One model's initial flat (P,): weights by the initialiser, biases 0, layer l keyed (seed, lane l)."""
    flat = np.zeros(layout.count, dtype)
    for name, view in layout.named(flat).items():
        if name.startswith("W"):
            lane = int(name[1:])
            deviation = INITIALIZERS[init].deviation(view.shape[0], view.shape[1], options)
            view[...] = normal(seed, Stream.INITIAL, view.shape, lane=lane) * deviation
    flat += 0.0  # no -0.0: a parameter then never becomes one, whatever passes an update leaves out
    return flat
