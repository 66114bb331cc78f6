"""What a team of threads needs to compute nets of one shape: programs, buffers, and who may do what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from kernels.compiled import layers as columns
from kernels.compiled import products
from kernels.compiled.panels import Panels, aligned, panels_of
from kernels.compiled.programs import program
from kernels.compiled.team import COUNTERS
from kernels.compiled.tiles import ROWS, TALL, width_of
from kernels.tape import Expression

_LINE: Final = 64
"""Bytes of a cache line; every buffer begins at one."""
_FEW_LINES: Final = 4
"""Lines of a row from which on their number is made odd: rows then do not displace each other in the caches."""
_MANY_LINES: Final = 48
"""Lines of a row from which on the rows of a tile are kept apart in the first-level cache."""
_HEIGHT: Final = np.array([0, -1, 1])
"""A part's rows: its last less its first."""
PART_ROWS: Final = 4 * TALL
"""Rows of a part are a multiple of this: of every tile's rows, and of a vector's numbers."""
LEAST_ROWS: Final = 2 * PART_ROWS
"""Rows of a part at least: so many tiles read the panel of slopes that one has brought into the first-level cache."""
TURNED_PANELS: Final = 32
"""Panels of a layer's gradient from which on a part's inputs are turned for them."""
PART: Final = 6_144
"""Numbers of a part of the weights where that is more rows; enough parts for every thread of a team."""


class Programmed(Protocol):
    """An activation, or as the last one a loss over values: its value, and its slope times what comes from above."""

    @property
    def value_expression(self) -> Expression: ...  # noqa: D102

    @property
    def pullback_expression(self) -> Expression: ...  # noqa: D102


class Workspace:
    """Buffers for batches of up to `batch` samples, and beside them for `block` samples that each thread measures.

    With `dropout` there are masks too.
    """

    def __init__(
        self,
        widths: Sequence[int],
        bias: bool,
        activations: Sequence[tuple[Programmed, Mapping[str, float]]],
        batch: int,
        dtype: np.dtype[Any],
        threads: int = 1,
        block: int = 0,
        dropout: bool = False,
    ) -> None:
        self._dtype, self._bias, self._width, self._dropout = dtype, int(bias), width_of(dtype), dropout
        self._batch, self._samples = batch, batch + threads * block
        self.layers = np.zeros((len(widths) - 1, columns.COLUMNS), np.int64)
        self._size = 0
        self._take(self._width)  # zeros that products begin with
        self._place_layers(Panels(widths, bias, dtype))
        losses = self._take(self._samples)
        constants = self._programs(activations)
        work = aligned(self._size, dtype)
        labels = np.zeros(self._samples, np.int32)
        parts, tasks = self._parts()
        product, gradient = products.address_of(dtype), self._width * int((parts @ _HEIGHT).max())
        before_loss = gradient + self._turn(gradient, parts)
        spares = [aligned(before_loss + (widths[-1] + 5) * max(batch, block), dtype) for _ in range(threads)]
        self.heads = [
            (product, self.layers, constants, work, labels, spare, before_loss, losses, self._bias) for spare in spares
        ]
        """The first arguments of `steps.advance` and `measures.evaluate`, for each thread."""
        self.counters = np.zeros(COUNTERS, np.int64)
        self.plan = (parts, tasks, self.counters)
        """Parts of the weights, tasks, counters of the team: the next arguments of `steps.advance`."""
        self.measured_at = [batch + thread * block for thread in range(threads)]
        """In the place of which sample each thread measures its block."""

    def _pitch(self, width: int) -> int:
        """Numbers from one row to the next: whole panels."""
        per_line = _LINE // self._dtype.itemsize
        lines = panels_of(width, self._width) * self._width // per_line
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

    def _place_layers(self, panels: Panels) -> None:
        samples, width = self._samples, self._width
        below = self._pitch(panels.widths[0])
        inputs = self._take(below * samples)
        for k, (fan_in, fan_out) in enumerate(pairwise(panels.widths)):
            row, above, is_last = self.layers[k], self._pitch(fan_out), k == len(self.layers) - 1
            row[columns.FAN_IN], row[columns.FAN_OUT] = fan_in, fan_out
            row[columns.WEIGHTS], row[columns.PANEL] = panels.places[k], panels.steps[k]
            row[columns.INPUT], row[columns.INPUT_PITCH], row[columns.PITCH] = inputs, below, above
            row[columns.Z] = row[columns.DELTA] = self._take(above * samples)  # slopes replace the scores
            if k:
                row[columns.UPSTREAM] = self._take(below * samples)
                row[columns.TRANSPOSED_PANEL] = fan_out * width
                row[columns.TRANSPOSED] = self._take(panels_of(fan_in, width) * fan_out * width)
            if not is_last:
                row[columns.DELTA] = self._take(above * samples)
                inputs = self._take(above * samples)
                if self._dropout:
                    row[columns.MASK], row[columns.RAW] = self._take(above * samples), self._take(above * samples)
            row[columns.SLOPES] = row[columns.DELTA]
            row[columns.SLOPES_PANEL] = self._batch * width
            if above != width or not (is_last or fan_out == width):  # a hidden layer's rows end in slopes of nothing
                row[columns.SLOPES] = self._take(panels_of(fan_out, width) * self._batch * width)
            below = above

    def _parts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Parts (layer, first row, last row) of all [W; b]; tasks as ranges of parts, about PART numbers each."""
        parts: list[tuple[int, int, int]] = []
        tasks, filled = [0], 0
        for k, row in enumerate(self.layers):
            rows, width = int(row[columns.FAN_IN]) + self._bias, panels_of(int(row[columns.FAN_OUT]), self._width)
            width *= self._width
            height = max(LEAST_ROWS, PART // width // PART_ROWS * PART_ROWS)
            for start in range(0, rows, height):
                stop = min(start + height, rows)
                if filled and filled + (stop - start) * width > PART:
                    tasks.append(len(parts))
                    filled = 0
                parts.append((k, start, stop))
                filled += (stop - start) * width
        return np.array(parts, np.int64), np.array([*tasks, len(parts)], np.int64)

    def _turn(self, place: int, parts: NDArray[np.int64]) -> int:
        """Numbers of `spare` from `place` on that the turned inputs of a part take."""
        pitch, most = self._pitch(self._batch), 0
        for k, row in enumerate(self.layers):
            if panels_of(int(row[columns.FAN_OUT]), self._width) >= TURNED_PANELS:
                row[columns.TURNED], row[columns.TURNED_PITCH] = place, pitch
                most = max(most, pitch * int((parts[parts[:, 0] == k] @ _HEIGHT).max()))
        return most

    def _programs(self, activations: Sequence[tuple[Programmed, Mapping[str, float]]]) -> NDArray[Any]:
        """Compile every layer's programs; the parameters of all of them, one after the other."""
        constants: list[float] = []
        self._kept = []
        places = ((columns.VALUE, columns.VALUE_CONSTANTS), (columns.SLOPE, columns.SLOPE_CONSTANTS))
        for k, (operation, parameters) in enumerate(activations):
            expressions = (operation.value_expression, operation.pullback_expression)
            for expression, (address, first) in zip(expressions, places, strict=True):
                one = program(expression, parameters, self._dtype)
                self.layers[k, [address, first]] = one.address, len(constants)
                constants += one.parameters
                self._kept.append(one)
        return np.array(constants, self._dtype)


def _rows_keep_apart(lines: int) -> bool:
    """True if the rows of a tile, so many lines apart, begin well spread over a first-level cache's 64 sets."""
    places = sorted(row * lines % 64 for row in range(ROWS[0]))
    return min(b - a for a, b in pairwise([*places, places[0] + 64])) >= 7
