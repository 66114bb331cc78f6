"""Which tensor became non-finite first, and when: found by running the steps again from the last good state.

A run looks for non-finite numbers only between chunks of steps. Because a step is reproducible bit for bit
and does not depend on neighbours, a stack of one, started from the remembered state, meets the same
numbers again and may look at every tensor on the way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from kernels.backend import Backend
from kernels.errors import Diverged
from nets.engine import LayeredEngine
from nets.member import Member, State


@dataclass(frozen=True, eq=False)
class Divergence:
    """The error that names step and tensor, and the last parameters (P,) that were all finite."""

    error: Diverged
    parameters: NDArray[Any]


def find_divergence(member: Member, good: State, last_step: int, backend: Backend) -> Divergence:
    """Run one model from its last good state until a tensor is non-finite, at latest at `last_step`."""
    engine = LayeredEngine([replace(member, state=good)], backend)
    while engine.steps()[0] < last_step:
        before = engine.state(0)["parameters"]
        for tensor, array in engine.trace_step():
            if not bool(backend.xp.isfinite(array).all()):
                return Divergence(Diverged(int(engine.steps()[0]), tensor), before)
    raise AssertionError(f"steps up to {last_step} are all finite: the run was not reproducible")
