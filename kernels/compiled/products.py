"""Matrix products of any shape from tiles: A row by row or transposed, B and C in panels.

A panel is a tile's width of neighbouring columns, with its rows one after the other, so that a tile reads B as one
stream; where B or C has fewer columns, its last panel ends in zeros. Nothing is copied together before a product:
what is multiplied again and again, the weights above all, lies in panels from the beginning.

The product is one machine function for each precision, which compiled code calls by its address: every function that
numba compiles contains all that it calls, and the tiles are long.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
from numba import carray, types  # type: ignore[attr-defined]
from numpy.typing import NDArray

from kernels.compiled.jit import call_address, emitted, exact, machine_function, pointer_to
from kernels.compiled.tiles import (
    fetch,
    fetch_to_write,
    full_1,
    full_2,
    full_4,
    full_6,
    half_1,
    half_2,
    half_4,
    half_6,
    half_12,
)
from kernels.compiled.vectors import VECTOR_BYTES

Floats = NDArray[Any]

DEPTH: Final = 256
"""k of one pass: a panel of B and the rows of A that it meets fit the first-level cache."""
FAR: Final = 1 << 18
"""Bytes of B from which on the next panel is fetched while one is multiplied: it is not in the nearer caches."""
SPREAD: Final = 1 << 15
"""Bytes of C from which on the next tile's rows are fetched while one is computed: the first-level cache lacks them."""


@exact
def _multiply(
    a: Floats, a_row: int, a_k: int, b: Floats, b_panel: int, first: Floats, first_row: int, first_panel: int,
    c: Floats, c_row: int, c_panel: int, m: int, n: int, k: int,
) -> None:  # fmt: skip
    """See `multiply`."""
    width = 2 * VECTOR_BYTES // a.itemsize
    most = DEPTH if a_k == 1 else DEPTH // 2  # of a transposed A every k is a cache line of its own
    panels = (n + width - 1) // width
    written = 6 if m * panels * 2 * VECTOR_BYTES >= SPREAD else 0
    for done in range(0, k, most):
        depth = min(most, k - done)
        for p in range(panels):
            ahead, lines = 0, 0
            if panels * k * 2 * VECTOR_BYTES >= FAR:
                lines = depth
                ahead = (p + 1) * b_panel + done * width if p < panels - 1 else (done + depth) * width
            begin, begin_at, begin_row = first, p * first_panel, first_row
            if done:
                begin, begin_at, begin_row = c, p * c_panel, c_row
            if 2 * (n - p * width) > width:
                _full(a, done * a_k, a_row, a_k, b, p * b_panel + done * width, begin, begin_at, begin_row,
                      c, p * c_panel, c_row, m, depth, ahead, lines, written)  # fmt: skip
            else:
                _half(a, done * a_k, a_row, a_k, b, p * b_panel + done * width, begin, begin_at, begin_row,
                      c, p * c_panel, c_row, m, depth)  # fmt: skip


@exact
def _full(
    a: Floats, a_at: int, a_row: int, a_k: int, b: Floats, b_at: int, first: Floats, first_at: int, first_row: int,
    c: Floats, c_at: int, c_row: int, m: int, k: int, ahead: int, lines: int, written: int,
) -> None:  # fmt: skip
    """All rows of a panel of C, k at most DEPTH.

    Meanwhile `lines` rows of B from `ahead` on are fetched, and of every tile the `written` rows of C after it.
    """
    i, fetched, each = 0, 0, (6 * lines + m - 1) // m
    while i < m:
        left = m - i
        for line in range(fetched, min(fetched + each, lines)):
            fetch(b, ahead + line * (2 * VECTOR_BYTES // b.itemsize))
        fetched += each
        for row in range(i + 6, min(i + 6 + written, m)):
            fetch_to_write(c, c_at + row * c_row)
        up, init, down = a_at + i * a_row, first_at + i * first_row, c_at + i * c_row
        if left >= 6 and left != 8:  # 8 rows are done sooner as 4 and 4
            full_6(a, up, a_row, a_k, b, b_at, k, first, init, first_row, c, down, c_row)
            i += 6
        elif left >= 4:
            full_4(a, up, a_row, a_k, b, b_at, k, first, init, first_row, c, down, c_row)
            i += 4
        elif left >= 2:
            full_2(a, up, a_row, a_k, b, b_at, k, first, init, first_row, c, down, c_row)
            i += 2
        else:
            full_1(a, up, a_row, a_k, b, b_at, k, first, init, first_row, c, down, c_row)
            i += 1


@exact
def _half(
    a: Floats, a_at: int, a_row: int, a_k: int, b: Floats, b_at: int, first: Floats, first_at: int, first_row: int,
    c: Floats, c_at: int, c_row: int, m: int, k: int,
) -> None:  # fmt: skip
    """The same of a panel whose second vector is empty."""
    i = 0
    while i < m:
        left = m - i
        up, init, down = a_at + i * a_row, first_at + i * first_row, c_at + i * c_row
        if left >= 12:
            half_12(a, up, a_row, a_k, b, b_at, k, first, init, first_row, c, down, c_row)
            i += 12
        elif left >= 6:
            half_6(a, up, a_row, a_k, b, b_at, k, first, init, first_row, c, down, c_row)
            i += 6
        elif left >= 4:
            half_4(a, up, a_row, a_k, b, b_at, k, first, init, first_row, c, down, c_row)
            i += 4
        elif left >= 2:
            half_2(a, up, a_row, a_k, b, b_at, k, first, init, first_row, c, down, c_row)
            i += 2
        else:
            half_1(a, up, a_row, a_k, b, b_at, k, first, init, first_row, c, down, c_row)
            i += 1


_ANY: Final = 1 << 60
"""A length that no place is beyond: matrices are known by their first number."""


@lru_cache(maxsize=2)
def address_of(dtype: np.dtype[Any]) -> int:
    """Where the product of this precision lies in this process: an argument of compiled code, never part of it."""

    def product(
        a: Any, a_row: int, a_k: int, b: Any, b_panel: int, first: Any, first_row: int, first_panel: int,
        c: Any, c_row: int, c_panel: int, m: int, n: int, k: int,
    ) -> None:  # fmt: skip
        _multiply(
            carray(a, _ANY), a_row, a_k, carray(b, _ANY), b_panel, carray(first, _ANY), first_row, first_panel,
            carray(c, _ANY), c_row, c_panel, m, n, k,
        )  # fmt: skip

    i, real = types.intp, pointer_to(dtype)
    return machine_function([real, i, i, real, i, real, i, i, real, i, i, i, i, i], product)


@emitted
def multiply(
    _typing: Any, _address: Any, a: Any, _a_row: Any, _a_k: Any, b: Any, _b_panel: Any,
    first: Any, _first_row: Any, _first_panel: Any, c: Any, _c_row: Any, _c_panel: Any, _m: Any, _n: Any, _k: Any,
) -> Any:  # fmt: skip
    """C (m, n) = first + A (m, k) B (k, n), by the product at `address`; k >= 1.

    Arrays are flat and begin where the matrices do. A has steps of its own from row to row and along k, so that it
    may be a transposed one. Panels of B, `first` and C begin `*_panel` numbers apart; rows of B follow each other,
    those of C and `first` begin `*_row` numbers apart. `first` with steps of 0 is one row for all rows, or one panel
    for all panels. C is written to the end of its last panel.
    """
    i = types.intp
    return types.void(i, a, i, i, b, i, first, i, i, c, i, i, i, i, i), call_address
