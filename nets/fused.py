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
from kernels.fused_source import LOSS_SYMBOL, LOSSES, THREADS, UPDATE_SYMBOL, loss_source, update_source
from kernels.updates import UpdateRule, rule_for
from nets.losses import Arrays, Loss
from nets.optimizers import Optimizer, Update, bind_in_blocks
from nets.options import Value, number
from nets.tape import Array, Tape

MAX_BLOCKS: Final = 4096
_REAL: Final[dict[str, Real]] = {"f": "float", "d": "double"}


def knows_loss(name: str, options: Mapping[str, Value]) -> bool:
    """True if the programs have the loss with all of its options."""
    return name in LOSSES and set(options) <= {LOSSES[name][1], "reduction"}


def loss_option(name: str, options: Mapping[str, Value]) -> float:
    """The one number that a loss's program takes; 0 where it takes none."""
    option = LOSSES[name][1]
    return number(options, option) if option in options and option is not None else 0.0


def bind_loss(loss: Loss, backend: Backend, at: Arrays, options: Mapping[str, Value]) -> Tape:
    """The tape of a loss over its arrays: one launch, or what the loss itself binds."""
    if backend.compiler is None or not knows_loss(loss.name, options):
        return loss.bind(backend, at, options)
    models, count, batch = at.scores.shape
    text = loss_source(loss.name, loss_option(loss.name, options), real_of(at.scores.dtype))
    launch = backend.compiler.compile(text, LOSS_SYMBOL, 0)
    sizes = (np.int32(models), np.int32(count), np.int32(batch))
    arguments = (*sizes, at.scores, at.targets, at.weights, _row_stride(at.weights), at.records)
    return [bound(launch, models * batch, arguments)]


def bind_update(optimizer: Optimizer, backend: Backend, at: Update) -> Tape:
    """The tape of one update over the whole buffer: one launch, or what the optimizer itself binds."""
    rule = rule_for(optimizer.name, nesterov=at.flags.get("nesterov", False))
    if backend.compiler is None or rule is None:
        return bind_in_blocks(optimizer, backend, at)
    text = update_source(rule, real_of(at.parameters.dtype))
    launch = backend.compiler.compile(text, UPDATE_SYMBOL, 0)
    size = at.parameters.size
    sizes = (np.int64(size), np.int32(at.parameters.shape[1]), np.int32(at.decay is not None))
    decay = at.gradient if at.decay is None else at.decay
    arrays = (at.parameters, at.gradient, decay, *(at.slots[name] for name in rule.slots))
    return [bound(launch, size, (*sizes, *arrays, *_columns(optimizer, rule, at)))]


def _columns(optimizer: Optimizer, rule: UpdateRule, at: Update) -> list[Any]:
    """The model's numbers (M, 1) in the rule's order, each with the distance from model to model."""
    columns = [*at.rates, *(at.hyper[name] for name in optimizer.hyper)]
    return [part for column in columns[: len(rule.numbers) - 1] for part in (column, _row_stride(column))]


def _row_stride(array: Array) -> np.int32:
    return np.int32(array.strides[0] // array.itemsize)


def real_of(dtype: np.dtype[Any]) -> Real:
    """C's name of float32 or float64."""
    return _REAL[dtype.char]


def bound(launch: Launch, size: int, arguments: Sequence[Any]) -> partial[None]:
    """One launch with enough threads for `size` numbers."""
    return partial(launch, min(MAX_BLOCKS, -(-size // THREADS)), THREADS, arguments)
