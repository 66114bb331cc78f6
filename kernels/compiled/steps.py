"""Whole chunks of training steps of one model without Python in between, by one thread or by a team.

Axis legend: B samples of a batch, R rows of the pool, N steps, S steps of an epoch, P parameters in panels, T columns
of a panel. A step is two phases: passes over blocks of samples, then gradients and updates of blocks of weights. Where
an epoch has ended, blocks of validation rows are measured beside the passes of the next step. Tasks of one phase touch
nothing in common, and every number is summed in an order of its own, so the team's size changes no bit.

The gradient of a panel of a part is applied while it is in the first-level cache; only where all of it must be known
before, to clip it, is it kept as a whole.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.compiled.dropout import Drop
from kernels.compiled.jit import exact, inlined, lent
from kernels.compiled.layers import (
    FAN_IN,
    FAN_OUT,
    PANEL,
    WEIGHTS,
    Floats,
    Loss,
    Net,
    Rows,
    Table,
    backward,
    forward,
    gather,
    gradient_of,
    inputs_of,
    measure_loss,
    panel_width,
    samples_of,
    scores_of,
    transpose,
)
from kernels.compiled.measures import all_finite, measure, weighted
from kernels.compiled.team import DONE, TAKEN, count, wait_for
from kernels.compiled.updates import descend, norm, scale

PREPARE: Final = 0
PASS: Final = 1
GRADIENT: Final = 2
CLIP: Final = 3
UPDATE: Final = 4
PHASES: Final = 5


class Model(NamedTuple):
    """What is learnt, and how: by the update at an address, of slots that lie `stride` numbers apart.

    `hyper` begins with the limit of the gradient's norm and with the decay of weights; the rule's numbers follow. All
    arrays are in panels; `gradient` is used where the limit is finite.
    """

    update: int
    hyper: Floats
    parameters: Floats
    gradient: Floats
    slots: Floats
    stride: int


class Dropout(NamedTuple):
    """See `dropout.Drop`, whatever the step."""

    seed: np.uint64
    limit: np.uint64
    scale: Any


class Plan(NamedTuple):
    """Who may do what: parts (layer, first row, last row), tasks as ranges of parts, counters of a team of threads."""

    parts: Table
    tasks: Table
    counters: Table
    team: int


class Chunk(NamedTuple):
    """The steps: rows (N, B), valid (S,) of them, their weights, rates (N, r); for sums, figures, finite."""

    rows: Table
    valid: Table
    weights: Floats
    counted: Floats
    rates: Floats
    sums: Floats
    start: int
    epoch: int
    interval: int
    figures: Floats
    finite: Floats


class Validation(NamedTuple):
    """What is measured where an epoch ends: rows of a pool, `block` at a time in the place of samples from `at` on."""

    rows: Rows
    chosen: Table
    block: int
    at: int


@exact
def update(net: Net, model: Model, g: Floats, rates: Floats, k: int, p: int, start: int, stop: int) -> None:
    """Update rows start..stop of panel p of layer k's [W; b] by their gradient: weights decay, biases do not."""
    I, width, hyper = net.layers[k, FAN_IN], panel_width(net.work), model.hyper  # noqa: E741
    at = net.layers[k, WEIGHTS] + p * net.layers[k, PANEL] + start * width
    for part in range(2):
        lo, hi = (0, min(stop, I) - start) if part == 0 else (I - start, stop - start)
        decay = hyper[1] if part == 0 else hyper[1] * 0
        if lo < hi:
            lo, hi = lo * width, hi * width
            descend(model.update, model.parameters[at + lo :], g[lo:], model.slots[at + lo :], model.stride,
                    rates, hyper[2:], decay, hi - lo)  # fmt: skip


@inlined
def _clip(model: Model) -> None:
    """gradient *= min(1, limit / ‖gradient‖)."""
    length = norm(model.gradient)
    if not length <= model.hyper[0]:
        scale(model.gradient, model.gradient.dtype.type(model.hyper[0] / length))


@inlined
def _pass(
    net: Net, loss: Loss, rows: Rows, model: Model, dropout: Dropout, chunk: Chunk, s: int, start: int, stop: int
) -> None:
    """Forward, loss, backward of samples start..stop of step s."""
    step = chunk.epoch * chunk.valid.size + chunk.start + s
    drop = Drop(dropout.seed, dropout.limit, dropout.scale, np.int64(chunk.rows.shape[1]), np.int64(step))
    place = (chunk.start + s) % chunk.valid.size
    chosen = chunk.rows[s, : chunk.valid[place]]
    samples = samples_of(net, rows.x, chosen, np.int64(0))
    if samples.gathered:
        gather(net, rows.x, chosen[start:stop], start)
    forward(net, model.parameters, samples, drop, start, stop)
    scores = scores_of(net, start, stop)
    measure_loss(net, loss, scores, rows, chosen[start:stop], start, chunk.weights[place, start:stop])
    backward(net, scores, drop, start, stop)


@inlined
def _learn(net: Net, plan: Plan, rows: Rows, model: Model, chunk: Chunk, s: int, task: int, phase: int) -> None:
    """One task of a phase on weights."""
    B, width = chunk.valid[(chunk.start + s) % chunk.valid.size], panel_width(net.work)
    samples = samples_of(net, rows.x, chunk.rows[s, :B], np.int64(0))
    clipped, ended = model.hyper[0] < np.inf, _ended(chunk, s)
    for part in range(plan.tasks[task], plan.tasks[task + 1]):
        k, start, stop = plan.parts[part]
        inputs = inputs_of(net, samples, k, start, stop, B if phase == GRADIENT else 0)
        for p in range((net.layers[k, FAN_OUT] + width - 1) // width):
            gradient = net.spare
            if clipped:
                gradient = model.gradient[net.layers[k, WEIGHTS] + p * net.layers[k, PANEL] + start * width :]
            if phase == GRADIENT:
                gradient_of(net, inputs, gradient, k, p, start, stop, B)
            if phase == UPDATE or (phase == GRADIENT and not clipped):
                update(net, model, gradient, chunk.rates[s], k, p, start, stop)
                if ended >= 0:
                    at = net.layers[k, WEIGHTS] + p * net.layers[k, PANEL]
                    if not all_finite(model.parameters[at + start * width : at + stop * width]):
                        chunk.finite[ended] = 0
            if phase != GRADIENT or not clipped:
                transpose(net, model.parameters, k, p, start, stop)


@exact
def _ended(chunk: Chunk, s: int) -> int:
    """Epochs that ended in this chunk before the one whose last step is s, if that is a point on the way; else -1."""
    at = chunk.start + s
    passed = at // chunk.valid.size
    on_the_way = s >= 0 and (at + 1) % chunk.valid.size == 0 and s < chunk.rows.shape[0] - 1
    return passed if on_the_way and (chunk.epoch + passed + 1) % chunk.interval == 0 else -1


@exact
def _measured(chunk: Chunk, validation: Validation, s: int) -> int:
    """Validation rows that are measured beside the passes of step s."""
    return validation.chosen.size if _ended(chunk, s - 1) >= 0 else 0


@exact
def share_of(samples: int, measured: int, team: int) -> int:
    """Samples of one task of a pass: with what is measured meanwhile a share for each thread, in pairs."""
    return samples if team == 1 else min(samples, (samples + measured + 2 * team - 1) // (2 * team) * 2)


@exact
def _passes(samples: int, size: int) -> int:
    """Tasks that the samples of a batch are cut into."""
    return (samples + size - 1) // size


@exact
def _tasks_of(plan: Plan, model: Model, chunk: Chunk, validation: Validation, s: int, phase: int) -> int:
    """How many tasks a phase of step s has."""
    weights = plan.tasks.size - 1
    if phase == PASS:
        samples, measured = chunk.valid[(chunk.start + s) % chunk.valid.size], _measured(chunk, validation, s)
        blocks = (measured + validation.block - 1) // validation.block
        return _passes(samples, share_of(samples, measured, plan.team)) + blocks
    if phase == GRADIENT:
        return weights
    if phase == PREPARE:
        return weights if s == 0 else 0
    if model.hyper[0] < np.inf:
        return 1 if phase == CLIP else weights
    return 0


@inlined
def _measure(net: Net, loss: Loss, model: Model, chunk: Chunk, validation: Validation, s: int, task: int) -> None:
    """One block of the validation rows."""
    ended = _ended(chunk, s)
    block = validation.block
    chosen = validation.chosen[task * block : (task + 1) * block]
    measure(net, loss, model.parameters, validation.rows, chosen, validation.at, chunk.figures[ended, task])


@inlined
def _run(
    net: Net, plan: Plan, loss: Loss, rows: Rows, validation: Validation, model: Model, dropout: Dropout, chunk: Chunk
) -> None:
    """Take tasks until there are none: their numbers run through the phases of all steps."""
    s, phase, first = 0, PREPARE, 0
    tasks = _tasks_of(plan, model, chunk, validation, s, phase)
    while True:
        number = count(plan.counters, TAKEN)
        while number >= first + tasks:
            first += tasks
            phase += 1
            if phase == PHASES:
                phase, s = PREPARE, s + 1
            if s == chunk.rows.shape[0]:
                return
            tasks = _tasks_of(plan, model, chunk, validation, s, phase)
        wait_for(plan.counters, first)
        task = number - first
        if phase == PASS:
            valid = chunk.valid[(chunk.start + s) % chunk.valid.size]
            size = share_of(valid, _measured(chunk, validation, s), plan.team)
            passes = _passes(valid, size)
            if task < passes:
                start, stop = task * size, min((task + 1) * size, valid)
                _pass(net, loss, rows, model, dropout, chunk, s, start, stop)
            else:
                _measure(net, loss, model, chunk, validation, s - 1, task - passes)
        elif phase == CLIP:
            _clip(model)
        else:
            if phase == GRADIENT and task == 0:
                place = (chunk.start + s) % chunk.valid.size
                values = net.work[net.losses : net.losses + chunk.valid[place]]
                chunk.sums[s] = weighted(values, chunk.counted[place, : values.size])
            _learn(net, plan, rows, model, chunk, s, task, phase)
        count(plan.counters, DONE)


@exact
def advance(
    product: int, layers: Table, constants: Floats, work: Floats,
    labels: NDArray[np.int32], spare: Floats, spare_at: int, losses: int, biased: int,
    parts: Table, tasks: Table, counters: Table, team: int,
    loss: int, option: Any, tells: int, x: Floats, codes: Table, targets: Floats,
    val_x: Floats, val_codes: Table, val_targets: Floats, val_rows: Table, block: int, at: int,
    seed: np.uint64, limit: np.uint64, scale: Any,
    update_at: int, hyper: Floats, parameters: Floats, gradient: Floats, slots: Floats, stride: int,
    rows: Table, valid: Table, weights: Floats, counted: Floats, rates: Floats, sums: Floats,
    start: int, epoch: int, interval: int, figures: Floats, finite: Floats,
) -> None:  # fmt: skip
    """Take part in N steps of one model from step `start` of `epoch`: batches rows (N, B), loss sums into sums (N,).

    Every thread of a team calls this once, with a `spare` of its own and zero `counters` of the team.
    Of the S steps of every epoch, valid (S,) rows count, with weights (S, B) in the gradient and counted (S, B) in
    the loss. Where an epoch ends before the last step, and its number from 1 is a multiple of `interval`, figures
    (K, blocks, 2) get validation losses and hits, and finite (K,) whether all parameters are; 0 belongs to `epoch`.
    """
    _run(
        Net(product, lent(layers), lent(constants), lent(work), lent(labels), lent(spare), spare_at, losses, biased),
        Plan(lent(parts), lent(tasks), lent(counters), team),
        Loss(loss, option, tells),
        Rows(lent(x), lent(codes), lent(targets)),
        Validation(Rows(lent(val_x), lent(val_codes), lent(val_targets)), lent(val_rows), block, at),
        Model(update_at, lent(hyper), lent(parameters), lent(gradient), lent(slots), stride),
        Dropout(seed, limit, scale),
        Chunk(
            lent(rows), lent(valid), lent(weights), lent(counted), lent(rates), lent(sums), start, epoch, interval,
            lent(figures), lent(finite),
        ),
    )  # fmt: skip
