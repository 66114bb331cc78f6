"""Weights in panels: how flat parameters are laid out for products, and back.

Axis legend: M models, P parameters, I in, O out, T columns of a panel. A layer's [W; b] (I+1, O) becomes (O/T, I+1, T),
the last panel filled up with zeros, which training leaves as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels.compiled.jit import exact
from kernels.compiled.tiles import copy_row, width_of
from kernels.compiled.vectors import VECTOR_BYTES

_LINE: Final = 64
"""Bytes of a cache line; every buffer begins at one."""
_BLOCK: Final = 16
"""Rows that are moved panel by panel: so many pages of memory are in use at a time."""


def panels_of(columns: int, width: int) -> int:
    """Panels of so many columns."""
    return -(-columns // width)


class Panels:
    """Where the weights of a net of these widths lie: layer k in panels from `places[k]` on, `steps[k]` apart."""

    def __init__(self, widths: Sequence[int], bias: bool, dtype: np.dtype[Any]) -> None:
        self.widths, self._dtype, self._width = tuple(widths), dtype, width_of(dtype)
        self._rows = [fan_in + int(bias) for fan_in in widths[:-1]]
        self.steps = [rows * self._width for rows in self._rows]
        sizes = [step * panels_of(out, self._width) for step, out in zip(self.steps, widths[1:], strict=True)]
        self.places = [0, *np.cumsum(sizes).tolist()]
        self._table = np.array([*zip(self._rows, widths[1:], self.places[:-1], strict=True)], np.int64)
        self.count = self.places[-1]
        """Numbers of all panels, zeros included."""

    def pack(self, rows: Sequence[NDArray[Any] | None] | NDArray[Any]) -> NDArray[Any]:
        """Flat parameters (M, P), None for zeros, as panels (M, count); every model begins at a cache line."""
        packed = self._rows_of_panels(len(rows))
        for row, flat in zip(packed, rows, strict=True):
            if flat is not None:
                _move(self._table, np.ascontiguousarray(flat, self._dtype), row, True)
        return packed

    def unpack(self, packed: Sequence[NDArray[Any]] | NDArray[Any]) -> NDArray[Any]:
        """Panels (M, count) as flat parameters (M, P)."""
        count = sum(rows * out for rows, out in zip(self._rows, self.widths[1:], strict=True))
        flat = np.empty((len(packed), count), self._dtype)
        for row, numbers in zip(packed, flat, strict=True):
            _move(self._table, numbers, row, False)
        return flat

    def copied(self, rows: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Panels (M, count) of several models, each where it lies, in one array."""
        copy = self._rows_of_panels(len(rows))
        for to, row in zip(copy, rows, strict=True):
            to[:] = row
        return copy

    def _rows_of_panels(self, models: int) -> NDArray[Any]:
        """Zeros (M, count) of which every row begins at a cache line."""
        per_line = _LINE // self._dtype.itemsize
        pitch = panels_of(self.count, per_line) * per_line
        return aligned(models * pitch, self._dtype).reshape(models, pitch)[:, : self.count]


@exact
def _move(layers: NDArray[np.int64], flat: NDArray[Any], packed: NDArray[Any], packs: bool) -> None:
    """One model's numbers into panels or out of them; layers hold (rows, columns, place of the first panel)."""
    width, at = 2 * VECTOR_BYTES // flat.itemsize, 0
    for k in range(layers.shape[0]):
        rows, columns, place = layers[k]
        for start in range(0, rows, _BLOCK):
            for first in range(0, columns, width):
                for i in range(start, min(start + _BLOCK, rows)):
                    here, there = at + i * columns + first, place + first * rows + i * width
                    if columns - first < width:
                        for j in range(columns - first):
                            if packs:
                                packed[there + j] = flat[here + j]
                            else:
                                flat[here + j] = packed[there + j]
                    elif packs:
                        copy_row(flat, here, packed, there)
                    else:
                        copy_row(packed, there, flat, here)
        at += rows * columns


def aligned(size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros (size,) that begin at a cache line."""
    raw = np.zeros(size * dtype.itemsize + _LINE, np.uint8)
    start = -raw.ctypes.data % _LINE
    return raw[start : start + size * dtype.itemsize].view(dtype)
