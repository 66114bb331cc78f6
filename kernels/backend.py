"""What a device must be able to do for a net, and the choice of one.

Axis legend: M models, B batch, I in, O out, F features, R rows. Arrays are NumPy's or CuPy's; everything
but `to_device`, `to_host` and `synchronize` only enqueues work on a device that has a queue.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from kernels.errors import InvalidInput
from kernels.operations import Operation
from kernels.tape import Expression

if TYPE_CHECKING:
    from kernels.step_plan import StepPlan

Array = Any
"""An array of the backend: numpy.ndarray or cupy.ndarray."""

_DEVICE: Final = re.compile(r"cuda:(\d{1,3})")


class Launch(Protocol):
    """A compiled kernel."""

    def __call__(self, blocks: int, threads: int, arguments: Sequence[Array | np.generic]) -> None:
        """Enqueue one launch; arguments are arrays of the backend and NumPy scalars, of the kernel's types."""


class Compiler(Protocol):
    """What makes kernels from CUDA source, on a device that runs them."""

    @property
    def shared_bytes(self) -> int:
        """Shared memory that one block may ask for, in bytes."""

    def compile(self, source: str, symbol: str, shared_bytes: int) -> Launch:
        """The kernel `symbol` of a program, every block of which gets `shared_bytes`; kept for the next call."""


class Recording(Protocol):
    """A step plan that is ready to run."""

    @property
    def buffers(self) -> Mapping[str, Array]:
        """The plan's buffers, flat; what nobody has written is undefined."""

    @property
    def details(self) -> Mapping[str, str]:
        """How it runs, for the job's record."""

    def play(self, program: int) -> None:
        """Enqueue one of the plan's programs."""


class Recorder(Protocol):
    """What records whole training steps, so that one call enqueues them."""

    def load(self, plan: StepPlan) -> Recording:
        """Buffers, and the programs recorded over them. Raises RecordingFailed, with the reason, where it cannot."""


class Backend(Protocol):
    """The operations that a net is made of; results land in the caller's buffers."""

    @property
    def name(self) -> str:
        """`numpy` or `cupy`."""

    @property
    def device(self) -> str:
        """`cpu` or `cuda:0`."""

    @property
    def xp(self) -> Any:
        """The array module, for what is not in a hot loop."""

    @property
    def compiler(self) -> Compiler | None:
        """What compiles CUDA source for this device; None where nothing can run it."""

    @property
    def recorder(self) -> Recorder | None:
        """What records steps on this device; None where nothing does."""

    def address(self, array: Array) -> int:
        """Where an array begins in the memory that kernels see; it must live for as long as they may run."""

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any] | type | str) -> Array:
        """A C-contiguous array of zeros on the device."""

    def to_device(self, host: np.ndarray[Any, Any]) -> Array:
        """A copy of `host` on the device (on the CPU: C-contiguous, never an alias)."""

    def to_host(self, array: Array) -> np.ndarray[Any, Any]:
        """A copy of `array` on the host. Waits for the device: the one synchronisation point."""

    def matmul(self, a: Array, b: Array, out: Array) -> None:
        """`out[m] = a[m] @ b[m]`: (M, i, k) @ (M, k, j) -> (M, i, j); `out` may be a slice of a wider buffer.

        On the CPU every product has the same bits whatever M is and whatever its neighbours hold.
        """

    def activate(self, operation: Operation, z: Array, parameters: Mapping[str, float], out: Array) -> None:
        """`out = f(z)`, any shape, float32 or float64; `parameters` names all of the row's; `out` may be `z`."""

    def backpropagate(
        self, operation: Operation, z: Array, a: Array, upstream: Array, parameters: Mapping[str, float], out: Array
    ) -> None:
        """`out = upstream * f'(z)` with `a = f(z)`; all of one shape and dtype; `out` may be `upstream`."""

    def bind(
        self, expression: Expression, arrays: Mapping[str, Array], parameters: Mapping[str, float], out: Array
    ) -> list[Callable[[], object]]:
        """Calls that set `out` to the expression of arrays of its shape and dtype; `out` may be one of them."""

    def take_rows(self, source: Array, indices: Array, out: Array) -> None:
        """`out[m, b] = source[indices[m, b]]`: source (R, F) C-contiguous, indices (M, B) int64 within 0..R-1
        (not checked), out (M, B, F)."""

    def synchronize(self) -> None:
        """Wait until all enqueued work is done."""

    def free_bytes(self) -> int:
        """Memory that a new run may still take on the device, in bytes."""

    def describe(self) -> dict[str, str]:
        """Names and versions that a job records: backend, device, libraries."""


def select(device: str) -> Backend:
    """The backend for `auto` (CUDA where there is a device, else the CPU), `cpu` or `cuda:N`.

    Raises InvalidInput at /training/device for any other name and for a CUDA device that is not there.
    """
    from kernels.numpy_backend import NumpyBackend

    if device == "cpu":
        return NumpyBackend()
    match = _DEVICE.fullmatch(device)
    if device != "auto" and match is None:
        raise InvalidInput.at("/training/device", f'is {device!r}; must be "auto", "cpu" or "cuda:N"')
    count = cuda_devices()
    if match is None and count == 0:
        return NumpyBackend()
    ordinal = int(match[1]) if match else 0
    if ordinal >= count:
        raise InvalidInput.at(
            "/training/device", f'is {device!r}, but {count} CUDA devices are usable here; "cpu" and "auto" always work'
        )
    from kernels.cupy_backend import CupyBackend

    return CupyBackend(ordinal)


def cuda_devices() -> int:
    """How many CUDA devices can be used: none without CuPy, which only the `gpu` extras install."""
    try:
        from kernels.cupy_backend import device_count
    except ImportError:
        return 0
    return device_count()
