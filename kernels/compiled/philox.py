"""The generator of `kernels.random` in compiled code: Philox4x64-10 (Salmon et al. 2011), block by block."""

from __future__ import annotations

from typing import Final

import numpy as np

from kernels.compiled.jit import exact

u8: Final = np.uint64
_M0, _M1 = u8(0xD2E7470EE14C6C93), u8(0xCA5A826395121157)
_W0, _W1 = u8(0x9E3779B97F4A7C15), u8(0xBB67AE8584CAA73B)
_LOW, _HALF, _ZERO = u8(0xFFFFFFFF), u8(32), u8(0)


@exact
def _high(x: np.uint64, y: np.uint64) -> np.uint64:
    """The upper 64 bits of x · y."""
    a, b, c, d = x >> _HALF, x & _LOW, y >> _HALF, y & _LOW
    middle = a * d + (b * d >> _HALF)
    other = b * c + (middle & _LOW)
    return a * c + (middle >> _HALF) + (other >> _HALF)


@exact
def words(
    seed: np.uint64, stream: np.uint64, block: np.uint64, step: np.uint64, lane: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Four 64-bit words: block 1, 2, ... of the draw (seed, stream, step, lane)."""
    c0, c1, c2, c3 = block, _ZERO, step, lane
    k0, k1 = seed, stream
    for _ in range(10):
        h0, l0, h1, l1 = _high(_M0, c0), _M0 * c0, _high(_M1, c2), _M1 * c2
        c0, c1, c2, c3 = h1 ^ c1 ^ k0, l1, h0 ^ c3 ^ k1, l0
        k0, k1 = k0 + _W0, k1 + _W1
    return c0, c1, c2, c3
