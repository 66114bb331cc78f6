"""A product has the same bits alone (M = 1) and inside a stack, in every layout that a net uses.

Axis legend: M models, B batch, I in, O out. A layout builds views (a, b, out) of larger buffers, as the net does:
parameters are views of one flat buffer per model, activations carry a row or a column of ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from kernels.numpy_backend import NumpyBackend

Views = tuple[np.ndarray, np.ndarray, np.ndarray]
BACKEND = NumpyBackend()
# (B, I, O): the layers of usual nets, vectors, odd sizes, sizes around the blocking of a BLAS.
SHAPES = [
    (32, 2, 16), (32, 16, 16), (32, 16, 3), (64, 64, 128), (64, 128, 10), (128, 784, 256), (128, 256, 128),
    (1, 64, 128), (32, 1, 16), (32, 16, 1), (1, 1, 1), (1, 5, 1), (2, 1, 1), (7, 13, 5), (33, 31, 29), (100, 100, 2),
    (5, 257, 3), (48, 48, 48), (129, 65, 33),
]  # fmt: skip
STACKS = (2, 3, 8)


def zeros(dtype: str, *shape: int) -> np.ndarray:
    return np.zeros(shape, dtype)


def block(M: int, I: int, O: int, dtype: str) -> np.ndarray:  # noqa: E741
    """[W; b] of every model as a view of one flat buffer (M, P); P is odd, so that models are aligned differently."""
    count = (I + 1) * O
    return zeros(dtype, M, count + 3 + count % 2)[:, 3 : 3 + count].reshape(M, I + 1, O, copy=False)


def turned(array: np.ndarray) -> np.ndarray:
    return array.transpose(0, 2, 1)


# Batch-major: activations (M, B, I+1) with a column of ones.
def forward(M: int, B: int, I: int, O: int, d: str) -> Views:  # noqa: E741
    return zeros(d, M, B, I + 1), block(M, I, O, d), zeros(d, M, B, O + 1)[..., :-1]


def weight_gradient(M: int, B: int, I: int, O: int, d: str) -> Views:  # noqa: E741
    return turned(zeros(d, M, B, I + 1)), zeros(d, M, B, O + 1)[..., :-1], block(M, I, O, d)


def input_gradient(M: int, B: int, I: int, O: int, d: str) -> Views:  # noqa: E741
    return zeros(d, M, B, O + 1)[..., :-1], turned(block(M, I, O, d)[:, :-1]), zeros(d, M, B, I + 1)[..., :-1]


# Feature-major: activations (M, I+1, B) with a row of ones; the first layer reads a batch-major gather.
def first_forward(M: int, B: int, I: int, O: int, d: str) -> Views:  # noqa: E741
    return turned(block(M, I, O, d)), turned(zeros(d, M, B, I + 1)), zeros(d, M, O, B)


def hidden_forward(M: int, B: int, I: int, O: int, d: str) -> Views:  # noqa: E741
    return turned(block(M, I, O, d)), zeros(d, M, I + 1, B), zeros(d, M, O + 1, B)[:, :-1]


def hidden_weight_gradient(M: int, B: int, I: int, O: int, d: str) -> Views:  # noqa: E741
    return zeros(d, M, I + 1, B), turned(zeros(d, M, O, B)), block(M, I, O, d)


def first_weight_gradient(M: int, B: int, I: int, O: int, d: str) -> Views:  # noqa: E741
    return turned(zeros(d, M, B, I + 1)), turned(zeros(d, M, O, B)), block(M, I, O, d)


def hidden_input_gradient(M: int, B: int, I: int, O: int, d: str) -> Views:  # noqa: E741
    return block(M, I, O, d)[:, :-1], zeros(d, M, O, B), zeros(d, M, I, B)


LAYOUTS = [
    forward, weight_gradient, input_gradient, first_forward, hidden_forward, hidden_weight_gradient,
    first_weight_gradient, hidden_input_gradient,
]  # fmt: skip
layouts = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
Layout = Callable[[int, int, int, int, str], Views]


def filled(views: Views, seed: int) -> Views:
    rng = np.random.default_rng(seed)
    for view in views[:2]:
        view[...] = rng.normal(size=view.shape)
    return views


@layouts
@dtypes
@pytest.mark.parametrize(("B", "I", "O"), SHAPES)
def test_products_do_not_depend_on_the_stack(layout: Layout, dtype: str, B: int, I: int, O: int) -> None:  # noqa: E741
    for M in STACKS:
        a, b, out = filled(layout(M, B, I, O, dtype), seed=M)
        BACKEND.matmul(a, b, out)
        for m in range(M):
            alone_a, alone_b, alone = layout(1, B, I, O, dtype)
            alone_a[0], alone_b[0] = a[m], b[m]
            BACKEND.matmul(alone_a, alone_b, alone)
            np.testing.assert_array_equal(out[m], alone[0], err_msg=f"M={M} m={m}")


@layouts
@dtypes
def test_a_neighbour_of_infinities_and_nans_disturbs_nobody(layout: Layout, dtype: str) -> None:
    a, b, out = filled(layout(3, 32, 16, 8, dtype), seed=0)
    BACKEND.matmul(a, b, out)
    clean = out.copy()
    a[1], b[1] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        BACKEND.matmul(a, b, out)
    np.testing.assert_array_equal(out[[0, 2]], clean[[0, 2]])
    assert np.isnan(out[1]).all()


@layouts
@pytest.mark.parametrize(("B", "I", "O"), SHAPES)
def test_products_are_right_and_stay_in_their_buffer(layout: Layout, B: int, I: int, O: int) -> None:  # noqa: E741
    a, b, out = filled(layout(2, B, I, O, "float64"), seed=1)
    whole = out if out.base is None else out.base
    out[...] = np.nan
    BACKEND.matmul(a, b, out)
    expected = np.einsum("mik,mkj->mij", a, b, optimize=False)
    np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-11)
    out[...] = 0.0
    assert not whole.any()
