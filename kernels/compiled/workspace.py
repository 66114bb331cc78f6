"""What a team of threads needs to compute nets of one shape: programs, buffers, and who may do what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels.compiled import layers as columns
from kernels.compiled import products
from kernels.compiled.products import PANEL_BYTES
from kernels.compiled.programs import Program, address_of, program
from kernels.compiled.team import COUNTERS
from kernels.compiled.tiles import ROWS, width_of
from kernels.operations import Operation

_LINE: Final = 64
"""Bytes of a cache line; every buffer begins at one."""
_FEW_LINES: Final = 4
"""Lines of a row from which on their number is made odd: rows then do not displace each other in the caches."""
_MANY_LINES: Final = 48
"""Lines of a row from which on the rows of a tile are kept apart in the first-level cache."""
LEAST_ROWS: Final = 8 * ROWS[0]
"""Rows of a part at least: so many tiles read the panel of slopes that one has brought into the first-level cache."""
PART: Final = 6_144
"""Numbers of a part of the weights: with gradient and optimizer state it fits the second-level cache."""


class Workspace:
    """Buffers for batches of up to `batch` samples, and for `block` samples that each thread measures."""

    def __init__(
        self,
        widths: Sequence[int],
        bias: bool,
        activations: Sequence[tuple[Operation, Mapping[str, float]]],
        batch: int,
        dtype: np.dtype[Any],
        threads: int = 1,
        block: int = 1,
    ) -> None:
        self._dtype, self._batch, self._bias = dtype, max(batch, threads * block), int(bias)
        self.layers = np.zeros((len(widths) - 1, columns.COLUMNS), np.int64)
        self._size = 0
        self._take(width_of(dtype))  # zeros that products begin with
        self._place_layers(widths)
        losses = self._take(self._batch)
        instructions, registers = self._programs(activations)
        work = _aligned(self._size, dtype)
        labels = np.zeros(self._batch, np.int32)
        functions, panel = (products.address_of(dtype), address_of(dtype)), PANEL_BYTES // dtype.itemsize
        spares = [_aligned(panel + (widths[-1] + 5) * max(batch, block), dtype) for _ in range(threads)]
        self.heads = [
            (*functions, self.layers, instructions, registers.copy(), work, labels, spare, panel, losses, self._bias)
            for spare in spares
        ]
        """The first arguments of `steps.advance` and `measures.evaluate`, for each thread."""
        self.counters = np.zeros(COUNTERS, np.int64)
        self.plan = (*self._parts(), self.counters)
        """Parts of the weights, tasks, counters of the team: the next arguments of `steps.advance`."""

    def _pitch(self, width: int) -> int:
        """Numbers from one row to the next."""
        per_line = _LINE // self._dtype.itemsize
        lines = -(-width // per_line)
        if lines > _FEW_LINES:
            lines += lines % 2 == 0
        while lines > _MANY_LINES and not _rows_keep_apart(lines):
            lines += 2
        return lines * per_line

    def _take(self, count: int) -> int:
        """Where a buffer of so many numbers begins."""
        start, per_line = self._size, _LINE // self._dtype.itemsize
        self._size += -(-count // per_line) * per_line
        return start

    def _place_layers(self, widths: Sequence[int]) -> None:
        offset, inputs = 0, self._take(self._pitch(widths[0]) * self._batch)
        for k, (fan_in, fan_out) in enumerate(pairwise(widths)):
            row, below, above = self.layers[k], self._pitch(fan_in), self._pitch(fan_out)
            row[columns.FAN_IN], row[columns.FAN_OUT], row[columns.WEIGHTS] = fan_in, fan_out, offset
            row[columns.INPUT], row[columns.INPUT_PITCH], row[columns.PITCH] = inputs, below, above
            row[columns.Z] = row[columns.DELTA] = self._take(above * self._batch)  # slopes replace the scores
            if k:
                row[columns.UPSTREAM] = self._take(below * self._batch)
                row[columns.TRANSPOSED] = self._take(below * fan_out)
            if k < len(widths) - 2:
                row[columns.DELTA] = self._take(above * self._batch)
                inputs = self._take(above * self._batch)
            offset += (fan_in + self._bias) * fan_out

    def _parts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Parts (layer, first row, last row) of all [W; b]; tasks as ranges of parts, about PART numbers each."""
        parts: list[tuple[int, int, int]] = []
        tasks, filled = [0], 0
        for k, row in enumerate(self.layers):
            rows, width = int(row[columns.FAN_IN]) + self._bias, int(row[columns.FAN_OUT])
            height = max(LEAST_ROWS, PART // width // ROWS[0] * ROWS[0])
            for start in range(0, rows, height):
                stop = min(start + height, rows)
                if filled and filled + (stop - start) * width > PART:
                    tasks.append(len(parts))
                    filled = 0
                parts.append((k, start, stop))
                filled += (stop - start) * width
        return np.array(parts, np.int64), np.array([*tasks, len(parts)], np.int64)

    def _programs(
        self, activations: Sequence[tuple[Operation, Mapping[str, float]]]
    ) -> tuple[NDArray[np.int64], NDArray[Any]]:
        programs: list[Program] = []
        row = register = 0
        places = (
            (columns.VALUE, columns.VALUE_END, columns.VALUE_REGISTERS),
            (columns.SLOPE, columns.SLOPE_END, columns.SLOPE_REGISTERS),
        )
        for k, (operation, parameters) in enumerate(activations):
            expressions = (operation.value_expression, operation.pullback_expression)
            for expression, (first, last, registers) in zip(expressions, places, strict=True):
                one = program(expression, parameters, self._dtype)
                programs.append(one)
                self.layers[k, [first, last, registers]] = row, row + len(one.instructions), register
                row, register = row + len(one.instructions), register + len(one.registers)
        if not programs:
            return np.zeros((0, 5), np.int64), np.zeros(0, self._dtype)
        return np.concatenate([p.instructions for p in programs]), np.concatenate([p.registers for p in programs])


def aligned_rows(rows: Sequence[NDArray[Any]] | NDArray[Any]) -> NDArray[Any]:
    """A copy (M, P) of rows of P numbers, each of which begins at a cache line."""
    dtype, width = rows[0].dtype, len(rows[0])
    per_line = _LINE // dtype.itemsize
    pitch = -(-width // per_line) * per_line
    copy = _aligned(len(rows) * pitch, dtype).reshape(len(rows), pitch)[:, :width]
    for row, given in zip(copy, rows, strict=True):
        row[:] = given
    return copy


def _rows_keep_apart(lines: int) -> bool:
    """True if the rows of a tile, so many lines apart, begin well spread over a first-level cache's 64 sets."""
    places = sorted(row * lines % 64 for row in range(ROWS[0]))
    return min(b - a for a, b in pairwise([*places, places[0] + 64])) >= 7


def samples_per_task(batch: int, threads: int) -> int:
    """Samples of one task of a pass: a share for each thread, in whole tiles."""
    return batch if threads == 1 else -(-batch // (threads * ROWS[0])) * ROWS[0]


def _aligned(size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros (size,) that begin at a cache line."""
    raw = np.zeros(size * dtype.itemsize + _LINE, np.uint8)
    start = -raw.ctypes.data % _LINE
    return raw[start : start + size * dtype.itemsize].view(dtype)
