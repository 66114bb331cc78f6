"""Which hidden units a step leaves out, in compiled code: the masks of `nets.dropout`, word for word."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.compiled.jit import exact
from kernels.compiled.philox import u8, words
from kernels.random import Stream

_STREAM: Final = u8(int(Stream.DROPOUT))
_LOW, _HALF = u8(0xFFFFFFFF), u8(32)
_WORDS: Final = 8
"""32-bit words of a block."""


class Drop(NamedTuple):
    """The draw of a step: a unit is kept if its word is below `limit`, and counts `scale` times; limit 0: no dropout.

    Unit h of sample b has the word h · batch + b.
    """

    seed: np.uint64
    limit: np.uint64
    scale: Any
    batch: Any
    step: Any


@exact
def draw(drop: Drop, layer: int, units: int, start: int, stop: int, work: NDArray[Any], at: int, pitch: int) -> None:
    """Masks of samples start..stop of a layer (from 1): that of unit h of sample b to work[at + b * pitch + h]."""
    for h in range(units):
        first, last = h * drop.batch + start, h * drop.batch + stop
        place = at + h - h * drop.batch * pitch
        for block in range(first // _WORDS, (last + _WORDS - 1) // _WORDS):
            c0, c1, c2, c3 = words(drop.seed, _STREAM, u8(block + 1), u8(drop.step), u8(layer))
            for i in range(max(first, block * _WORDS), min(last, (block + 1) * _WORDS)):
                pair = i % _WORDS // 2
                word = c0 if pair == 0 else c1 if pair == 1 else c2 if pair == 2 else c3
                word = word & _LOW if i % 2 == 0 else word >> _HALF
                work[place + i * pitch] = drop.scale if word < drop.limit else drop.scale * 0


@exact
def product(work: NDArray[Any], a: int, b: int, to: int, count: int) -> None:
    """work[to + i] = work[a + i] * work[b + i]."""
    left, right, out = work[a : a + count], work[b : b + count], work[to : to + count]
    for i in range(count):
        out[i] = left[i] * right[i]
