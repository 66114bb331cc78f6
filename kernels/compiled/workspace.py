"""What one thread needs to compute nets of one shape: programs, registers, and one flat array of all buffers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels.compiled import steps
from kernels.compiled.blas import ADDRESSES
from kernels.compiled.programs import Program, program
from kernels.operations import Operation

_LINE: Final = 64
"""Bytes of a cache line; every buffer begins at one."""


class Workspace:
    """Buffers of one thread for batches of up to `batch` samples. `head` are the first arguments of `steps`."""

    def __init__(
        self,
        widths: Sequence[int],
        bias: bool,
        activations: Sequence[tuple[Operation, Mapping[str, float]]],
        batch: int,
        dtype: np.dtype[Any],
    ) -> None:
        self._dtype, self._batch, self._bias = dtype, batch, int(bias)
        self.layers = np.zeros((len(widths) - 1, steps.COLUMNS), np.int64)
        self._size = 0
        inputs = self._take(widths[0] + self._bias)
        offset = 0
        for k, (fan_in, fan_out) in enumerate(pairwise(widths)):
            row = self.layers[k]
            row[steps.FAN_IN], row[steps.FAN_OUT], row[steps.WEIGHTS] = fan_in, fan_out, offset
            row[steps.INPUT] = self._take(fan_in + self._bias) if k else inputs
            row[steps.Z] = self._take(fan_out)
            if k:
                row[steps.UPSTREAM], row[steps.DELTA] = self._take(fan_in), self._take(fan_in)
            offset += (fan_in + self._bias) * fan_out
        self.scratch = self._take(5)
        instructions, registers = self._programs(activations)
        work = _aligned(self._size, dtype)
        labels = np.zeros(batch, np.int32)
        self.head = (ADDRESSES[dtype], self.layers, instructions, registers, work, labels, self._bias, self.scratch)

    def _take(self, rows: int) -> int:
        """Where a buffer of rows · batch numbers begins."""
        start, line = self._size, _LINE // self._dtype.itemsize
        self._size += -(-rows * self._batch // line) * line
        return start

    def _programs(
        self, activations: Sequence[tuple[Operation, Mapping[str, float]]]
    ) -> tuple[NDArray[np.int64], NDArray[Any]]:
        programs: list[Program] = []
        row = register = 0
        columns = (
            (steps.VALUE, steps.VALUE_END, steps.VALUE_REGISTERS),
            (steps.SLOPE, steps.SLOPE_END, steps.SLOPE_REGISTERS),
        )
        for k, (operation, parameters) in enumerate(activations):
            expressions = (operation.value_expression, operation.pullback_expression)
            for expression, (first, last, registers) in zip(expressions, columns, strict=True):
                one = program(expression, parameters, self._dtype)
                programs.append(one)
                self.layers[k, [first, last, registers]] = row, row + len(one.instructions), register
                row, register = row + len(one.instructions), register + len(one.registers)
        if not programs:
            return np.zeros((0, 5), np.int64), np.zeros(0, self._dtype)
        return np.concatenate([p.instructions for p in programs]), np.concatenate([p.registers for p in programs])


def _aligned(size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros (size,) that begin at a cache line."""
    raw = np.zeros(size * dtype.itemsize + _LINE, np.uint8)
    start = -raw.ctypes.data % _LINE
    return raw[start : start + size * dtype.itemsize].view(dtype)
