"""Counter-based random numbers: a draw depends on what it is for, never on what was drawn before.

The generator is Philox4x64-10 (Salmon et al. 2011, Random123), NumPy's own. The layout, which a CUDA kernel
can follow word by word:

    key     = (seed, stream)                        two 64-bit words; `Stream` below
    counter = (block, 0, step, lane)                four 64-bit words, least significant first
    block   = 1, 2, 3, ...                          (NumPy increments before it generates); four words a block

`step` is the epoch or update the draw belongs to, `lane` separates draws of one step (a layer, a tensor).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import numpy as np

from kernels.errors import InvalidInput

MAX_SEED: Final = 2**63 - 1


class Stream(IntEnum):
    """What the numbers are for; the second word of the key. Values are part of reproducibility: never reuse one."""

    SHUFFLE = 1
    INITIAL = 2
    SPLIT = 3
    DROPOUT = 4
    SEARCH = 5
    DATA = 6
    PATCHES = 7
    EXPLAIN = 8


def bits(
    seed: int, stream: Stream, count: int, *, step: int = 0, lane: int = 0
) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """`count` 64-bit words (count,) uint64 of the draw (seed, stream, step, lane).

    Raises InvalidInput for a seed outside 0..2**63-1.
    """
    if not 0 <= seed <= MAX_SEED:
        raise InvalidInput.at("/training/seed", f"is {seed}; must be 0..{MAX_SEED}")
    key = np.array([seed, stream], np.uint64)
    counter = np.array([0, 0, step, lane], np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(count)


def permutation(
    seed: int, epoch: int, n: int, *, stream: Stream = Stream.SHUFFLE, lane: int = 0
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The order (n,) int64 of n rows in an epoch; 1 <= n < 2**32.

    Row i gets the 32-bit word w[i], where w reads the draw's 64-bit words low half first; rows are sorted by
    (w[i], i), which is one sort of `w[i] << 32 | i` and its low halves. Equal words (for n = 60 000 in expectation
    0.4 pairs) keep the rows' order: any sort gives the same answer.
    """
    words = bits(seed, stream, (n + 1) // 2, step=epoch, lane=lane)
    keys = np.empty(2 * len(words), np.uint64)
    np.left_shift(words, 32, out=keys[0::2])
    np.bitwise_and(words, 0xFFFFFFFF_00000000, out=keys[1::2])
    keys = keys[:n]
    keys |= np.arange(n, dtype=np.uint64)
    keys.sort()
    keys &= 0xFFFFFFFF
    return keys.view(np.int64)


def uniform(
    seed: int, stream: Stream, shape: tuple[int, ...], *, step: int = 0, lane: int = 0
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Uniform numbers in [0, 1), float64: (word >> 11) * 2**-53, in C order."""
    count = int(np.prod(shape, dtype=np.int64))
    words = bits(seed, stream, count, step=step, lane=lane) >> np.uint64(11)
    return words.astype(np.float64).reshape(shape) * 2.0**-53


def normal(
    seed: int, stream: Stream, shape: tuple[int, ...], *, step: int = 0, lane: int = 0
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Standard normal numbers, float64, by Box and Muller (1958).

    Words 2i and 2i+1 make u = ((word >> 11) + 1) * 2**-53 in (0, 1] and v = (word >> 11) * 2**-53; numbers 2i
    and 2i+1 are sqrt(-2 ln u) cos(2 pi v) and sqrt(-2 ln u) sin(2 pi v), in C order.
    """
    count = int(np.prod(shape, dtype=np.int64))
    words = bits(seed, stream, 2 * ((count + 1) // 2), step=step, lane=lane)
    words >>= np.uint64(11)
    radius = (words[0::2] + np.uint64(1)) * 2.0**-53
    np.log(radius, out=radius)
    radius *= -2.0
    np.sqrt(radius, out=radius)
    angle = words[1::2] * (2.0 * np.pi * 2.0**-53)
    pairs = np.empty((len(radius), 2))
    np.multiply(radius, np.cos(angle), out=pairs[:, 0])
    np.multiply(radius, np.sin(angle), out=pairs[:, 1])
    return pairs.reshape(-1)[:count].reshape(shape)
