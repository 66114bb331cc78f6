"""Compiles what jobs on the CPU will need, or loads what an earlier process compiled: `python -m nets.warm`.

Compiling takes a minute or two the first time on a machine and after every change of `kernels.compiled`; what was
compiled is kept on disk. A job that comes meanwhile waits for it: which engine runs a job never depends on timing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np

from kernels.numpy_backend import NumpyBackend
from nets.engines import engine_for, evaluator_for, may_compile, rows_for
from nets.member import Member
from nets.prepare import PreparedData
from nets.resolve import resolve
from nets.spec import TrainingSpec
from nets.table import Table

LOADED_S = 10.0
"""Loading takes a second or two; whoever takes longer waits for another process, which compiles."""


def warm(compiling: Callable[[], None] = lambda: None) -> None:
    """Train one step in each precision; calls `compiling`, perhaps twice, when that has to be compiled first.

    Where nothing may be compiled there is nothing to do: numba alone takes half a second to import.
    """
    if not may_compile():
        return
    late = threading.Timer(LOADED_S, compiling)
    late.daemon = True
    late.start()
    try:
        with _alone(), _watched(compiling):
            _train()
    finally:
        late.cancel()
        late.join()  # nothing is called any more


def _train() -> None:
    x, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
    info = Table.from_arrays(x, y, classes=["a", "b"]).info
    for precision in ("float32", "float64"):
        training = {"precision": precision, "batch_size": 2, "epochs": 2, "validation_fraction": 0.0}
        spec = resolve(TrainingSpec.parse({"net": {"hidden": [2]}, "training": training}), info)
        inputs = x.astype(precision)
        member = Member(spec, PreparedData(inputs, y, inputs[:0], y[:0], 2, 2, "classification"))
        backend = NumpyBackend()
        rows = rows_for([member], "train", backend)
        engine = engine_for([member], backend, rows)
        engine.advance(1)
        engine.finite()
        evaluator_for([member], backend, "train", rows).measure(engine.weights([0]), [0])


def _alone() -> AbstractContextManager[None]:
    """See `kernels.compiled.jit.alone`; without numba nothing is compiled."""
    try:
        from kernels.compiled.jit import alone
    except ImportError:
        return nullcontext()
    return alone()


@contextmanager
def _watched(compiling: Callable[[], None]) -> Iterator[None]:
    """Call `compiling` when numba has to compile its first function in here, and not to load it."""
    try:
        from numba.core import event
    except ImportError:
        yield
        return

    class First(event.Listener):
        told = False

        def on_start(self, _: object) -> None:
            if not self.told:
                self.told = True
                compiling()

        def on_end(self, _: object) -> None:
            """Nothing is of interest any more."""

    with event.install_listener("numba:compile", First()):
        yield


if __name__ == "__main__":
    warm()
