"""Clipping by norm: a gradient longer than its limit is shortened to it, before the penalty on weights is added.

Axis legend: M models, P parameters of one model. Pascanu, Mikolov & Bengio 2013, algorithm 1, over the whole model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernels.backend import Backend
from nets.tape import Array, Tape, call


def bind_clipping(backend: Backend, limits: Sequence[float | None], gradient: Array) -> Tape:
    """gradient (M, P) *= min(1, limit / ‖gradient‖), with one limit for each model; nothing where no model has one.

    The norm is that of gradient / largest, whose squares neither overflow nor vanish. A model without a limit is
    multiplied by exactly 1, so that its bits do not depend on its neighbours'.
    """
    tape: Tape = []
    if all(limit is None for limit in limits):
        return tape
    xp, dtype = backend.xp, gradient.dtype
    given = np.array([np.inf if limit is None else limit for limit in limits], np.float64)
    scratch = backend.zeros(gradient.shape, dtype)
    limit = backend.to_device(given.astype(dtype)[:, None])
    largest, factor = backend.zeros(limit.shape, dtype), backend.zeros(limit.shape, dtype)
    call(tape, xp.abs, gradient, out=scratch)
    call(tape, scratch.max, axis=1, out=largest, keepdims=True)
    call(tape, xp.maximum, largest, np.finfo(dtype).tiny, out=largest)
    call(tape, xp.divide, gradient, largest, out=scratch)
    call(tape, xp.multiply, scratch, scratch, out=scratch)
    call(tape, scratch.sum, axis=1, out=factor, keepdims=True)
    call(tape, xp.sqrt, factor, out=factor)  # ‖gradient‖ / largest
    call(tape, xp.divide, limit, largest, out=largest)
    call(tape, xp.divide, largest, factor, out=factor)
    call(tape, xp.minimum, factor, 1, out=factor)
    call(tape, xp.multiply, gradient, factor, out=gradient)
    return tape
