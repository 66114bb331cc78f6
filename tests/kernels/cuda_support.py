"""The exact CUDA source of every kernel, compiled for a GPU without one, and run on the host.

The only place that touches private names of CuPy (14.2, pinned by the `dev` extra): the generator behind
ElementwiseKernel, and the NVRTC program that can produce a binary for an architecture that is not present.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cupy
import numpy as np
from cupy._core import _kernel, core
from cupy._core._carray import Indexer
from cupy._core._scalar import CScalar
from cupy.cuda import compiler
from cupy_backends.cuda.libs import nvrtc

from kernels.cupy_backend import NVRTC_OPTIONS
from tests.kernels.host_compiler import FLOAT_ALONE, LIBRARY, compile_for_host

Array = np.ndarray[Any, Any]

_ARRAY, _INDEXER, _SCALAR = 1, 2, 3
ARCHITECTURES = ("80", "90")
SHIM = Path(__file__).with_name("host_shim.hpp")
_C_NAMES = {"float32": "float", "float64": "double", "int64": "long long"}


@dataclass(frozen=True)
class Layout:
    """How CuPy sees the arrays: it merges the axes of contiguous ones and keeps those of strided ones."""

    name: str
    ndim: int
    contiguous: bool


CONTIGUOUS = Layout("contiguous", 1, True)
STRIDED = Layout("strided", 3, False)


@dataclass(frozen=True)
class Kernel:
    """An ElementwiseKernel with the kinds of its inputs; `raw` inputs are always contiguous."""

    kernel: Any
    scalars: tuple[str, ...]
    layout: Layout

    @property
    def parameters(self) -> list[Any]:
        return list(self.kernel.params)

    @property
    def symbol(self) -> str:
        return f"{self.kernel.name}_{self.layout.name}"

    def source(self) -> str:
        """The text that CuPy itself would hand to NVRTC, for this layout."""
        kernel = self.kernel
        types = [np.dtype(_dtype_of(p)) for p in kernel.params if p.name != "_ind"]
        inputs, outputs = tuple(types[: kernel.nin]), tuple(types[kernel.nin :])
        _, _, type_map = kernel._decide_params_type(inputs, outputs)
        infos = tuple(self._info(parameter) for parameter in kernel.params)
        code = _kernel._get_elementwise_kernel_code(
            infos, type_map, kernel.params, kernel.operation, self.symbol, kernel.preamble, **kernel.kwargs
        )
        return str(code)

    def _info(self, parameter: Any) -> Any:
        if parameter.name == "_ind":
            return _kernel._ArgInfo(_INDEXER, Indexer, None, self.layout.ndim, True, True)
        dtype = np.dtype(_dtype_of(parameter))
        if parameter.name in self.scalars:
            return _kernel._ArgInfo(_SCALAR, CScalar, dtype, 0, True, True)
        ndim = 1 if parameter.raw else self.layout.ndim
        return _kernel._ArgInfo(_ARRAY, cupy.ndarray, dtype, ndim, parameter.raw or self.layout.contiguous, True)


def _dtype_of(parameter: Any) -> str:
    return str(np.dtype(parameter.dtype).name)


def compile_cubin(sources: Sequence[str], architecture: str) -> bytes:
    """One binary of all sources for `sm_<architecture>`, by NVRTC with CuPy's own headers and options; no device."""
    headers = "".join(f"#include <{header}>\n" for header in core._cupy_header_list)
    options = (*core.assemble_cupy_compiler_options(()), f"-arch=sm_{architecture}")
    program = compiler._NVRTCProgram(headers + "\n".join(sources), "kernels.cu", method="cubin")
    binary, _mapping = program.compile((*options, "--device-as-default-execution-space"))
    return bytes(binary)


@dataclass(frozen=True)
class Resources:
    """What ptxas says of a kernel: registers of a thread, barriers, bytes of stack and of spilled registers."""

    registers: int
    barriers: int
    stack: int
    spilled: int
    static_shared: int


def compile_program(source: str, architecture: str) -> tuple[bytes, Resources]:
    """A whole program with one kernel, as `CudaCompiler` compiles it, and its resources.

    NVRTC hands `--ptxas-options=-v` to the ptxas inside it, whose report is then NVRTC's log: no other tool and no
    parsing of the binary is needed. Without this option the log of a faultless program is empty.
    """
    program = compiler._NVRTCProgram(source, "program.cu", method="cubin")
    binary, _mapping = program.compile((*NVRTC_OPTIONS, f"-arch=sm_{architecture}", "--ptxas-options=-v"))
    log = nvrtc.getProgramLog(program.ptr)
    assert log.count("Compiling entry function") == 1, log

    def found(pattern: str) -> int:
        match = re.search(pattern, log)
        return int(match[1]) if match else 0

    resources = Resources(
        registers=found(r"Used (\d+) registers"),
        barriers=found(r"used (\d+) barriers"),
        stack=found(r"(\d+) bytes stack frame"),
        spilled=found(r"(\d+) bytes spill stores") + found(r"(\d+) bytes spill loads"),
        static_shared=found(r"(\d+) bytes smem"),
    )
    assert resources.registers, log
    return bytes(binary), resources


def compile_ptx(source: str, architecture: str) -> str:
    """A whole program as virtual instructions, to look for what must not be in it."""
    program = compiler._NVRTCProgram(source, "program.cu", method="ptx")
    text, _mapping = program.compile((*NVRTC_OPTIONS, f"-arch=compute_{architecture}"))
    return text if isinstance(text, str) else text.decode()


class HostLibrary:
    """The same sources built by the host's compiler behind a shim of CUDA's names and run on NumPy arrays."""

    def __init__(self, kernels: Sequence[Kernel], folder: Path) -> None:
        text = "\n".join(['#include "host_shim.hpp"', *(k.source() + _driver(k) for k in kernels)])
        stem = folder / hashlib.sha256(text.encode()).hexdigest()[:16]
        stem.with_suffix(".cpp").write_text(text)
        files = ("-o", str(stem.with_suffix(".so")), str(stem.with_suffix(".cpp")))
        compile_for_host(*LIBRARY, *FLOAT_ALONE, f"-I{SHIM.parent}", *files)
        self._library = ctypes.CDLL(str(stem.with_suffix(".so")))

    def run(self, kernel: Kernel, arguments: Sequence[Array | float], out: Array) -> None:
        """Launch with 3 blocks of 32 threads; arrays are broadcast to `out`'s shape as CuPy does."""
        described: list[int] = []
        scalars: list[float] = []
        for parameter, value in zip(kernel.parameters, [*arguments, out], strict=False):
            if not isinstance(value, np.ndarray):
                scalars.append(float(value))
                continue
            array = value if parameter.raw else np.broadcast_to(value, out.shape)
            shape, strides = list(array.shape), list(array.strides)
            if kernel.layout.contiguous:
                assert array.flags.c_contiguous
                shape, strides = [array.size], [array.itemsize]
            described += [array.ctypes.data, *_padded(shape), *_padded(strides)]
        shape = [out.size] if kernel.layout.contiguous else list(out.shape)
        run = getattr(self._library, f"run_{kernel.symbol}")
        run(
            (ctypes.c_longlong * len(described))(*described),
            (ctypes.c_double * max(1, len(scalars)))(*scalars),
            (ctypes.c_longlong * 3)(*_padded(shape)),
        )


def _padded(values: Sequence[int]) -> list[int]:
    return [*values, *([0] * (3 - len(values)))]


def _driver(kernel: Kernel) -> str:
    """C that unpacks the description of the arguments and walks the grid."""
    arguments: list[str] = []
    arrays = scalars = 0
    for parameter in kernel.parameters:
        if parameter.name == "_ind":
            arguments.append(f"CIndexer<{kernel.layout.ndim}, 1>(shape)")
        elif parameter.name in kernel.scalars:
            arguments.append(f"static_cast<{_C_NAMES[_dtype_of(parameter)]}>(scalars[{scalars}])")
            scalars += 1
        else:
            ndim = 1 if parameter.raw else kernel.layout.ndim
            flat = int(parameter.raw or kernel.layout.contiguous)
            ctype = _C_NAMES[_dtype_of(parameter)]
            arguments.append(f"CArray<{ctype}, {ndim}, {flat}, 1>(arrays + {7 * arrays})")
            arrays += 1
    call = f"{kernel.symbol}({', '.join(arguments)});"
    head = (
        f'extern "C" void run_{kernel.symbol}(const long long* arrays, const double* scalars, const long long* shape)'
    )
    return f"\n{head} {{ (void)scalars; GRID({call}) }}\n"
