"""Weights in panels: how flat parameters are laid out for products, and back.

Axis legend: M models, P parameters, I in, O out, T columns of a panel. A layer's [W; b] (I+1, O) becomes (O/T, I+1, T),
the last panel filled up with zeros, which training leaves as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels.compiled.tiles import width_of

_LINE: Final = 64
"""Bytes of a cache line; every buffer begins at one."""


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
        self.count = self.places[-1]
        """Numbers of all panels, zeros included."""

    def pack(self, rows: Sequence[NDArray[Any]] | NDArray[Any]) -> NDArray[Any]:
        """Flat parameters (M, P) as panels (M, count); every model begins at a cache line."""
        packed = self._rows_of_panels(len(rows))
        for row, flat in zip(packed, rows, strict=True):
            for panels, matrix in self._layers(row, flat):
                whole = matrix.shape[1] // self._width
                panels[:whole] = (
                    matrix[:, : whole * self._width].reshape(len(matrix), whole, self._width).swapaxes(0, 1)
                )
                rest = matrix[:, whole * self._width :]
                panels[whole:, :, : rest.shape[1]] = rest
        return packed

    def unpack(self, packed: NDArray[Any]) -> NDArray[Any]:
        """Panels (M, count) as flat parameters (M, P)."""
        count = sum(rows * out for rows, out in zip(self._rows, self.widths[1:], strict=True))
        flat = np.empty((len(packed), count), self._dtype)
        for row, numbers in zip(packed, flat, strict=True):
            for panels, matrix in self._layers(row, numbers):
                whole = matrix.shape[1] // self._width
                matrix[:, : whole * self._width].reshape(len(matrix), whole, self._width)[:] = panels[:whole].swapaxes(
                    0, 1
                )
                rest = matrix[:, whole * self._width :]
                rest[:] = panels[-1, :, : rest.shape[1]]
        return flat

    def chosen(self, packed: NDArray[Any], positions: Sequence[int]) -> NDArray[Any]:
        """A copy of some models' panels."""
        copy = self._rows_of_panels(len(positions))
        np.take(packed, positions, axis=0, out=copy)
        return copy

    def _rows_of_panels(self, models: int) -> NDArray[Any]:
        """Zeros (M, count) of which every row begins at a cache line."""
        per_line = _LINE // self._dtype.itemsize
        pitch = panels_of(self.count, per_line) * per_line
        return aligned(models * pitch, self._dtype).reshape(models, pitch)[:, : self.count]

    def _layers(self, packed: NDArray[Any], flat: NDArray[Any]) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """One model's layers, as views: panels (O/T, I+1, T) and matrix (I+1, O)."""
        views, at = [], 0
        for k, (_, out) in enumerate(pairwise(self.widths)):
            rows = self._rows[k]
            panels = packed[self.places[k] : self.places[k + 1]].reshape(-1, rows, self._width)
            views.append((panels, flat[at : at + rows * out].reshape(rows, out)))
            at += rows * out
        return views


def aligned(size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros (size,) that begin at a cache line."""
    raw = np.zeros(size * dtype.itemsize + _LINE, np.uint8)
    start = -raw.ctypes.data % _LINE
    return raw[start : start + size * dtype.itemsize].view(dtype)
