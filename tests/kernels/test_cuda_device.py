"""The CUDA backend on a real device equals the NumPy backend: `pytest -m gpu tests/kernels`."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.backend import Backend, select
from kernels.numpy_backend import NumpyBackend
from kernels.operations import ACTIVATIONS, Operation
from tests.kernels.references import GRADIENT_GATES, inputs

pytestmark = pytest.mark.gpu

rows = pytest.mark.parametrize("row", ACTIVATIONS.values(), ids=ACTIVATIONS)
precisions = pytest.mark.parametrize("dtype", ["float32", "float64"])
# CUDA's functions are within 2 ulp of the exact result, NumPy's within 1 to 4; both gates are in epsilons.
VALUE_GATE, GRADIENT_GATE = 6.0, 16.0


@pytest.fixture(scope="module")
def cuda() -> Backend:
    return select("cuda:0")


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Worst difference, relative where numbers exceed 1, in epsilons; equal NaN and infinities are equal."""
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        gap = np.where(same, 0.0, np.abs(a - b) / np.maximum(1.0, np.abs(b)))
    return float(np.max(np.where(np.isnan(gap), np.inf, gap)) / np.finfo(a.dtype).eps)


def stacked(dtype: str) -> np.ndarray:
    x = inputs(dtype)
    return x[: x.size // 15 * 15].reshape(3, 5, -1)


@rows
@precisions
@pytest.mark.parametrize("strided", [False, True], ids=["contiguous", "strided"])
def test_device_equals_host(cuda: Backend, row: Operation, dtype: str, strided: bool) -> None:
    z, numpy = stacked(dtype), NumpyBackend()
    upstream = np.random.default_rng(1).normal(size=z.shape).astype(dtype)
    a, dz = np.empty_like(z), np.empty_like(z)
    numpy.activate(row, z, row.defaults, a)
    numpy.backpropagate(row, z, a, upstream, row.defaults, dz)
    wide = cuda.zeros((*z.shape[:2], z.shape[2] + 1), dtype)
    out = wide[..., :-1] if strided else cuda.zeros(z.shape, dtype)
    device_z, device_a = cuda.to_device(z), cuda.to_device(a)
    cuda.activate(row, device_z, row.defaults, out)
    assert difference(cuda.to_host(out), a) <= VALUE_GATE
    out[...] = cuda.to_device(upstream)
    cuda.backpropagate(row, device_z, device_a, out, row.defaults, out)
    gate = max(GRADIENT_GATE, 2.0 * GRADIENT_GATES.get(row.name, 0.0))
    assert difference(cuda.to_host(out), dz) <= gate
    assert not cuda.to_host(wide)[..., -1].any()


@rows
def test_device_treats_nan_and_infinity_as_the_host_does(cuda: Backend, row: Operation) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e12, -1e12], np.float32)
    expected, out = np.empty_like(x), cuda.zeros(x.shape, "float32")
    with np.errstate(all="ignore"):
        NumpyBackend().activate(row, x, row.defaults, expected)
    cuda.activate(row, cuda.to_device(x), row.defaults, out)
    assert difference(cuda.to_host(out), expected) <= VALUE_GATE


@precisions
@pytest.mark.parametrize("M", [1, 3])
def test_products_equal_the_host(cuda: Backend, dtype: str, M: int) -> None:
    rng = np.random.default_rng(0)
    a, w = rng.normal(size=(M, 33, 18)).astype(dtype), rng.normal(size=(M, 18, 7)).astype(dtype)
    expected = np.matmul(a.astype(np.float64), w.astype(np.float64))
    wide = cuda.zeros((M, 33, 8), dtype)
    cuda.matmul(cuda.to_device(a), cuda.to_device(w), wide[..., :-1])
    np.testing.assert_allclose(cuda.to_host(wide)[..., :-1], expected, rtol=0, atol=64 * np.finfo(dtype).eps)
    assert not cuda.to_host(wide)[..., -1].any()
    gradient = cuda.zeros((M, 18, 7), dtype)
    upstream = rng.normal(size=(M, 33, 7)).astype(dtype)
    cuda.matmul(cuda.to_device(a).transpose(0, 2, 1), cuda.to_device(upstream), gradient)
    np.testing.assert_allclose(
        cuda.to_host(gradient), np.matmul(a.transpose(0, 2, 1), upstream), rtol=0, atol=128 * np.finfo(dtype).eps
    )


@precisions
def test_gather_equals_the_host(cuda: Backend, dtype: str) -> None:
    rng = np.random.default_rng(0)
    source, indices = rng.normal(size=(11, 7)).astype(dtype), rng.integers(0, 11, (3, 6))
    out = cuda.zeros((3, 6, 7), dtype)
    cuda.take_rows(cuda.to_device(source), cuda.to_device(indices), out)
    np.testing.assert_array_equal(cuda.to_host(out), source[indices])


def test_device_describes_itself(cuda: Backend) -> None:
    about = cuda.describe()
    assert about["backend"] == "cupy"
    assert about["device"] == "cuda:0"
    assert all(about.values())
    assert cuda.free_bytes() > 2**20
    cuda.synchronize()
