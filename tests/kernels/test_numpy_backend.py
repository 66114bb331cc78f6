"""The CPU backend: results in the caller's buffers, any layout, any thread, nothing allocated once warm."""

from __future__ import annotations

import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from kernels.backend import Backend, select
from kernels.errors import InvalidInput
from kernels.numpy_backend import NumpyBackend
from kernels.operations import ACTIVATIONS, Operation
from kernels.programs import TILE

rows = pytest.mark.parametrize("row", ACTIVATIONS.values(), ids=ACTIVATIONS)


def both(backend: NumpyBackend, row: Operation, z: np.ndarray, upstream: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, dz = np.empty(z.shape, z.dtype), np.empty(z.shape, z.dtype)
    backend.activate(row, z, row.defaults, a)
    backend.backpropagate(row, z, a, upstream, row.defaults, dz)
    return a, dz


def draw(*shape: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 2.0, shape).astype(dtype)


def test_numpy_backend_is_a_backend() -> None:
    backend: Backend = NumpyBackend()
    assert (backend.name, backend.device) == ("numpy", "cpu")
    assert backend.xp is np
    backend.synchronize()


@rows
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_strided_slice_gives_the_bits_of_a_contiguous_array(row: Operation, dtype: str) -> None:
    backend = NumpyBackend()
    wide, wide_out, wide_up = (
        draw(3, 5, 8, dtype=dtype),
        np.full((3, 5, 8), 7.0, dtype),
        draw(3, 5, 8, dtype=dtype, seed=1),
    )
    z, out, upstream = wide[..., :-1], wide_out[..., :-1], wide_up[..., :-1]
    a, dz = both(backend, row, np.ascontiguousarray(z), np.ascontiguousarray(upstream))
    backend.activate(row, z, row.defaults, out)
    np.testing.assert_array_equal(out, a)
    backend.backpropagate(row, z, np.ascontiguousarray(out), upstream, row.defaults, out)
    np.testing.assert_array_equal(out, dz)
    assert (wide_out[..., -1] == 7.0).all()


@rows
def test_results_may_replace_their_inputs(row: Operation) -> None:
    backend = NumpyBackend()
    z, upstream = draw(2, 9, 7), draw(2, 9, 7, seed=1)
    a, dz = both(backend, row, z, upstream)
    backend.backpropagate(row, z, a, upstream, row.defaults, upstream)
    np.testing.assert_array_equal(upstream, dz)
    backend.activate(row, z, row.defaults, z)
    np.testing.assert_array_equal(z, a)


@rows
@pytest.mark.parametrize(
    "shape", [(1, 1, TILE + 1), (2, 3, TILE // 2 + 1), (3, TILE // 8 + 3, 5), (TILE * 2 + 5,), (3, 2, TILE + 1)]
)
def test_tiling_changes_no_bit(row: Operation, shape: tuple[int, ...]) -> None:
    backend = NumpyBackend()
    z = np.resize(draw(10_007), shape)
    upstream = np.resize(draw(10_007, seed=1), shape)
    small_a, small_dz = both(backend, row, draw(10_007), draw(10_007, seed=1))
    a, dz = both(backend, row, z, upstream)
    np.testing.assert_array_equal(a, np.resize(small_a, shape))
    np.testing.assert_array_equal(dz, np.resize(small_dz, shape))
    if len(shape) == 3:
        out = np.zeros((*shape[:2], shape[2] + 1), z.dtype)
        backend.activate(row, z, row.defaults, out[..., :-1])
        np.testing.assert_array_equal(out[..., :-1], a)
        assert not out[..., -1].any()


@rows
def test_a_model_has_the_same_bits_alone_and_among_others(row: Operation) -> None:
    backend = NumpyBackend()
    z, upstream = draw(5, 17, 13), draw(5, 17, 13, seed=1)
    z[1], upstream[3] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        a, dz = both(backend, row, z, upstream)
    for m in (0, 2, 4):
        alone = both(backend, row, z[m : m + 1], upstream[m : m + 1])
        np.testing.assert_array_equal(a[m], alone[0][0])
        np.testing.assert_array_equal(dz[m], alone[1][0])


def test_parameters_and_dtypes_do_not_share_a_plan() -> None:
    backend, row = NumpyBackend(), ACTIVATIONS["leaky_relu"]
    for dtype in ("float32", "float64"):
        for alpha in (0.1, 0.2):
            out = np.empty(1, dtype)
            backend.activate(row, np.array([-1.0], dtype), {"alpha": alpha}, out)
            assert out[0] == -np.asarray(alpha, dtype)


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(TypeError, match="float16"):
        NumpyBackend().activate(ACTIVATIONS["relu"], np.ones(3, np.float16), {}, np.ones(3, np.float16))


def test_more_shapes_than_are_kept_still_work() -> None:
    backend, row = NumpyBackend(), ACTIVATIONS["elu"]
    for size in [*range(1, 700), 5]:
        out = np.empty(size, np.float32)
        backend.activate(row, np.full(size, -np.inf, np.float32), row.defaults, out)
        assert (out == -1.0).all()


@rows
def test_a_warm_call_allocates_no_array(row: Operation) -> None:
    """What remains are NumPy's own buffers of 8192 numbers for strided operands, whatever the arrays' size."""
    backend = NumpyBackend()
    z, a, upstream = draw(2, 256, 250), draw(2, 256, 250), draw(2, 256, 250)
    out = np.zeros((2, 256, 251), np.float32)[..., :-1]

    def call() -> None:
        backend.activate(row, z, row.defaults, a)
        backend.backpropagate(row, z, a, upstream, row.defaults, out)

    call()
    tracemalloc.start()
    try:
        call()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * np.getbufsize() * z.itemsize < z.nbytes / 4, f"{peak} bytes for arrays of {z.nbytes}"


def test_threads_share_a_backend_without_disturbing_each_other() -> None:
    backend = NumpyBackend()
    wrong: list[str] = []

    def work(seed: int) -> None:
        for turn, row in enumerate([*ACTIVATIONS.values()] * 6):
            z, upstream = draw(1, 40, 50, seed=seed + turn), draw(1, 40, 50, seed=seed)
            expected = both(NumpyBackend(), row, z, upstream)
            if not all(map(np.array_equal, both(backend, row, z, upstream), expected)):
                wrong.append(row.name)

    threads = [threading.Thread(target=work, args=(1000 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("index_dtype", ["int64", "int32"])
def test_take_rows_gathers_the_named_rows(index_dtype: str) -> None:
    backend = NumpyBackend()
    source = draw(11, 4)
    indices = np.random.default_rng(0).integers(0, 11, (3, 6)).astype(index_dtype)
    out = np.empty((3, 6, 4), np.float32)
    backend.take_rows(source, indices, out)
    np.testing.assert_array_equal(out, source[indices])


def test_copies_to_and_from_the_device_are_independent() -> None:
    backend = NumpyBackend()
    host = np.asfortranarray(draw(3, 4))
    device = backend.to_device(host)
    back = backend.to_host(device)
    assert device.flags.c_contiguous
    host[:] = 0.0
    device[:] = 1.0
    assert not (back == 0.0).any()
    assert not (back == 1.0).any()
    zeros = backend.zeros((2, 3), "float64")
    assert zeros.dtype == np.float64
    assert not zeros.any()


def test_a_job_can_record_where_it_ran() -> None:
    backend = NumpyBackend()
    about = backend.describe()
    assert about["backend"] == "numpy"
    assert about["numpy"] == np.__version__
    assert all(about.values())
    assert 2**20 < backend.free_bytes() < 2**50


def test_cpu_is_selected_by_name_and_anything_unknown_refused() -> None:
    assert select("cpu").device == "cpu"
    for name in ("gpu", "cuda", "cuda:-1", "cuda:1000", "CPU", ""):
        with pytest.raises(InvalidInput) as refusal:
            select(name)
        assert refusal.value.errors[0].pointer == "/training/device"
        assert repr(name) in refusal.value.errors[0].detail


def test_a_cuda_device_that_is_not_there_is_refused_and_auto_falls_back() -> None:
    from kernels.cupy_backend import device_count

    with pytest.raises(InvalidInput, match="/training/device"):
        select(f"cuda:{device_count()}")
    assert select("auto").device == ("cuda:0" if device_count() else "cpu")


IMPORTS = "import sys; from kernels.backend import select; backend = select('cpu'); import kernels.operations"


def python(program: str) -> None:
    """Run a program in a fresh interpreter at the repository's root; its failure fails the test."""
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=root, check=True, timeout=60)


def test_the_cpu_needs_neither_cupy_nor_scipy() -> None:
    python(f"{IMPORTS}; assert not {{'cupy', 'scipy'}} & set(sys.modules), sorted(sys.modules)")


def test_without_cupy_auto_is_the_cpu_and_cuda_is_refused() -> None:
    python(
        "import sys; sys.modules['cupy'] = None\n"
        "from kernels.backend import select\n"
        "from kernels.errors import InvalidInput\n"
        "assert select('auto').device == 'cpu'\n"
        "try: select('cuda:0')\n"
        "except InvalidInput as refusal: assert refusal.errors[0].pointer == '/training/device'\n"
        "else: raise AssertionError('cuda:0 was selected')\n"
    )
