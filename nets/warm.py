"""Compiles what jobs on the CPU will need, or loads what an earlier process compiled: `python -m nets.warm`.

Compiling takes up to a minute the first time on a machine and after every change of `kernels.compiled`; what was
compiled is kept on disk. A job that comes meanwhile waits for it: which engine runs a job never depends on timing.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Final

import numpy as np

from kernels.numpy_backend import NumpyBackend
from nets.engines import engine_for, evaluator_for, pool_for
from nets.member import Member
from nets.prepare import PreparedData
from nets.resolve import resolve
from nets.spec import TrainingSpec
from nets.table import Table

PRECISIONS: Final = ("float32", "float64")


def warm(precisions: Sequence[str] = PRECISIONS) -> None:
    """Train one step in each precision."""
    x, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
    info = Table.from_arrays(x, y, classes=["a", "b"]).info
    for precision in precisions:
        training = {"precision": precision, "batch_size": 2, "epochs": 2, "validation_fraction": 0.0}
        spec = resolve(TrainingSpec.parse({"net": {"hidden": [2]}, "training": training}), info)
        inputs = x.astype(precision)
        member = Member(spec, PreparedData(inputs, y, inputs[:0], y[:0], 2, 2, "classification"))
        backend = NumpyBackend()
        pool = pool_for([member], "train", backend)
        engine = engine_for([member], backend, pool)
        engine.advance(1)
        engine.finite()
        evaluator_for([member], backend, "train", pool).measure(engine.parameters(), [0])


def main() -> None:
    """Compile each precision in a process of its own, then see that all is there."""
    asked = sys.argv[1:]
    if not asked:
        processes = [subprocess.Popen([sys.executable, "-m", "nets.warm", precision]) for precision in PRECISIONS]
        for process in processes:
            process.wait()
    warm(asked or PRECISIONS)


if __name__ == "__main__":
    main()
