"""Matrix products of any shape from tiles, for matrices that lie row by row with a step of their own.

The product is one machine function for each precision, which compiled code calls by its address: every function that
numba compiles contains all that it calls, and the tiles are long.

What the layers of small nets multiply stays in the caches, so nothing is copied together first, but where rows of B
lie so far apart that they displace each other: then a panel of a tile's width is.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
from numba import carray, types  # type: ignore[attr-defined]
from numpy.typing import NDArray

from kernels.compiled.jit import call_address, emitted, exact, machine_function, pointer_to
from kernels.compiled.tiles import (
    VECTOR_BYTES,
    edge_1,
    edge_2,
    edge_4,
    edge_6,
    full_1,
    full_2,
    full_4,
    full_6,
    half_1,
    half_2,
    half_4,
    half_6,
)

Floats = NDArray[Any]

DEPTH: Final = 256
"""k of one pass: a panel of B and the rows of A that it meets fit the first-level cache."""
FAR: Final = 2048
"""Bytes between rows of B from which on panels are copied together."""
PANELS: Final = 8
"""Panels that are copied at once: as many neighbouring cache lines of every row."""
PANEL_BYTES: Final = 2 * VECTOR_BYTES * DEPTH * PANELS


@exact
def _multiply(
    a: Floats, a_row: int, a_k: int, b: Floats, b_k: int, first: Floats, first_row: int, first_column: int,
    c: Floats, c_row: int, m: int, n: int, k: int, panel: Floats,
) -> None:  # fmt: skip
    """See `multiply`."""
    width = 2 * VECTOR_BYTES // a.itemsize
    far = b_k * a.itemsize >= FAR and m >= 4 * 6
    most = DEPTH if a_k == 1 else DEPTH // 2  # of a transposed A every k is a cache line of its own
    for done in range(0, k, most):
        depth = min(most, k - done)
        for j in range(0, n, width):
            columns = min(width, n - j)
            right, right_at, right_k = b, done * b_k + j, b_k
            if far or columns < width:
                ahead = j // width % PANELS if far else 0
                if ahead == 0:
                    _copy_panels(b, right_at, b_k, depth, min(n - j, PANELS * width if far else width), panel)
                right, right_at, right_k = panel, ahead * DEPTH * width, width
            begin, begin_at, begin_row = first, j * first_column, first_row
            if done:
                begin, begin_at, begin_row = c, j, c_row
            _strip(
                a, done * a_k, a_row, a_k, right, right_at, right_k, begin, begin_at, begin_row,
                c, j, c_row, m, columns, depth, width,
            )  # fmt: skip


@exact
def _copy_panels(b: Floats, at: int, step: int, depth: int, columns: int, panel: Floats) -> None:
    """Columns of `depth` rows as panels of a tile's width, one after the other; what is missing of the last is 0."""
    width = 2 * VECTOR_BYTES // b.itemsize
    whole, rest = columns // width, columns % width
    for r in range(depth):
        for p in range(whole):
            row = b[at + r * step + p * width : at + r * step + (p + 1) * width]
            place = panel[(p * DEPTH + r) * width : (p * DEPTH + r + 1) * width]
            for i in range(width):
                place[i] = row[i]
    if rest:
        for r in range(depth):
            row = b[at + r * step + whole * width : at + r * step + columns]
            place = panel[(whole * DEPTH + r) * width : (whole * DEPTH + r + 1) * width]
            for i in range(rest):
                place[i] = row[i]
            for i in range(rest, width):
                place[i] = 0


@exact
def _strip(
    a: Floats, a_at: int, a_row: int, a_k: int, b: Floats, b_at: int, b_k: int,
    first: Floats, first_at: int, first_row: int,
    c: Floats, c_at: int, c_row: int, m: int, n: int, k: int, width: int,
) -> None:  # fmt: skip
    """All rows of up to `width` columns of C, k at most DEPTH."""
    i = 0
    while i < m:
        left = m - i
        rows = 6 if left >= 6 else 4 if left >= 4 else 2 if left >= 2 else 1
        up, init, down = a_at + i * a_row, first_at + i * first_row, c_at + i * c_row
        if n == width:
            if rows == 6:
                full_6(a, up, a_row, a_k, b, b_at, b_k, k, first, init, first_row, c, down, c_row, n)
            elif rows == 4:
                full_4(a, up, a_row, a_k, b, b_at, b_k, k, first, init, first_row, c, down, c_row, n)
            elif rows == 2:
                full_2(a, up, a_row, a_k, b, b_at, b_k, k, first, init, first_row, c, down, c_row, n)
            else:
                full_1(a, up, a_row, a_k, b, b_at, b_k, k, first, init, first_row, c, down, c_row, n)
        elif 2 * n > width:
            if rows == 6:
                edge_6(a, up, a_row, a_k, b, b_at, b_k, k, first, init, first_row, c, down, c_row, n)
            elif rows == 4:
                edge_4(a, up, a_row, a_k, b, b_at, b_k, k, first, init, first_row, c, down, c_row, n)
            elif rows == 2:
                edge_2(a, up, a_row, a_k, b, b_at, b_k, k, first, init, first_row, c, down, c_row, n)
            else:
                edge_1(a, up, a_row, a_k, b, b_at, b_k, k, first, init, first_row, c, down, c_row, n)
        elif rows == 6:
            half_6(a, up, a_row, a_k, b, b_at, b_k, k, first, init, first_row, c, down, c_row, n)
        elif rows == 4:
            half_4(a, up, a_row, a_k, b, b_at, b_k, k, first, init, first_row, c, down, c_row, n)
        elif rows == 2:
            half_2(a, up, a_row, a_k, b, b_at, b_k, k, first, init, first_row, c, down, c_row, n)
        else:
            half_1(a, up, a_row, a_k, b, b_at, b_k, k, first, init, first_row, c, down, c_row, n)
        i += rows


_ANY: Final = 1 << 60
"""A length that no place is beyond: matrices are known by their first number."""


@lru_cache(maxsize=2)
def address_of(dtype: np.dtype[Any]) -> int:
    """Where the product of this precision lies in this process: an argument of compiled code, never part of it."""

    def product(
        a: Any, a_row: int, a_k: int, b: Any, b_k: int, first: Any, first_row: int, first_column: int,
        c: Any, c_row: int, m: int, n: int, k: int, panel: Any,
    ) -> None:  # fmt: skip
        _multiply(
            carray(a, _ANY), a_row, a_k, carray(b, _ANY), b_k, carray(first, _ANY), first_row, first_column,
            carray(c, _ANY), c_row, m, n, k, carray(panel, _ANY),
        )  # fmt: skip

    i, real = types.intp, pointer_to(dtype)
    return machine_function([real, i, i, real, i, real, i, i, real, i, i, i, i, real], product)


@emitted
def multiply(
    _typing: Any, _address: Any, a: Any, _a_row: Any, _a_k: Any, b: Any, _b_k: Any,
    first: Any, _first_row: Any, _first_column: Any, c: Any, _c_row: Any, _m: Any, _n: Any, _k: Any, panel: Any,
) -> Any:  # fmt: skip
    """C (m, n) = first + A (m, k) B (k, n), by the product at `address`; k >= 1.

    Arrays are flat and begin where the matrices do. A has steps of its own from row to row and along k, so that it
    may be a transposed one; B and C lie row by row. `first` with a row step of 0 is one row for all rows, with a
    column step of 0 too a tile's width of numbers for all columns. `panel` is scratch of PANEL_BYTES.
    """
    i = types.intp
    return types.void(i, a, i, i, b, i, first, i, i, c, i, i, i, i, panel), call_address
