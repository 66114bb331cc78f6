"""One launch instead of a dozen: losses and updates as programs, where the backend compiles them.

On a backend without a compiler the tapes of `losses` and `optimizers` are used as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from kernels.backend import Backend, Launch
from kernels.c_source import Real
from kernels.fused_source import (
    LOSS_SYMBOL,
    THREADS,
    UPDATE_SYMBOL,
    LossProgram,
    loss_program,
    loss_source,
    update_source,
)
from nets.losses import Arrays, Loss
from nets.optimizers import Update, bind_in_blocks
from nets.options import Value, number
from nets.tape import Array, Tape

MAX_BLOCKS: Final = 4096
_REAL: Final[dict[str, Real]] = {"f": "float", "d": "double"}


def program_of(loss: Loss, options: Mapping[str, Value]) -> LossProgram | None:
    """The loss in kernels, with all of its options; None where only its tape has them."""
    chosen = {name: value for name, value in options.items() if name != "reduction"}
    if any(isinstance(value, str) for value in chosen.values()):
        return None
    return loss_program(loss.name, loss.pointwise, {name: number(chosen, name) for name in chosen})


def bind_loss(loss: Loss, backend: Backend, at: Arrays, options: Mapping[str, Value]) -> Tape:
    """The tape of a loss over its arrays: one launch, or what the loss itself binds."""
    program = program_of(loss, options)
    if backend.compiler is None or program is None:
        return loss.bind(backend, at, options)
    models, count, batch = at.scores.shape
    launch = backend.compiler.compile(loss_source(program, real_of(at.scores.dtype)), LOSS_SYMBOL, 0)
    sizes = (np.int32(models), np.int32(count), np.int32(batch))
    arguments = (*sizes, at.scores, at.targets, at.weights, _row_stride(at.weights), at.records)
    return [bound(launch, models * batch, arguments)]


def bind_update(backend: Backend, at: Update) -> Tape:
    """The tape of one update over the whole buffer: one launch, or calls of NumPy."""
    if backend.compiler is None:
        return bind_in_blocks(at)
    text = update_source(at.rule, real_of(at.parameters.dtype))
    launch = backend.compiler.compile(text, UPDATE_SYMBOL, 0)
    size = at.parameters.size
    sizes = (np.int64(size), np.int64(at.parameters.shape[1]), np.int32(at.decay is not None))
    decay = at.gradient if at.decay is None else at.decay
    arrays = (at.parameters, at.gradient, decay, *(at.slots[name] for name in at.rule.slots))
    columns = [part for column in (*at.rates, *at.hyper) for part in (column, _row_stride(column))]
    return [bound(launch, size, (*sizes, *arrays, *columns))]


def _row_stride(array: Array) -> np.int32:
    return np.int32(array.strides[0] // array.itemsize)


def real_of(dtype: np.dtype[Any]) -> Real:
    """C's name of float32 or float64."""
    return _REAL[dtype.char]


def bound(launch: Launch, size: int, arguments: Sequence[Any]) -> partial[None]:
    """One launch with enough threads for `size` numbers."""
    return partial(launch, min(MAX_BLOCKS, -(-size // THREADS)), THREADS, arguments)
