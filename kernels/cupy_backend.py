"""One CUDA device through CuPy: a fused elementwise kernel per operation and precision, cuBLAS for products.

CuPy is imported when this module is, which only `backend.select` does. Kernels are compiled on first use and kept;
CuPy also keeps the binaries on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any, Final

import cupy
import numpy as np

from kernels.backend import Launch
from kernels.c_source import Real, assignments
from kernels.cupy_recorder import CudaRecorder
from kernels.operations import Operation
from kernels.tape import Expression

_REAL: Final[dict[str, Real]] = {"f": "float", "d": "double"}
_MAX_KERNELS: Final = 512
NVRTC_OPTIONS: Final = ("--std=c++17",)
"""How whole programs are compiled; nothing trades accuracy for speed."""


def device_count() -> int:
    """CUDA devices that can be used here: 0 without a driver."""
    try:
        return int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError:
        return 0


def elementwise_kernel(name: str, expression: Expression, dtype: np.dtype[Any]) -> Any:
    """The ElementwiseKernel of a tape, over exactly the inputs that the tape reads, in the tape's order.

    Inputs are arrays of any one shape or, as parameters, scalars; the output may be an input.
    """
    inputs = ", ".join(f"{dtype.name} in_{input_name}" for input_name in expression.names)
    source = assignments(expression, _REAL[dtype.char], "out")
    return cupy.ElementwiseKernel(inputs, f"{dtype.name} out", source, f"{name}_{dtype.name}")


def gather_kernel(dtype: np.dtype[Any]) -> Any:
    """`out[m, b, f] = source[row[m, b, 0], f]`; `row` is broadcast along f, `width` is the row length."""
    return cupy.ElementwiseKernel(
        f"raw {dtype.name} source, int64 row, int64 width",
        f"{dtype.name} out",
        "out = source[row * width + i % width]",
        f"take_rows_{dtype.name}",
    )


class CudaCompiler:
    """Programs for one device, compiled by NVRTC once and kept in memory; CuPy also keeps them on disk."""

    def __init__(self, device: Any) -> None:
        self._shared_bytes = int(device.attributes["MaxSharedMemoryPerBlockOptin"])
        self._launches: dict[tuple[str, str, int], Launch] = {}

    @property
    def shared_bytes(self) -> int:
        """See Compiler."""
        return self._shared_bytes

    def compile(self, source: str, symbol: str, shared_bytes: int) -> Launch:
        """See Compiler."""
        key = (source, symbol, shared_bytes)
        if key not in self._launches:
            if len(self._launches) >= _MAX_KERNELS:
                self._launches.clear()
            self._launches[key] = self._build(source, symbol, shared_bytes)
        return self._launches[key]

    def _build(self, source: str, symbol: str, shared_bytes: int) -> Launch:
        function = cupy.RawModule(code=source, options=NVRTC_OPTIONS).get_function(symbol)
        function.max_dynamic_shared_size_bytes = shared_bytes

        def launch(blocks: int, threads: int, arguments: Sequence[Any]) -> None:
            function((blocks,), (threads,), tuple(arguments), shared_mem=shared_bytes)

        return launch


class CupyBackend:
    """Backend on one CUDA device; every method enqueues on the device's current stream."""

    name: Final = "cupy"

    def __init__(self, ordinal: int = 0) -> None:
        self._device = cupy.cuda.Device(ordinal)
        self._device.use()
        self._kernels: dict[tuple[Any, str], Any] = {}
        self._compiler = CudaCompiler(self._device)
        self._recorder = CudaRecorder(self._compiler)

    @property
    def device(self) -> str:
        """`cuda:N`."""
        return f"cuda:{self._device.id}"

    @property
    def xp(self) -> ModuleType:
        """CuPy."""
        return cupy  # type: ignore[no-any-return]

    @property
    def compiler(self) -> CudaCompiler:
        """NVRTC."""
        return self._compiler

    @property
    def recorder(self) -> CudaRecorder:
        """CUDA graphs."""
        return self._recorder

    def address(self, array: Any) -> int:
        """See Backend."""
        return int(array.data.ptr)

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any] | type | str) -> Any:
        """See Backend."""
        return cupy.zeros(shape, dtype)

    def to_device(self, host: np.ndarray[Any, Any]) -> Any:
        """See Backend."""
        return cupy.array(host, order="C")

    def to_host(self, array: Any) -> np.ndarray[Any, Any]:
        """See Backend: waits for the device. The only place where values come back."""
        return cupy.asnumpy(array)  # type: ignore[no-any-return]

    def matmul(self, a: Any, b: Any, out: Any) -> None:
        """See Backend. One strided-batched cuBLAS call for the whole stack."""
        cupy.matmul(a, b, out=out)

    def activate(self, operation: Operation, z: Any, parameters: Mapping[str, float], out: Any) -> None:
        """See Backend."""
        self._launch(f"{operation.name}_value", operation.value_expression, {"x": z}, parameters, out)

    def backpropagate(
        self, operation: Operation, z: Any, a: Any, upstream: Any, parameters: Mapping[str, float], out: Any
    ) -> None:
        """See Backend: one kernel, which reads only those of z and a that the derivative needs."""
        arrays = {"x": z, "y": a, "upstream": upstream}
        self._launch(f"{operation.name}_gradient", operation.pullback_expression, arrays, parameters, out)

    def bind(
        self, expression: Expression, arrays: Mapping[str, Any], parameters: Mapping[str, float], out: Any
    ) -> list[Callable[[], object]]:
        """See Backend: one kernel."""
        return [partial(self._launch, "bound", expression, arrays, parameters, out)]

    def take_rows(self, source: Any, indices: Any, out: Any) -> None:
        """See Backend."""
        key = ("take_rows", out.dtype.char)
        if key not in self._kernels:
            self._kernels[key] = gather_kernel(out.dtype)
        self._kernels[key](source, indices[..., None], source.shape[1], out)

    def _launch(
        self, name: str, expression: Expression, arrays: Mapping[str, Any], parameters: Mapping[str, float], out: Any
    ) -> None:
        key = (expression, out.dtype.char)
        kernel = self._kernels.get(key)
        if kernel is None:
            if len(self._kernels) >= _MAX_KERNELS:
                self._kernels.clear()
            kernel = self._kernels[key] = elementwise_kernel(name, expression, out.dtype)
        kernel(*(arrays[n] if n in arrays else parameters[n] for n in expression.names), out)

    def synchronize(self) -> None:
        """See Backend."""
        cupy.cuda.get_current_stream().synchronize()

    def free_bytes(self) -> int:
        """See Backend: what the driver has left plus what CuPy's pool holds unused."""
        free, _total = self._device.mem_info
        return int(free) + int(cupy.get_default_memory_pool().free_bytes())

    def describe(self) -> dict[str, str]:
        """See Backend."""
        properties = cupy.cuda.runtime.getDeviceProperties(self._device.id)
        return {
            "backend": self.name,
            "device": self.device,
            "device_name": properties["name"].decode(),
            "compute_capability": self._device.compute_capability,
            "cupy": cupy.__version__,
            "cuda_driver": str(cupy.cuda.runtime.driverGetVersion()),
            "cuda_runtime": str(cupy.cuda.runtime.runtimeGetVersion()),
        }
