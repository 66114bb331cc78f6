"""Every product of many plans described to the real cuBLASLt, and read back; it needs the library, but no device."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from kernels import cublaslt
from kernels.cublaslt import CublasLt, Descriptors
from kernels.errors import RecordingFailed
from kernels.step_plan import Product
from kernels.tail_source import MAX_OUTPUTS
from nets.plans import plan_of
from nets.step_shape import shape_of
from tests.nets.persistent_parts import case
from tests.nets.support import blobs


@pytest.fixture(scope="module")
def library() -> CublasLt:
    try:
        return CublasLt()
    except RecordingFailed as error:
        pytest.skip(f"cuBLASLt does not load here: {error}")


def products(precision: str, models: int, hidden: list[int], batch: int, outputs: int) -> list[Product]:
    """Every product of one step."""
    table = blobs(400, 13, outputs)
    member = case("float32", table, hidden, training={"batch_size": batch, "precision": precision})
    shape = shape_of([member])
    assert shape is not None
    return [node for node in plan_of(shape, models, 4, (1,)).programs[0] if isinstance(node, Product)]


def read(library: CublasLt, kind: str, made: Any, attribute: int, number: Any) -> int:
    value, size = number(), ctypes.c_size_t()
    wanted = ctypes.c_size_t(ctypes.sizeof(value))
    library.call(f"cublasLt{kind}GetAttribute", made, attribute, ctypes.byref(value), wanted, ctypes.byref(size))
    assert size.value == ctypes.sizeof(value)
    return int(value.value)


TYPES = {"float32": (0, 0, 68), "float64": (1, 1, 70), "tf32": (0, 0, 77), "bfloat16": (14, 0, 68)}
"""CUDA_R_32F is 0, CUDA_R_64F 1, CUDA_R_16BF 14; the last number is the compute type."""


@pytest.mark.parametrize("precision", TYPES)
@pytest.mark.parametrize("models", [1, 7])
@pytest.mark.parametrize("outputs", [3, MAX_OUTPUTS + 1])
@pytest.mark.parametrize(("hidden", "batch"), [([], 16), ([8], 32), ([31, 8, 5], 17)])
def test_descriptors_hold_the_numbers_of_the_plan(
    library: CublasLt, precision: str, models: int, hidden: list[int], batch: int, outputs: int
) -> None:
    found = products(precision, models, hidden, batch, outputs)
    thin = outputs <= MAX_OUTPUTS and hidden  # the last layer has programs of our own
    assert len(found) == 3 * len(hidden) + (-1 if thin else 2)
    for product in found:
        with Descriptors(library, product) as made:
            matrices = zip((made.a, made.b, made.d), (product.a, product.b, product.d), strict=True)
            for layout, matrix in matrices:
                numbers = [
                    read(library, "MatrixLayout", layout, attribute, kind)
                    for attribute, kind in (
                        (cublaslt.ROWS, ctypes.c_uint64),
                        (cublaslt.COLUMNS, ctypes.c_uint64),
                        (cublaslt.LEADING, ctypes.c_int64),
                        (cublaslt.COUNT, ctypes.c_int32),
                        (cublaslt.STRIDE, ctypes.c_int64),
                        (cublaslt.TYPE, ctypes.c_uint32),
                    )
                ]
                kept = TYPES[precision][matrix is product.d]
                assert numbers == [matrix.rows, matrix.columns, matrix.leading, models, matrix.stride, kept]
            assert read(library, "MatmulDesc", made.operation, 0, ctypes.c_int32) == TYPES[precision][2]
            assert read(library, "MatmulDesc", made.operation, 1, ctypes.c_int32) == TYPES[precision][1]
            turned = [
                read(library, "MatmulDesc", made.operation, attribute, ctypes.c_int32)
                for attribute in (cublaslt.TRANSPOSE_A, cublaslt.TRANSPOSE_B)
            ]
            assert turned == [product.a.transposed, product.b.transposed]


def test_algorithms_may_count_on_no_more_than_the_plan_gives(library: CublasLt) -> None:
    """The default is 256 bytes, which hardly any matrix in a flat buffer of parameters has."""
    for precision, itemsize in (("float32", 4), ("float64", 8), ("bfloat16", 2)):
        for models in (1, 3):
            for product in products(precision, models, [31, 8], 16, MAX_OUTPUTS + 1):
                with Descriptors(library, product) as made:
                    for attribute, matrix in zip(
                        cublaslt.ALIGNMENTS, (product.a, product.b, product.d, product.d), strict=True
                    ):
                        aligned = read(library, "MatmulPreference", made.preference, attribute, ctypes.c_uint32)
                        size = 4 if matrix is product.d and precision == "bfloat16" else itemsize
                        begins = {(matrix.offset + model * matrix.stride) * size for model in range(models)}
                        assert all(begin % aligned == 0 for begin in begins)
                        assert aligned == 256 or any(begin % (2 * aligned) for begin in begins)


def test_a_wrong_number_is_refused_with_the_name_of_the_status(library: CublasLt) -> None:
    with pytest.raises(RecordingFailed, match="cublasLtMatmulDescSetAttribute: CUBLAS_STATUS_INVALID_VALUE"):
        library.call("cublasLtMatmulDescSetAttribute", ctypes.c_void_p(), 3, ctypes.c_void_p(), ctypes.c_size_t(4))


def test_without_a_device_a_session_says_why_it_cannot_begin(library: CublasLt) -> None:
    from kernels.cupy_backend import device_count

    if device_count():
        pytest.skip("there is a device")
    with pytest.raises(RecordingFailed, match="cublasLtCreate: CUBLAS_STATUS_NOT_INITIALIZED"):
        cublaslt.Session(library, 0, lambda: 0)
