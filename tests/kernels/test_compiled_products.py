"""Matrix products from tiles: right at every edge, and the same bits however they are cut."""

from __future__ import annotations

from itertools import pairwise

import numba
import numpy as np
import pytest

from kernels.compiled import products
from kernels.compiled.jit import exact
from kernels.compiled.panels import Panels, aligned, panels_of
from kernels.compiled.products import DEPTH, FAR, SPREAD, address_of, multiply
from kernels.compiled.steps import share_of
from kernels.compiled.tiles import fetch, fetch_to_write, width_of

SHAPES = [
    (1, 1, 1), (5, 3, 2), (8, 20, 7), (7, 16, 5), (13, 17, DEPTH + 44), (25, 4, 30), (64, 10, 129), (65, 128, 64),
    (3, 31, DEPTH + 1), (40, 700, 2 * DEPTH + 3),
]  # fmt: skip


@exact
def call(address, a, a_row, a_k, b, b_panel, first, first_panel, c, c_row, c_panel, m, n, k):
    multiply(address, a, a_row, a_k, b, b_panel, first, 0, first_panel, c, c_row, c_panel, m, n, k)


def in_panels(matrix):
    """(K, N) as panels (N/T, K, T), flat, zeros at the end of the last."""
    return Panels((len(matrix), matrix.shape[1]), False, matrix.dtype).pack([matrix.reshape(-1)])[0]


def product(a, b, bias, *, transposed=False, guard=0):
    """bias + A B, where `a` holds A, or Aᵀ; `guard` rows of sevens beyond it."""
    m, k = a.shape[::-1] if transposed else a.shape
    n, width = b.shape[1], width_of(a.dtype)
    pitch = panels_of(n, width) * width
    out = np.full((m + guard, pitch), 7, a.dtype)
    steps = (1, m) if transposed else (k, 1)
    call(address_of(a.dtype), a.reshape(-1), *steps, in_panels(b), k * width, in_panels(bias[None]), width,
         out.reshape(-1), pitch, width, m, n, k)  # fmt: skip
    return out


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_products_are_right_at_every_edge_and_write_nothing_beyond(shape, dtype, transposed):
    m, n, k = shape
    rng = np.random.default_rng(m + n + k)
    a = rng.standard_normal((k, m) if transposed else (m, k)).astype(dtype)
    b, bias = rng.standard_normal((k, n)).astype(dtype), rng.standard_normal(n).astype(dtype)
    out = product(a, b, bias, transposed=transposed, guard=1)
    expected = (a.T if transposed else a).astype(np.float64) @ b.astype(np.float64) + bias
    tolerance = 4 * np.sqrt(k) * np.finfo(dtype).eps * 10
    assert np.abs(out[:m, :n] - expected).max() < tolerance, f"{shape} {dtype} transposed={transposed}"
    assert (out[:m, n:] == 0).all()
    assert (out[m] == 7).all()


def test_no_bit_of_a_row_depends_on_its_neighbours_or_its_place():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((23, 300)).astype(np.float32)
    b, zeros = rng.standard_normal((300, 40)).astype(np.float32), np.zeros(40, np.float32)
    whole = product(a, b, zeros)
    for start, stop in [(0, 1), (0, 6), (3, 10), (5, 13), (17, 23), (2, 21)]:
        part = product(np.ascontiguousarray(a[start:stop]), b, zeros)
        assert np.array_equal(part, whole[start:stop]), (start, stop)
    for width in (1, 8, 9, 16, 33):
        part = product(a, np.ascontiguousarray(b[:, :width]), zeros[:width])
        assert np.array_equal(part[:, :width], whole[:, :width]), width


@pytest.mark.parametrize(("m", "k", "is_far"), [(3, DEPTH + 9, True), (64, 2 * DEPTH, True), (64, 8, False)])
def test_while_a_panel_is_multiplied_what_comes_next_is_fetched_once(monkeypatch, m, k, is_far):
    """The schedule, by the functions that are compiled, run by Python.

    Of B the next panel's rows, of a large C the rows of all tiles but the first; passes over k end with the next
    pass's first panel.
    """
    width, panels = width_of(np.dtype(np.float32)), 16
    c, b = np.zeros(panels * m * width, np.float32), np.zeros(panels * k * width, np.float32)
    assert (panels * k * width * 4 >= FAR) == is_far
    fetched: list[int] = []
    written: list[int] = []
    monkeypatch.setattr(products, "fetch", lambda array, place: fetched.append(place) if array is b else None)
    monkeypatch.setattr(products, "fetch_to_write", lambda array, place: written.append(place) if array is c else None)
    for tile in ("full_1", "full_2", "full_4", "full_6"):
        monkeypatch.setattr(products, tile, lambda *given: None)
    monkeypatch.setattr(products, "_full", products._full.py_func)
    products._multiply.py_func(c, k, 1, b, k * width, c, width, width, c, width, m * width, m, panels * width, k)
    rows = np.arange(k)
    later = [panel * k + rows for panel in range(1, panels)]
    passes = [rows[start : start + DEPTH] + min(DEPTH, k - start) for start in range(0, k, DEPTH)]
    assert sorted(fetched) == (sorted(np.concatenate([*later, *passes]) * width) if is_far else [])
    below = [(panel * m + np.arange(6, m)) * width for panel in range(panels)] * len(passes)
    assert sorted(written) == (sorted(np.concatenate(below)) if c.nbytes >= SPREAD else [])


@pytest.mark.parametrize("nearer", [fetch, fetch_to_write])
def test_to_fetch_is_an_instruction_of_its_own(nearer):
    compiled = numba.njit("void(float32[::1], intp)")(lambda array, place: nearer(array, place))
    [code] = compiled.inspect_llvm().values()
    assert "call void @llvm.prefetch" in code


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_visible(bad):
    a, b = np.ones((4, 4), np.float32), np.ones((4, 4), np.float32)
    a[1, 2] = bad
    out = product(a, b, np.zeros(4, np.float32))[:, :4]
    assert not np.isfinite(out[1]).any()
    assert np.isfinite(np.delete(out, 1, axis=0)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("widths", [(2, 3), (5, 16, 1), (7, 40, 33, 10)])
def test_panels_hold_every_weight_once_and_come_back_as_they_were(widths, bias, dtype):
    panels = Panels(widths, bias, np.dtype(dtype))
    count = sum((i + bias) * o for i, o in pairwise(widths))
    flat = np.arange(1, 3 * count + 1, dtype=dtype).reshape(3, count)
    packed = panels.pack(flat)
    assert packed.shape == (3, panels.count)
    assert np.array_equal(np.sort(packed[packed != 0]), flat.reshape(-1))
    assert np.array_equal(panels.unpack(packed), flat)
    assert np.array_equal(panels.copied([packed[2], packed[0]]), packed[[2, 0]])
    for rows in (packed, panels.copied([packed[1]])):
        assert all(row.ctypes.data % 64 == 0 for row in rows)


def test_aligned_buffers_begin_at_cache_lines_with_zeros():
    for size in (1, 15, 1000):
        buffer = aligned(size, np.dtype(np.float64))
        assert buffer.ctypes.data % 64 == 0
        assert not buffer.any()


@pytest.mark.parametrize("team", [1, 2, 3, 8])
def test_a_teams_shares_cover_the_batch(team):
    for batch in (1, 5, 32, 100, 128):
        share = share_of(batch, 0, team)
        assert 1 <= share <= batch
        assert -(-batch // share) <= team


def test_whoever_measures_meanwhile_has_a_smaller_share_of_the_batch():
    assert share_of(64, 6, 2) == 36  # 28 are left for the thread that measures 6
    assert share_of(64, 1000, 2) == 64  # one thread passes, the others measure
    assert share_of(64, 6, 1) == 64
