"""A product has the same bits alone (M = 1) and inside a stack, in every layout that a net uses."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.numpy_backend import NumpyBackend

BACKEND = NumpyBackend()
# (B, I, O): the workloads' layers, vectors, odd sizes, sizes around the blocking of a BLAS.
SHAPES = [
    (32, 2, 16), (32, 16, 16), (32, 16, 3), (64, 64, 128), (64, 128, 10), (128, 784, 256), (128, 256, 128),
    (1, 64, 128), (32, 1, 16), (32, 16, 1), (1, 1, 1), (1, 5, 1), (2, 1, 1), (7, 13, 5), (33, 31, 29), (100, 100, 2),
    (5, 257, 3), (48, 48, 48), (129, 65, 33),
]  # fmt: skip
shapes = pytest.mark.parametrize(("B", "I", "O"), SHAPES)
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
STACKS = (2, 3, 8)


def draw(seed: int, *shape: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def weights(M: int, I: int, O: int, dtype: str) -> np.ndarray:  # noqa: E741
    """[W; b] of every model as a view of one flat buffer (M, P) with odd P, as parameters are stored."""
    flat = draw(1, M, (I + 1) * O + 3 + (I + 1) * O % 2, dtype=dtype)
    return flat[:, 3 : 3 + (I + 1) * O].reshape(M, I + 1, O, copy=False)


@shapes
@dtypes
@pytest.mark.parametrize("M", STACKS)
def test_forward_products_do_not_depend_on_the_stack(M: int, B: int, I: int, O: int, dtype: str) -> None:  # noqa: E741
    x, w = draw(0, M, B, I + 1, dtype=dtype), weights(M, I, O, dtype)
    out = np.full((M, B, O + 1), 7.0, dtype)
    BACKEND.matmul(x, w, out[..., :-1])
    assert (out[..., -1] == 7.0).all()
    for m in range(M):
        alone = np.full((1, B, O + 1), 7.0, dtype)
        BACKEND.matmul(x[m : m + 1].copy(), w[m : m + 1].copy(), alone[..., :-1])
        np.testing.assert_array_equal(out[m], alone[0], err_msg=f"M={M} m={m}")


@shapes
@dtypes
@pytest.mark.parametrize("M", STACKS)
def test_weight_gradients_do_not_depend_on_the_stack(M: int, B: int, I: int, O: int, dtype: str) -> None:  # noqa: E741
    a, dz = draw(0, M, B, I + 1, dtype=dtype), draw(2, M, B, O + 1, dtype=dtype)[..., :-1]
    out = weights(M, I, O, dtype)
    BACKEND.matmul(a.transpose(0, 2, 1), dz, out)
    for m in range(M):
        alone = np.empty((1, I + 1, O), dtype)
        BACKEND.matmul(a[m : m + 1].copy().transpose(0, 2, 1), dz[m : m + 1].copy(), alone)
        np.testing.assert_array_equal(out[m], alone[0], err_msg=f"M={M} m={m}")


@shapes
@dtypes
@pytest.mark.parametrize("M", STACKS)
def test_input_gradients_do_not_depend_on_the_stack(M: int, B: int, I: int, O: int, dtype: str) -> None:  # noqa: E741
    dz, w = draw(2, M, B, O + 1, dtype=dtype)[..., :-1], weights(M, I, O, dtype)[:, :-1]
    out = np.empty((M, B, I + 1), dtype)[..., :-1]
    BACKEND.matmul(dz, w.transpose(0, 2, 1), out)
    for m in range(M):
        alone = np.empty((1, B, I), dtype)
        BACKEND.matmul(dz[m : m + 1].copy(), w[m : m + 1].copy().transpose(0, 2, 1), alone)
        np.testing.assert_array_equal(out[m], alone[0], err_msg=f"M={M} m={m}")


@dtypes
def test_a_neighbour_of_infinities_and_nans_disturbs_nobody(dtype: str) -> None:
    x, w = draw(0, 3, 32, 17, dtype=dtype), weights(3, 16, 8, dtype)
    clean, dirty = np.empty((3, 32, 8), dtype), np.empty((3, 32, 8), dtype)
    BACKEND.matmul(x, w, clean)
    x[1], w[1] = np.nan, np.inf
    BACKEND.matmul(x, w, dirty)
    np.testing.assert_array_equal(dirty[[0, 2]], clean[[0, 2]])
    assert np.isnan(dirty[1]).all()


@shapes
def test_products_are_right(B: int, I: int, O: int) -> None:  # noqa: E741
    x, w = draw(0, 2, B, I + 1, dtype="float64"), weights(2, I, O, "float64")
    out = np.empty((2, B, O))
    BACKEND.matmul(x, w, out)
    expected = np.stack([[[sum(row * column) for column in w[m].T] for row in x[m, :2]] for m in range(2)])
    np.testing.assert_allclose(out[:, :2], expected, rtol=1e-10, atol=1e-12)
