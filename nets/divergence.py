"""Which tensor became non-finite first, and when: found by running the steps again from the last good state.

A run looks for non-finite numbers only between chunks of steps. Because a step is reproducible bit for bit
and does not depend on neighbours, a stack of one, started from the remembered state, meets the same
numbers again and may look at every tensor on the way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.backend import Backend
from kernels.errors import Diverged
from nets.engine import LayeredEngine
from nets.engines import engine_for
from nets.member import Member, State


@dataclass(frozen=True, eq=False)
class Divergence:
    """The error that names step and tensor, and the last parameters (P,) that were all finite."""

    error: Diverged
    parameters: NDArray[Any]


def find_divergence(member: Member, good: State, last_step: int, backend: Backend) -> Divergence:
    """Run one model from its last good state until a tensor is non-finite, at latest at `last_step`.

    Tensors are seen layer by layer. An engine that rounds otherwise first finds the step itself. Where the steps are
    all finite when they are run again, as on a device whose products depend on the stack, the run ends all the same:
    at its last step, in the loss, with the last state that was seen to be good.
    """
    fused = not isinstance(engine_for([replace(member, state=good)], backend), LayeredEngine)
    if fused:
        found = _last_finite(member, good, last_step, backend)
        if found is None:
            return Divergence(Diverged(last_step, "the loss"), good["parameters"])
        good, last_step = found, int(found["step"]) + 1
    engine = LayeredEngine([replace(member, state=good)], backend)
    while engine.steps()[0] < last_step:
        before = engine.state(0)["parameters"]
        for tensor, array in engine.trace_step():
            if not bool(backend.xp.isfinite(array).all()):
                return Divergence(Diverged(int(engine.steps()[0]), tensor), before)
    return Divergence(Diverged(last_step, "the loss"), good["parameters"])


def _last_finite(member: Member, good: State, last_step: int, backend: Backend) -> State | None:
    """The state before the first step whose loss or parameters are not finite, by the engine's own numbers, if any."""
    state, limit = good, last_step
    while int(state["step"]) < last_step:
        engine = engine_for([replace(member, state=state)], backend)
        steps = min(engine.max_chunk(), last_step - int(state["step"]), limit)
        engine.advance(steps)
        finite = np.isfinite(engine.drain()[:, 0])
        if finite.all() and engine.finite()[0]:
            state = engine.state(0)
        elif steps == 1:
            return state
        else:  # parameters spoil the loss one step later
            limit = max(1, (int(finite.argmin()) if not finite.all() else steps) - 1)
    return None
