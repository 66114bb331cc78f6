"""The CPU: NumPy's BLAS for products, cached plans of ufuncs for everything elementwise."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np

from kernels.backend import Compiler, Recorder
from kernels.operations import Operation
from kernels.programs import Evaluator, Pool, bound_calls
from kernels.tape import Expression

Array = np.ndarray[Any, Any]

_FORWARD: Final = ("x",)
_BACKWARD: Final = ("x", "y", "upstream")


def _bind(operation: Operation, parameters: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple([(name, parameters[name]) for name in operation.parameter_names])


class NumpyBackend:
    """Backend on host memory; may be shared by threads, each of which has its own scratch."""

    name: Final = "numpy"
    device: Final = "cpu"
    compiler: Final[Compiler | None] = None
    recorder: Final[Recorder | None] = None

    def __init__(self) -> None:
        self._evaluator = Evaluator()

    @property
    def xp(self) -> ModuleType:
        """NumPy."""
        return np

    def address(self, array: Array) -> int:
        """See Backend."""
        return array.ctypes.data

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any] | type | str) -> Array:
        """See Backend."""
        return np.zeros(shape, dtype)

    def to_device(self, host: Array) -> Array:
        """See Backend."""
        return np.array(host, order="C", copy=True)

    def to_host(self, array: Array) -> Array:
        """See Backend; a copy, so that the caller may keep it while training goes on."""
        return np.array(array, order="C", copy=True)

    def matmul(self, a: Array, b: Array, out: Array) -> None:
        """See Backend. NumPy calls BLAS once per model, so a model's bits do not depend on M."""
        np.matmul(a, b, out=out)

    def activate(self, operation: Operation, z: Array, parameters: Mapping[str, float], out: Array) -> None:
        """See Backend."""
        self._evaluator.evaluate(operation.value_expression, _FORWARD, (z,), _bind(operation, parameters), out)

    def backpropagate(
        self, operation: Operation, z: Array, a: Array, upstream: Array, parameters: Mapping[str, float], out: Array
    ) -> None:
        """See Backend."""
        bound = _bind(operation, parameters)
        self._evaluator.evaluate(operation.pullback_expression, _BACKWARD, (z, a, upstream), bound, out)

    def bind(
        self, expression: Expression, arrays: Mapping[str, Array], parameters: Mapping[str, float], out: Array
    ) -> list[Callable[[], object]]:
        """See Backend."""
        return bound_calls(expression, arrays, parameters, out, Pool(out.dtype))

    def take_rows(self, source: Array, indices: Array, out: Array) -> None:
        """See Backend; `clip` spares NumPy the second buffer that its own bounds check needs."""
        np.take(source, indices, axis=0, out=out, mode="clip")

    def synchronize(self) -> None:
        """Nothing is ever pending on the CPU."""

    def free_bytes(self) -> int:
        """See Backend: what the kernel calls available, within the control group's limit."""
        return min(_available_bytes(), _control_group_bytes())

    def describe(self) -> dict[str, str]:
        """See Backend."""
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return {
            "backend": self.name,
            "device": self.device,
            "device_name": _processor_name(),
            "numpy": np.__version__,
            "blas": f"{blas['name']} {blas['version']}",
        }


def _available_bytes() -> int:
    try:
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux: take half of what is built in
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _control_group_bytes() -> int:
    """What a container may still take (cgroup v2), or a number beyond any machine where nothing limits it.

    File cache that can be dropped at once counts as free.
    """
    try:
        lines = Path("/proc/self/cgroup").read_text("ascii").splitlines()
        path = next(line[3:].strip("/") for line in lines if line.startswith("0::"))
        group = Path("/sys/fs/cgroup") / path
        limit = (group / "memory.max").read_text("ascii").strip()
        used = int((group / "memory.current").read_text("ascii"))
        statistics = dict(line.split() for line in (group / "memory.stat").read_text("ascii").splitlines())
    except (OSError, StopIteration):
        return 1 << 62
    return 1 << 62 if limit == "max" else max(0, int(limit) - used + int(statistics.get("inactive_file", 0)))


@lru_cache(maxsize=1)
def _processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
