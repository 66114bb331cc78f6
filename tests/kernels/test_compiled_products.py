"""Matrix products from tiles: right at every edge, and the same bits however they are cut."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.compiled.jit import exact
from kernels.compiled.products import DEPTH, PANEL_BYTES, address_of, multiply
from kernels.compiled.workspace import aligned_rows, samples_per_task

SHAPES = [(1, 1, 1), (5, 3, 2), (7, 16, 5), (13, 17, DEPTH + 44), (64, 10, 129), (65, 128, 64), (3, 31, DEPTH + 1)]
FAR = (40, 700, 2 * DEPTH + 3)
"""Rows of B lie so far apart that panels are copied."""


@exact
def call(address, a, a_row, a_k, b, b_k, first, first_row, first_column, c, c_row, m, n, k, panel):
    multiply(address, a, a_row, a_k, b, b_k, first, first_row, first_column, c, c_row, m, n, k, panel)


def product(a, b, first, out, *, transposed=False):
    """out = first + A B, where `a` holds A, or Aᵀ."""
    m, k = a.shape[::-1] if transposed else a.shape
    steps = (1, m) if transposed else (k, 1)
    panel = np.full(PANEL_BYTES // a.itemsize, np.nan, a.dtype)
    call(address_of(a.dtype), a.reshape(-1), *steps, b.reshape(-1), b.shape[1], first, 0, int(len(first) == b.shape[1]),
         out.reshape(-1), out.shape[1], m, b.shape[1], k, panel)  # fmt: skip


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [*SHAPES, FAR])
def test_products_are_right_at_every_edge_and_write_nothing_beyond(shape, dtype, transposed):
    m, n, k = shape
    rng = np.random.default_rng(m + n + k)
    a = rng.standard_normal((k, m) if transposed else (m, k)).astype(dtype)
    b, bias = rng.standard_normal((k, n)).astype(dtype), rng.standard_normal(n).astype(dtype)
    out = np.full((m + 1, n), 7, dtype)
    product(a, b, bias, out, transposed=transposed)
    expected = (a.T if transposed else a).astype(np.float64) @ b.astype(np.float64) + bias
    tolerance = 4 * np.sqrt(k) * np.finfo(dtype).eps * 10
    assert np.abs(out[:m] - expected).max() < tolerance, f"{shape} {dtype} transposed={transposed}"
    assert (out[m] == 7).all()


def test_no_bit_of_a_row_depends_on_its_neighbours_or_its_place():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((23, 300)).astype(np.float32)
    b = rng.standard_normal((300, 40)).astype(np.float32)
    whole, zeros = np.zeros((23, 40), np.float32), np.zeros(64, np.float32)
    product(a, b, zeros, whole)
    for start, stop in [(0, 1), (0, 6), (3, 10), (17, 23)]:
        part = np.zeros((stop - start, 40), np.float32)
        product(np.ascontiguousarray(a[start:stop]), b, zeros, part)
        assert np.array_equal(part, whole[start:stop]), (start, stop)
    for width in (1, 8, 9, 16, 33):
        part = np.zeros((23, width), np.float32)
        product(a, np.ascontiguousarray(b[:, :width]), zeros, part)
        assert np.array_equal(part, whole[:, :width]), width


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_visible(bad):
    a, b = np.ones((4, 4), np.float32), np.ones((4, 4), np.float32)
    a[1, 2] = bad
    out = np.zeros((4, 4), np.float32)
    product(a, b, np.zeros(16, np.float32), out)
    assert not np.isfinite(out[1]).any()
    assert np.isfinite(np.delete(out, 1, axis=0)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_aligned_rows_are_copies_that_begin_at_cache_lines(dtype):
    given = np.arange(15, dtype=dtype).reshape(3, 5)
    copy = aligned_rows(given)
    assert np.array_equal(copy, given)
    assert not np.shares_memory(copy, given)
    assert all(row.ctypes.data % 64 == 0 for row in copy)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_a_teams_shares_cover_the_batch(threads):
    for batch in (1, 5, 32, 100, 128):
        share = samples_per_task(batch, threads)
        assert share >= 1
        assert -(-batch // share) <= threads
