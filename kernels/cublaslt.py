"""cuBLASLt by ctypes: matrix products that may be recorded in a CUDA graph, which CuPy's own may not.

Descriptors can be made without a driver; `Session`, which chooses algorithms and enqueues products, needs a device.
Constants and structures are those of cublasLt.h in CUDA 12.9.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from kernels.errors import RecordingFailed
from kernels.precisions import Arithmetic
from kernels.step_plan import Matrix, Product

WORKSPACE_BYTES: Final = 32 << 20
"""Scratch that products may use, one after another: what NVIDIA advises for Hopper."""

_R_32F, _R_64F, _R_16BF = 0, 1, 14
_COMPUTE_32F, _COMPUTE_64F, _COMPUTE_TF32 = 68, 70, 77
_KINDS: Final[dict[Arithmetic, tuple[int, int, int]]] = {
    "float32": (_R_32F, _R_32F, _COMPUTE_32F),
    "float64": (_R_64F, _R_64F, _COMPUTE_64F),
    "tf32": (_R_32F, _R_32F, _COMPUTE_TF32),
    "bfloat16": (_R_16BF, _R_32F, _COMPUTE_32F),
}
"""Type of the factors, type of the result and of the scale, type of the sums."""
_ITEMSIZE: Final = {_R_32F: 4, _R_64F: 8, _R_16BF: 2}

TRANSPOSE_A, TRANSPOSE_B = 3, 4
"""Attributes of an operation."""
TYPE, ROWS, COLUMNS, LEADING, COUNT, STRIDE = 0, 2, 3, 4, 5, 6
"""Attributes of a layout."""
MAX_WORKSPACE, ALIGNMENTS = 1, (5, 6, 7, 8)
"""Attributes of a preference: of a, b, c and d the bytes at whose multiples they begin."""


class Algorithm(ctypes.Structure):
    """cublasLtMatmulAlgo_t."""

    _fields_ = (("data", ctypes.c_uint64 * 8),)


class Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = (
        ("algorithm", Algorithm),
        ("workspace", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )


class CublasLt:
    """The shared library. Raises RecordingFailed where there is none."""

    def __init__(self) -> None:
        self._library = _load()
        self._library.cublasLtGetVersion.restype = ctypes.c_size_t
        self._library.cublasLtGetStatusName.restype = ctypes.c_char_p

    @property
    def version(self) -> str:
        """E.g. 12.9.3."""
        number = int(self._library.cublasLtGetVersion())
        return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"

    def call(self, function: str, *arguments: object) -> None:
        """Call a function of the library. Raises RecordingFailed with the name of its status."""
        status = getattr(self._library, function)(*arguments)
        if status:
            name = self._library.cublasLtGetStatusName(status)
            raise RecordingFailed(f"{function}: {name.decode() if name else status}")


def _load() -> ctypes.CDLL:
    """From NVIDIA's wheel, as CuPy finds its libraries, else from where the system keeps them."""
    tried = []
    for major in ("12", "13"):
        name = f"libcublasLt.so.{major}"
        for package in ("nvidia.cublas", f"nvidia.cu{major}"):
            for folder in _folders(package):
                if (folder / "lib" / name).exists():
                    return ctypes.CDLL(str(folder / "lib" / name))
        tried.append(name)
    for name in tried:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise RecordingFailed(f"none of {', '.join(tried)} is installed; the wheel nvidia-cublas-cu12 has the first")


def _folders(package: str) -> list[Path]:
    try:
        found = find_spec(package)
    except ModuleNotFoundError:
        return []
    return [] if found is None else [Path(one) for one in found.submodule_search_locations or ()]


class Descriptors:
    """What cuBLASLt is told of one product: operation, layouts, and what its algorithm may count on."""

    def __init__(self, library: CublasLt, product: Product) -> None:
        self._library = library
        factor, result, compute = _KINDS[product.arithmetic]
        self._made: list[tuple[str, ctypes.c_void_p]] = []
        self.operation = self._make("MatmulDesc", compute, result)
        self.a = self._layout(product.a, factor, product.models)
        self.b = self._layout(product.b, factor, product.models)
        self.d = self._layout(product.d, result, product.models)
        self.preference = self._make("MatmulPreference")
        self.scale_type = result
        for attribute, matrix in ((TRANSPOSE_A, product.a), (TRANSPOSE_B, product.b)):
            self._set("MatmulDesc", self.operation, attribute, ctypes.c_int32(matrix.transposed))
        self._set("MatmulPreference", self.preference, MAX_WORKSPACE, ctypes.c_uint64(WORKSPACE_BYTES))
        for attribute, matrix in zip(ALIGNMENTS, (product.a, product.b, product.d, product.d), strict=True):
            kept = result if matrix is product.d else factor
            aligned = matrix.alignment(_ITEMSIZE[kept], product.models)
            self._set("MatmulPreference", self.preference, attribute, ctypes.c_uint32(aligned))

    def _make(self, kind: str, *arguments: object) -> ctypes.c_void_p:
        made = ctypes.c_void_p()
        self._library.call(f"cublasLt{kind}Create", ctypes.byref(made), *arguments)
        self._made.append((kind, made))
        return made

    def _layout(self, matrix: Matrix, kept: int, models: int) -> ctypes.c_void_p:
        sizes = (ctypes.c_uint64(matrix.rows), ctypes.c_uint64(matrix.columns), ctypes.c_int64(matrix.leading))
        layout = self._make("MatrixLayout", kept, *sizes)
        self._set("MatrixLayout", layout, COUNT, ctypes.c_int32(models))
        self._set("MatrixLayout", layout, STRIDE, ctypes.c_int64(matrix.stride))
        return layout

    def _set(self, kind: str, made: ctypes.c_void_p, attribute: int, value: ctypes._SimpleCData[int]) -> None:
        size = ctypes.c_size_t(ctypes.sizeof(value))
        self._library.call(f"cublasLt{kind}SetAttribute", made, attribute, ctypes.byref(value), size)

    def close(self) -> None:
        """Give everything back."""
        while self._made:
            kind, made = self._made.pop()
            self._library.call(f"cublasLt{kind}Destroy", made)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Session:
    """Products on the present device, all in one workspace at `workspace`, on the stream that `stream` gives."""

    def __init__(self, library: CublasLt, workspace: int, stream: Callable[[], int]) -> None:
        self.library, self._workspace, self._stream = library, workspace, stream
        self._handle = ctypes.c_void_p()
        library.call("cublasLtCreate", ctypes.byref(self._handle))

    def choose(self, descriptors: Descriptors) -> Heuristic:
        """The library's first choice: it depends on the product and the device, so that runs can be repeated."""
        at, found, count = descriptors, Heuristic(), ctypes.c_int()
        layouts = (at.a, at.b, at.d, at.d)
        self.library.call(
            "cublasLtMatmulAlgoGetHeuristic",
            self._handle,
            at.operation,
            *layouts,
            at.preference,
            1,
            ctypes.byref(found),
            ctypes.byref(count),
        )
        if count.value < 1 or found.state:
            raise RecordingFailed("cuBLASLt has no algorithm for a product of this net")
        return found

    def bound(self, descriptors: Descriptors, a: int, b: int, d: int) -> Callable[[], None]:
        """A call that enqueues the product of matrices at these addresses; the descriptors stay in use."""
        at, chosen = descriptors, self.choose(descriptors)
        number = ctypes.c_double if at.scale_type == _R_64F else ctypes.c_float
        one, zero = number(1.0), number(0.0)
        places = [ctypes.c_void_p(address) for address in (a, b, d)]
        workspace, size = ctypes.c_void_p(self._workspace), ctypes.c_size_t(WORKSPACE_BYTES)

        def multiply() -> None:
            self.library.call(
                "cublasLtMatmul",
                self._handle,
                at.operation,
                ctypes.byref(one),
                places[0],
                at.a,
                places[1],
                at.b,
                ctypes.byref(zero),
                places[2],
                at.d,
                places[2],
                at.d,
                ctypes.byref(chosen.algorithm),
                workspace,
                size,
                ctypes.c_void_p(self._stream()),
            )

        return multiply
