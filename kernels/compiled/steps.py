"""Whole chunks of training steps of one model, and whole evaluations, without Python in between.

Axis legend: L layers with weights, B batch, I in, O out, R rows of the pool, N steps, P parameters. Activations are
feature-major (H, B) as in `nets.network`. One flat `work` array holds all buffers of a thread; `layers` says where.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.compiled.blas import gemm
from kernels.compiled.jit import exact, loose
from kernels.compiled.losses import SOFTMAX, SVM, softmax, squared_error, svm
from kernels.compiled.programs import run
from kernels.compiled.updates import ADAM, adam, scale, sgd, squares

Floats = NDArray[Any]
Table = NDArray[np.int64]

# columns of `layers`, one row for each layer with weights
FAN_IN, FAN_OUT, WEIGHTS, INPUT, Z, UPSTREAM, DELTA = range(7)
VALUE, VALUE_END, VALUE_REGISTERS, SLOPE, SLOPE_END, SLOPE_REGISTERS = range(7, 13)
COLUMNS: Final = 13


class Net(NamedTuple):
    """Where a thread computes: tables, programs and buffers of nets of one shape."""

    address: int
    layers: Table
    instructions: Table
    registers: Floats
    work: Floats
    labels: NDArray[np.int32]
    biased: int
    scratch: int


class Rows(NamedTuple):
    """Rows of a pool: inputs (R, I), class codes (R,) or target values (R, O), and which rows are meant."""

    by_class: bool
    x: Floats
    codes: Table
    targets: Floats
    chosen: Table


@exact
def gather(x: Floats, rows: Table, out: Floats) -> Floats:
    """Rows of x (R, I) as one flat array: a view where they follow each other, else copied into `out`."""
    B, width = rows.size, x.shape[1]
    follow = True
    for b in range(1, B):
        follow &= rows[b] == rows[0] + b
    flat = x.reshape(-1)
    if follow:
        return flat[rows[0] * width : (rows[0] + B) * width]
    for b in range(B):
        row, place = flat[rows[b] * width : (rows[b] + 1) * width], out[b * width : (b + 1) * width]
        for i in range(width):
            place[i] = row[i]
    return out[: B * width]


@exact
def forward(net: Net, parameters: Floats, inputs: Floats, B: int) -> Floats:
    """Scores (O, B) of inputs (B, I): z = [W; b]ᵀ a, a = f(z), layer by layer."""
    layers, work = net.layers, net.work
    scores = work[:0]
    for k in range(layers.shape[0]):
        at = layers[k]
        I, O = at[FAN_IN] + net.biased, at[FAN_OUT]  # noqa: E741
        W = parameters[at[WEIGHTS] : at[WEIGHTS] + I * O]
        z = work[at[Z] : at[Z] + O * B]
        if k == 0:
            gemm(net.address, 1, 1, B, O, I, inputs, I, W, O, z, B)
        else:
            gemm(net.address, 0, 1, B, O, I, work[at[INPUT] : at[INPUT] + I * B], B, W, O, z, B)
        scores = z
        if k < layers.shape[0] - 1:
            a = work[layers[k + 1, INPUT] : layers[k + 1, INPUT] + O * B]
            code, registers = net.instructions[at[VALUE] : at[VALUE_END]], net.registers[at[VALUE_REGISTERS] :]
            run(code, registers, z, z, z, a)
            if net.biased:
                work[layers[k + 1, INPUT] + O * B : layers[k + 1, INPUT] + (O + 1) * B] = 1
    return scores


@exact
def backward(net: Net, parameters: Floats, gradient: Floats, inputs: Floats, dz: Floats, B: int) -> None:
    """From dz = dL/dscores: d[W; b] = a dzᵀ, then dz = f'(z) · W dz for the layer below."""
    layers, work = net.layers, net.work
    for k in range(layers.shape[0] - 1, -1, -1):
        at = layers[k]
        width, O = at[FAN_IN], at[FAN_OUT]  # noqa: E741
        I = width + net.biased  # noqa: E741
        dW = gradient[at[WEIGHTS] : at[WEIGHTS] + I * O]
        if k == 0:
            gemm(net.address, 1, 1, O, I, B, dz, B, inputs, I, dW, O)
            return
        a = work[at[INPUT] : at[INPUT] + I * B]
        gemm(net.address, 1, 0, O, I, B, dz, B, a, B, dW, O)
        upstream = work[at[UPSTREAM] : at[UPSTREAM] + width * B]
        W = parameters[at[WEIGHTS] : at[WEIGHTS] + width * O]
        gemm(net.address, 0, 0, B, width, O, dz, B, W, O, upstream, B)
        below = layers[k - 1]
        z, dz = work[below[Z] : below[Z] + width * B], work[at[DELTA] : at[DELTA] + width * B]
        code, registers = net.instructions[below[SLOPE] : below[SLOPE_END]], net.registers[below[SLOPE_REGISTERS] :]
        run(code, registers, z, a[: width * B], upstream, dz)


@exact
def measure_loss(
    net: Net, loss: int, margin: Any, scores: Floats, codes: Table, targets: Floats, rows: Table, weights: Floats
) -> Floats:
    """The loss of every sample (B,); scores become weights · dL/dscores."""
    B = rows.size
    values = net.work[net.scratch : net.scratch + B]
    scratch = net.work[net.scratch + B : net.scratch + 4 * B]
    labels = net.labels[:B]
    if loss in (SOFTMAX, SVM):
        for b in range(B):
            labels[b] = codes[rows[b]]
    if loss == SOFTMAX:
        softmax(scores, labels, weights, values, scratch)
    elif loss == SVM:
        svm(scores, labels, weights, values, scratch, margin)
    else:
        squared_error(scores, targets, rows, weights, values)
    return values


@exact
def update(
    net: Net, optimizer: int, hyper: Floats, rates: Floats, p: Floats, g: Floats, first: Floats, second: Floats
) -> None:
    """One update of all layers; `hyper` begins with the limit of the gradient's norm and with 2·l2."""
    if hyper[0] < np.inf:
        norm = np.sqrt(squares(g))
        if not norm <= hyper[0]:
            scale(g, g.dtype.type(hyper[0] / norm))
    for k in range(net.layers.shape[0]):
        at = net.layers[k]
        start, middle = at[WEIGHTS], at[WEIGHTS] + at[FAN_IN] * at[FAN_OUT]
        for part in range(1 + net.biased):
            lo, hi = (start, middle) if part == 0 else (middle, middle + at[FAN_OUT])
            decay = hyper[1] if part == 0 else hyper[1] * 0
            if optimizer == ADAM:
                adam(p[lo:hi], g[lo:hi], first[lo:hi], second[lo:hi],
                     rates[0], rates[1], hyper[2], hyper[3], hyper[4], hyper[5], decay)  # fmt: skip
            else:
                sgd(p[lo:hi], g[lo:hi], first[lo:hi], rates[0], hyper[2], decay, hyper[3] != 0)


@loose
def weighted(values: Floats, weight: NDArray[np.float64]) -> float:
    """Σ weight · value in float64 over the samples that count."""
    total = 0.0
    for b in range(values.size):
        total += np.float64(values[b]) * weight[b] if weight[b] > 0 else 0.0
    return total


@exact
def hits_of(scores: Floats, codes: Table, targets: Floats, rows: Table, by_class: bool, scratch: Floats) -> float:
    """Samples whose largest score is their class's, or Σ (score - target)²."""
    B = rows.size
    total = 0.0
    if not by_class:
        for c in range(scores.size // B):
            for b in range(B):
                total += (np.float64(scores[c * B + b]) - targets[rows[b], c]) ** 2
        return total
    best, place = scratch[:B], scratch[B : 2 * B]
    best[:] = scores[:B]
    place[:] = 0
    for c in range(1, scores.size // B):
        s = scores[c * B : (c + 1) * B]
        for b in range(B):
            place[b] = c if s[b] > best[b] else place[b]
        for b in range(B):
            best[b] = s[b] if s[b] > best[b] else best[b]
    for b in range(B):
        total += place[b] == codes[rows[b]]
    return total


@exact
def measure(net: Net, loss: int, margin: Any, parameters: Floats, rows: Rows, block: int, out: Floats) -> None:
    """Σ loss and hits into out (2,) over the chosen rows, `block` at a time; `hits_of` says what a hit is."""
    out[:] = 0
    for start in range(0, rows.chosen.size, block):
        chosen = rows.chosen[start : start + block]
        B = chosen.size
        scores = forward(net, parameters, gather(rows.x, chosen, net.work), B)
        spare = net.work[net.scratch : net.scratch + 2 * B]
        out[1] += hits_of(scores, rows.codes, rows.targets, chosen, rows.by_class, spare)
        weights = net.work[net.scratch + 4 * B : net.scratch + 5 * B]  # of the gradient, which nobody looks at
        values = measure_loss(net, loss, margin, scores, rows.codes, rows.targets, chosen, weights)
        for b in range(B):
            out[0] += values[b]


@exact
def all_finite(values: Floats) -> bool:
    """True where neither NaN nor infinity occurs; looks at blocks, so that the loop vectorises."""
    for start in range(0, values.size, 4096):
        part = values[start : start + 4096]
        bad = 0
        for i in range(part.size):
            bad += part[i] - part[i] != 0
        if bad:
            return False
    return True


@exact
def evaluate(
    address: int, layers: Table, instructions: Table, registers: Floats, work: Floats, labels: NDArray[np.int32],
    biased: int, scratch: int, loss: int, margin: Any, by_class: bool, x: Floats, codes: Table, targets: Floats,
    chosen: Table, block: int, parameters: Floats, out: Floats,
) -> None:  # fmt: skip
    """See `measure`."""
    net = Net(address, layers, instructions, registers, work, labels, biased, scratch)
    measure(net, loss, margin, parameters, Rows(by_class, x, codes, targets, chosen), block, out)


@exact
def advance(
    address: int, layers: Table, instructions: Table, registers: Floats, work: Floats, labels: NDArray[np.int32],
    biased: int, scratch: int, loss: int, margin: Any, by_class: bool, x: Floats, codes: Table, targets: Floats,
    val_x: Floats, val_codes: Table, val_targets: Floats, val_rows: Table, block: int,
    optimizer: int, hyper: Floats, parameters: Floats, gradient: Floats, first: Floats, second: Floats,
    rows: Table, valid: Table, weights: Floats, counted: Floats, rates: Floats, sums: Floats,
    start: int, epoch: int, interval: int, figures: Floats,
) -> None:  # fmt: skip
    """N steps of one model from step `start` of `epoch`: batches rows (N, B), weighted loss sums into sums (N,).

    Of the S steps of every epoch, valid (S,) rows count, with weights (S, B) in the gradient and counted (S, B) in
    the loss. Where an epoch ends before the last step, and its number from 1 is a multiple of `interval`, figures
    (K, 3) get the validation loss, hits, and whether all parameters are finite; row 0 belongs to `epoch`.
    """
    net = Net(address, layers, instructions, registers, work, labels, biased, scratch)
    val = Rows(by_class, val_x, val_codes, val_targets, val_rows)
    S = valid.size
    for s in range(rows.shape[0]):
        place = (start + s) % S
        B = valid[place]
        chosen = rows[s, :B]
        inputs = gather(x, chosen, work)
        scores = forward(net, parameters, inputs, B)
        values = measure_loss(net, loss, margin, scores, codes, targets, chosen, weights[place, :B])
        sums[s] = weighted(values, counted[place, :B])
        backward(net, parameters, gradient, inputs, scores, B)
        update(net, optimizer, hyper, rates[s], parameters, gradient, first, second)
        ended = (start + s) // S
        if place == S - 1 and s < rows.shape[0] - 1 and (epoch + ended + 1) % interval == 0:
            measure(net, loss, margin, parameters, val, block, figures[ended, :2])
            figures[ended, 2] = all_finite(parameters)
