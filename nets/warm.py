"""Compiles what jobs on the CPU will need, or loads what an earlier process compiled: `python -m nets.warm`.

Compiling takes up to a minute the first time on a machine and after every change of `kernels.compiled`; what was
compiled is kept on disk. A job that comes meanwhile waits for it: which engine runs a job never depends on timing.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np

from kernels.numpy_backend import NumpyBackend
from nets.engines import engine_for, evaluator_for, pool_for
from nets.member import Member
from nets.prepare import PreparedData
from nets.resolve import resolve
from nets.spec import TrainingSpec
from nets.table import Table


def warm() -> None:
    """Train one step in each precision."""
    with _alone():
        _train()


def _train() -> None:
    x, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
    info = Table.from_arrays(x, y, classes=["a", "b"]).info
    for precision in ("float32", "float64"):
        training = {"precision": precision, "batch_size": 2, "epochs": 2, "validation_fraction": 0.0}
        spec = resolve(TrainingSpec.parse({"net": {"hidden": [2]}, "training": training}), info)
        inputs = x.astype(precision)
        member = Member(spec, PreparedData(inputs, y, inputs[:0], y[:0], 2, 2, "classification"))
        backend = NumpyBackend()
        pool = pool_for([member], "train", backend)
        engine = engine_for([member], backend, pool)
        engine.advance(1)
        engine.finite()
        evaluator_for([member], backend, "train", pool).measure(engine.weights([0]), [0])


def _alone() -> AbstractContextManager[None]:
    """See `kernels.compiled.jit.alone`; without numba nothing is compiled."""
    try:
        from kernels.compiled.jit import alone
    except ImportError:
        return nullcontext()
    return alone()


if __name__ == "__main__":
    warm()
