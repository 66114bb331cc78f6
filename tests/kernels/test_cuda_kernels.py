"""Every CUDA kernel without a GPU: its exact source compiles for the device and is right when run on the host."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from kernels.cupy_backend import elementwise_kernel, gather_kernel
from kernels.operations import ACTIVATIONS, Operation
from tests.kernels.cuda_support import ARCHITECTURES, CONTIGUOUS, STRIDED, HostLibrary, Kernel, Layout, compile_cubin
from tests.kernels.references import (
    DERIVATIVES,
    GRADIENT_NORM_GATE,
    VALUE_GATE,
    VALUE_NORM_GATE,
    VALUES,
    error,
    gradient_gate,
    inputs,
    norm_error,
    parameter_sets,
)

PRECISIONS = ("float32", "float64")
GATHERED = (*PRECISIONS, "int64")
LAYOUTS = (CONTIGUOUS, STRIDED)
rows = pytest.mark.parametrize("row", ACTIVATIONS.values(), ids=ACTIVATIONS)
precisions = pytest.mark.parametrize("dtype", PRECISIONS)
layouts = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)

PLANTED = dataclasses.replace(ACTIVATIONS["gelu_erf"], name="planted", value="0.5 * x * (1 + erf(0.7071 * x))")


def kernel(row: Operation, which: str, dtype: str, layout: Layout) -> Kernel:
    expression = row.value_expression if which == "value" else row.pullback_expression
    scalars = tuple(f"in_{name}" for name in row.parameter_names)
    return Kernel(elementwise_kernel(f"{row.name}_{which}", expression, np.dtype(dtype)), scalars, layout)


def gather(dtype: str) -> Kernel:
    return Kernel(gather_kernel(np.dtype(dtype)), ("width",), STRIDED)


def every_kernel() -> list[Kernel]:
    elementwise = [
        kernel(row, which, dtype, layout)
        for row in (*ACTIVATIONS.values(), PLANTED)
        for which in ("value", "gradient")
        for dtype in PRECISIONS
        for layout in LAYOUTS
    ]
    return [*elementwise, *(gather(dtype) for dtype in GATHERED)]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> HostLibrary:
    """All kernels in one library; without a compiler every test that asks for it fails and says so."""
    return HostLibrary(every_kernel(), tmp_path_factory.mktemp("kernels"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_kernel_compiles_for_the_device(architecture: str) -> None:
    kernels = every_kernel()
    binary = compile_cubin([k.source() for k in kernels], architecture)
    assert binary.startswith(b"\x7fELF")
    for k in kernels:
        assert f".text.{k.symbol}\0".encode() in binary, k.symbol


def test_a_fault_in_a_source_does_not_compile_for_the_device() -> None:
    source = kernel(ACTIVATIONS["tanh"], "value", "float32", CONTIGUOUS).source()
    with pytest.raises(Exception, match="tnh"):
        compile_cubin([source.replace("tanhf", "tnhf")], "90")


def run(host: HostLibrary, row: Operation, which: str, layout: Layout, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Run a kernel in place of its upstream or x, as the backend may."""
    dtype = arrays["x"].dtype
    expression = row.value_expression if which == "value" else row.pullback_expression
    shape = arrays["x"].shape if layout is CONTIGUOUS else (3, 5, arrays["x"].size // 15)
    wide = np.full((*shape[:-1], shape[-1] + 1), np.nan, dtype)
    out = wide[..., :-1] if layout is STRIDED else np.full(shape, np.nan, dtype)
    given = {name: a[: out.size].reshape(shape) if isinstance(a, np.ndarray) else a for name, a in arrays.items()}
    host.run(kernel(row, which, dtype.name, layout), [given[name] for name in expression.names], out)
    assert np.isnan(wide[..., -1]).all()
    return out.reshape(-1)


@rows
@precisions
@layouts
def test_kernels_compute_the_reference_on_the_host(
    host: HostLibrary, row: Operation, dtype: str, layout: Layout
) -> None:
    x = inputs(dtype)
    upstream = np.random.default_rng(1).normal(size=x.shape).astype(dtype)
    for parameters in parameter_sets(row):
        exact = {name: float(np.asarray(number, dtype)) for name, number in parameters.items()}
        wide = x.astype(np.float64)
        y = VALUES[row.name](wide, exact)
        a = run(host, row, "value", layout, {"x": x, **parameters})
        dz = run(host, row, "gradient", layout, {"x": x, "y": y.astype(dtype), "upstream": upstream, **parameters})
        slope = (upstream.astype(np.float64) * DERIVATIVES[row.name](wide, exact))[: dz.size]
        assert error(a, y[: a.size]) <= VALUE_GATE
        assert error(dz, slope) <= gradient_gate(row)
        if dtype == "float32":
            moderate = np.abs(wide[: a.size]) < 30.0
            assert norm_error(a[moderate], y[: a.size][moderate]) <= VALUE_NORM_GATE
            assert norm_error(dz, slope) <= GRADIENT_NORM_GATE


@layouts
def test_the_gates_catch_a_constant_with_four_digits(host: HostLibrary, layout: Layout) -> None:
    x = inputs("float32")
    a = run(host, PLANTED, "value", layout, {"x": x})
    assert error(a, VALUES["gelu_erf"](x[: a.size].astype(np.float64), {})) > 10.0 * VALUE_GATE


@rows
@precisions
def test_kernels_treat_nan_and_infinity_as_numpy_does(host: HostLibrary, row: Operation, dtype: str) -> None:
    from kernels.numpy_backend import NumpyBackend

    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e12, -1e12], dtype)
    expected, slope, upstream = np.empty_like(x), np.empty_like(x), np.full_like(x, -2.0)
    with np.errstate(all="ignore"):
        NumpyBackend().activate(row, x, row.defaults, expected)
        NumpyBackend().backpropagate(row, x, expected, upstream, row.defaults, slope)
    a = run(host, row, "value", CONTIGUOUS, {"x": x, **row.defaults})
    dz = run(host, row, "gradient", CONTIGUOUS, {"x": x, "y": expected, "upstream": upstream, **row.defaults})
    np.testing.assert_allclose(a, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(dz, slope, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", GATHERED)
def test_gather_copies_the_named_rows(host: HostLibrary, dtype: str) -> None:
    rng = np.random.default_rng(0)
    source = rng.normal(0.0, 1e6, (11, 7)).astype(dtype)
    indices = rng.integers(0, 11, (3, 6))
    out = np.full((3, 6, 8), -1, dtype)
    host.run(gather(dtype), [source, indices[..., None], 7], out[..., :-1])
    np.testing.assert_array_equal(out[..., :-1], source[indices])
    assert (out[..., -1] == -1).all()


def test_double_arithmetic_in_a_float_kernel_is_refused(tmp_path: Path) -> None:
    good = kernel(ACTIVATIONS["gelu"], "value", "float32", CONTIGUOUS)

    class Unsuffixed(Kernel):
        def source(self) -> str:
            return super().source().replace("0.5f", "0.5")

    with pytest.raises(RuntimeError, match=r"double-promotion|float-conversion"):
        HostLibrary([Unsuffixed(good.kernel, good.scalars, good.layout)], tmp_path)
