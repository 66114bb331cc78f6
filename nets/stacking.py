"""Which jobs may train in one stack, told before any of them trains, and what their training costs.

The cost rule, from bench/results/cpu.json and single runs (float32, one thread of an AMD EPYC, steps with their share
of validation and Python; `python -m bench.stacks` measures it again): 15 us for 2-16-16-3 and 32 rows (10 752
multiply-adds forward), 74 us for 64-128-10 and 64 rows (606 208), 3 ms for 784-256-128-10 and 128 rows (30 million).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from nets.optimizers import OPTIMIZERS
from nets.parts import Sizes
from nets.resolve import input_count, layout_of, memory_estimate_bytes, stack_key
from nets.spec import ResolvedSpec
from nets.table import TableInfo

STEP_S: Final = 13e-6
"""Seconds of a step beside its products, on one thread of a CPU."""
MULTIPLY_S: Final = 1e-10
"""Seconds of a step for each multiply-add of its forward pass."""
JOB_S: Final = 8e-3
"""Seconds of a job beside its steps: its data are prepared, its result is measured and published."""
LARGE_STEP: Final = 4_000_000
"""Multiply-adds of a forward pass from which on one model's step is worth several threads: a stack gains nothing."""
LAYERED_GAIN: Final = 1.7
"""What stacks of 8 small nets gain where NumPy trains them layer by layer, on one thread."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a planner needs to know of a job: those with equal `key` may train together.

    `bytes` on the device, `steps` of the whole run, `work` of a step in multiply-adds of its forward pass.
    """

    key: str
    bytes: int
    steps: int
    work: int


def shape_of(resolved: ResolvedSpec, about: TableInfo, sizes: Sizes) -> Shape | None:
    """The shape of a job; None for one that trains alone.

    So does one with folds, which is a stack already, one whose time is limited by the clock, and a random search.
    """
    training = resolved.training
    if training.folds or training.max_runtime_s is not None or OPTIMIZERS[resolved.optimizer.name].searches:
        return None
    n_inputs = input_count(resolved.features, about)
    widths = layout_of(resolved, n_inputs, about.n_outputs).widths
    # beside what `fit` demands: which engine runs a stack on a GPU depends on clipping
    engine = (sizes.val > 0, training.clip_norm is not None)
    agreed = (stack_key(resolved, n_inputs, about.n_outputs, about.task), engine)
    return Shape(
        hashlib.sha256(repr(agreed).encode()).hexdigest()[:16],
        memory_estimate_bytes(resolved, about, sizes.train + sizes.val),
        -(-sizes.train // training.batch_size) * training.epochs,
        training.batch_size * sum(i * o for i, o in pairwise(widths)),
    )


def seconds_of(steps: int, work: int) -> float:
    """How long a run takes that has a thread of a CPU for itself."""
    return JOB_S + steps * (STEP_S + work * MULTIPLY_S)


def gains(steps: int, work: int, lanes: float) -> bool:
    """Whether a job trains better in a stack: models step side by side, or its steps are short beside all the rest."""
    return lanes > 1.0 or seconds_of(steps, work) < 2 * JOB_S
