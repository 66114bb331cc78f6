"""The row orders of `kernels.random.permutation`, bit for bit, for several epochs at once.

The draw (seed, SHUFFLE, epoch, lane 0), then a radix sort of the rows by their 32-bit words: it is stable, so rows of
equal words keep their order.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.compiled.jit import exact
from kernels.compiled.philox import u8, words
from kernels.random import Stream

Words = NDArray[np.uint64]

_LOW, _HALF, _BYTE = u8(0xFFFFFFFF), u8(32), u8(0xFF)
_STREAM: Final = u8(int(Stream.SHUFFLE))
_ZERO, _ONE = u8(0), u8(1)


@exact
def _fill(seed: np.uint64, epoch: np.uint64, keys: Words, count: int) -> None:
    """keys[i] = word i << 32 | i, where 32-bit words are the generator's, low halves first."""
    block = _ZERO
    for start in range(0, count, 8):
        block += _ONE
        c0, c1, c2, c3 = words(seed, _STREAM, block, epoch, _ZERO)
        for part in range(4):
            word = c0 if part == 0 else c1 if part == 1 else c2 if part == 2 else c3
            at = start + 2 * part
            keys[at] = word << _HALF | u8(at)  # the buffer holds 8 more than `count`
            keys[at + 1] = (word >> _HALF) << _HALF | u8(at + 1)


@exact
def _sort(keys: Words, other: Words, count: int) -> None:
    """Sort `count` keys by their upper halves, a byte at a time."""
    starts = np.empty(257, np.int64)
    for shift in range(32, 64, 8):
        digit = u8(shift)
        starts[:] = 0
        for i in range(count):
            starts[(keys[i] >> digit & _BYTE) + _ONE] += 1
        for value in range(1, 257):
            starts[value] += starts[value - 1]
        for i in range(count):
            value = keys[i] >> digit & _BYTE
            other[starts[value]] = keys[i]
            starts[value] += 1
        keys, other = other, keys


@exact
def orders(
    seed: np.uint64, first: int, shuffle: bool, count: int, offset: int, keys: Words, rows: NDArray[np.int64]
) -> None:
    """Rows of the epochs first, first + 1, ...: rows (K, S·B) of which the last S·B - count repeat the last row.

    `keys` (2, count + 8) is scratch.
    """
    for epoch in range(rows.shape[0]):
        if shuffle:
            _fill(seed, u8(first + epoch), keys[0], count)
            _sort(keys[0], keys[1], count)
            for i in range(count):
                rows[epoch, i] = np.int64(keys[0, i] & _LOW) + offset
        else:
            for i in range(count):
                rows[epoch, i] = i + offset
        rows[epoch, count:] = rows[epoch, count - 1]
