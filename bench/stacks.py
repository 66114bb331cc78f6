"""`python -m bench.stacks`: what a step costs by its multiply-adds, and what stacks of several sizes gain.

What the constants of `nets.stacking` say can be held against it. 16 jobs of each shape train in stacks of 1, 2, 4, 8
and 16, in this process, compiled or (MLPQ_COMPILED=0) layer by layer.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

from bench.cpu.ours import Listener, Mlpq
from bench.cpu.workloads import WORKLOADS
from bench.harness import write_result
from nets.engines import COMPILED_VARIABLE
from nets.trainer import fit

JOBS = 16
EPOCHS = {"W1": 20, "W3": 5, "W4": 1}


def measure(name: str) -> dict[str, Any]:
    """Seconds of all jobs in stacks of each size, by the wall and by the processors."""
    w = replace(WORKLOADS[name], jobs=JOBS, epochs=EPOCHS[name])
    ours = Mlpq(w)
    members = [ours._member(seed, ours._resolve(rate, w.epochs)) for seed, rate in enumerate(w.learning_rates(), 1)]
    found: dict[str, Any] = {}
    for size in (16, 1, 2, 4, 8, 16):  # the first one warms
        start, cpu = time.perf_counter(), time.process_time()
        for first in range(0, JOBS, size):
            listener = Listener(size)
            fit(members[first : first + size], ours._backend, listener, listener)
        took, used = time.perf_counter() - start, time.process_time() - cpu
        found[f"stacks of {size}"] = {"seconds": round(took, 3), "cpu_s": round(used, 3)}
    work = w.batch_size * sum(i * o for i, o in pairwise(w.widths))
    alone = found["stacks of 1"]["cpu_s"] / w.steps
    return {"multiply_adds": work, "us_per_step_of_one_thread": round(1e6 * alone, 1), **found}


def main() -> None:
    engine = "layered" if os.environ.get(COMPILED_VARIABLE) == "0" else "compiled"
    figures = {name: measure(name) for name in EPOCHS}
    write_result(f"stacks_{engine}", "what stacks gain", "python -m bench.stacks", figures)


if __name__ == "__main__":
    main()
