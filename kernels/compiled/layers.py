"""Forward and backward passes over a block of a batch's samples, and gradients of a block of a layer's rows.

Axis legend: B samples of the batch, I in, O out, R rows of the pool, T columns of a panel. Activations (B, H) are
sample-major: they lie row by row, each row `pitch` numbers after the one before, filled up with zeros. What products
read as their right side lies in panels: weights [W; b] as (O/T, I+1, T), their transpose as (I/T, O, T), and dz once
more as (O/T, B, T). Passes read and write their own samples alone, and gradients their own rows, so that several
threads may work on one batch.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.compiled.dropout import Drop, draw, product
from kernels.compiled.jit import exact, inlined
from kernels.compiled.losses import SOFTMAX, SVM, pointwise, softmax, svm
from kernels.compiled.products import multiply
from kernels.compiled.programs import run
from kernels.compiled.tiles import copy_row, sum_rows, transpose_square
from kernels.compiled.vectors import VECTOR_BYTES

Floats = NDArray[Any]
Table = NDArray[np.int64]

# columns of `layers`, one row for each layer with weights: sizes, then places in `parameters` and in `work`
FAN_IN, FAN_OUT, WEIGHTS, PANEL, INPUT, INPUT_PITCH, Z, PITCH, UPSTREAM, DELTA = range(10)
SLOPES, SLOPES_PANEL, TRANSPOSED, TRANSPOSED_PANEL = range(10, 14)
VALUE, VALUE_CONSTANTS, SLOPE, SLOPE_CONSTANTS = range(14, 18)
"""Addresses of the activation's programs, and where in `constants` the parameters that they take begin."""
MASK, RAW = range(18, 20)
"""With dropout: a hidden layer's masks (B, O), and its activations (B, O) before them."""
TURNED, TURNED_PITCH = range(20, 22)
"""Where in `spare` the inputs of a part are turned, for gradients of so many panels that it pays; else 0."""
COLUMNS: Final = 22


class Net(NamedTuple):
    """Where a thread computes: functions, tables and buffers of nets of one shape.

    `product` is the address of the function of products; those of programs are in `layers`, and what programs take in
    `constants`. `work` and `labels` are shared by the threads of a team, `spare` is the thread's own: it has room for
    the gradient of a panel of a part, then for the part's inputs turned, and from `spare_at` on for the loss. `losses`
    is where in `work` every sample's loss lies. Work begins with zeros, a panel's width of them.
    """

    product: int
    layers: Table
    constants: Floats
    work: Floats
    labels: NDArray[np.int32]
    spare: Floats
    spare_at: int
    losses: int
    biased: int


NO_CLASS, LARGEST, SIGN = range(3)
"""How scores tell a class: they do not, the largest does, the sign of the only one does."""


class Loss(NamedTuple):
    """Which loss, its option (softmax: label smoothing, svm: margin), and how scores tell a class."""

    number: int
    option: Any
    tells: int


class Rows(NamedTuple):
    """A pool: inputs (R, ≥ I), class codes (R,) or target values (R, O)."""

    x: Floats
    codes: Table
    targets: Floats


class Samples(NamedTuple):
    """Where the inputs of a batch lie: sample b at inputs[at + b * pitch]."""

    inputs: Floats
    at: int
    pitch: int
    gathered: bool


@inlined
def panel_width(numbers: Floats) -> int:
    """Columns of a panel of such numbers."""
    return 2 * VECTOR_BYTES // numbers.itemsize


@exact
def samples_of(net: Net, x: Floats, rows: Table, shift: Any) -> Samples:
    """Samples shift, shift + 1, ... are these rows of x: in place where they follow each other, else as gathered."""
    follow = True
    for b in range(1, rows.size):
        follow &= rows[b] == rows[0] + b
    if follow:
        return Samples(x.reshape(-1), (rows[0] - shift) * x.shape[1], x.shape[1], False)
    return Samples(net.work, net.layers[0, INPUT], net.layers[0, INPUT_PITCH], True)


@exact
def gather(net: Net, x: Floats, rows: Table, start: int) -> None:
    """Copy rows of x to where samples start, start + 1, ... of the first layer's inputs lie."""
    width, pitch, step = net.layers[0, FAN_IN], net.layers[0, INPUT_PITCH], x.shape[1]
    flat, at = x.reshape(-1), net.layers[0, INPUT] + start * pitch
    for b in range(rows.size):
        row, place = flat[rows[b] * step : rows[b] * step + width], net.work[at + b * pitch : at + b * pitch + width]
        for i in range(width):
            place[i] = row[i]


@exact
def forward(net: Net, parameters: Floats, samples: Samples, drop: Drop, start: int, stop: int) -> None:
    """z = a W + b, a = mask · f(z), layer by layer; the last z are the scores."""
    layers, work, width = net.layers, net.work, panel_width(net.work)
    inputs, at, pitch = samples.inputs, samples.at, samples.pitch
    for k in range(layers.shape[0]):
        I, O, weights, panel = layers[k, FAN_IN], layers[k, FAN_OUT], layers[k, WEIGHTS], layers[k, PANEL]  # noqa: E741
        z, z_pitch = layers[k, Z], layers[k, PITCH]
        first, first_panel = work, panel * 0
        if net.biased:
            first, first_panel = parameters[weights + I * width :], panel
        before = work[z + start * z_pitch : z + stop * z_pitch]
        multiply(net.product, inputs[at + start * pitch :], pitch, 1, parameters[weights:], panel,
                 first, 0, first_panel, before, z_pitch, width, stop - start, O, I)  # fmt: skip
        if k < layers.shape[0] - 1:
            inputs, at, pitch = work, layers[k + 1, INPUT], z_pitch
            here = start * pitch
            raw = layers[k, RAW] if drop.limit > 0 else at
            run(layers[k, VALUE], net.constants[layers[k, VALUE_CONSTANTS] :], before, before, before,
                work[raw + here :], before.size)  # fmt: skip
            if drop.limit > 0:
                draw(drop, k + 1, O, start, stop, work, layers[k, MASK], pitch)
                product(work, raw + here, layers[k, MASK] + here, at + here, before.size)


@exact
def scores_of(net: Net, start: int, stop: int) -> Floats:
    """Scores of samples start..stop as (C, B), flat, for the loss: it works on all samples of a class at once."""
    last = net.layers[net.layers.shape[0] - 1]
    C, B, at, pitch = last[FAN_OUT], stop - start, last[Z], last[PITCH]
    scores = net.spare[net.spare_at : net.spare_at + C * B]
    for b in range(B):
        row = net.work[at + (start + b) * pitch : at + (start + b) * pitch + C]
        for c in range(C):
            scores[c * B + b] = row[c]
    return scores


@exact
def measure_loss(
    net: Net, loss: Loss, scores: Floats, rows: Rows, chosen: Table, start: int, weights: Floats
) -> Floats:
    """The loss of the samples from `start` on, `chosen` of the pool; scores (C, B) become weights · dL/dscores."""
    B = chosen.size
    values = net.work[net.losses + start : net.losses + start + B]
    scratch = net.spare[net.spare_at + scores.size : net.spare_at + scores.size + 3 * B]
    labels = net.labels[start : start + B]
    if loss.number in (SOFTMAX, SVM):
        for b in range(B):
            labels[b] = rows.codes[chosen[b]]
    if loss.number == SOFTMAX:
        softmax(scores, labels, weights, values, scratch, loss.option)
    elif loss.number == SVM:
        svm(scores, labels, weights, values, scratch, loss.option)
    else:
        last = net.layers[net.layers.shape[0] - 1]  # where a loss over values has its programs
        pointwise(last[VALUE], last[SLOPE], net.constants[last[VALUE_CONSTANTS] :],
                  net.constants[last[SLOPE_CONSTANTS] :], scores, rows.targets, chosen, weights, values,
                  scratch)  # fmt: skip
    return values


@exact
def backward(net: Net, slopes: Floats, drop: Drop, start: int, stop: int) -> None:
    """From slopes (C, B) = dL/dscores of samples start..stop: dz of every layer, dz = f'(z) · mask · (dz above) Wᵀ."""
    layers, work, B, width = net.layers, net.work, stop - start, panel_width(net.work)
    top = layers.shape[0] - 1
    C, dz, pitch = layers[top, FAN_OUT], layers[top, DELTA], layers[top, PITCH]
    for b in range(B):
        row = work[dz + (start + b) * pitch : dz + (start + b) * pitch + C]
        for c in range(C):
            row[c] = slopes[c * B + b]
    _to_panels(net, top, start, stop)
    for k in range(top, 0, -1):
        I, below = layers[k, FAN_IN], layers[k, INPUT_PITCH]  # noqa: E741
        upstream, delta = layers[k, UPSTREAM], layers[k - 1, DELTA]
        multiply(net.product, work[dz + start * pitch :], pitch, 1, work[layers[k, TRANSPOSED] :],
                 layers[k, TRANSPOSED_PANEL], work, 0, 0,
                 work[upstream + start * below :], below, width, B, I, layers[k, FAN_OUT])  # fmt: skip
        z, a = layers[k - 1, Z] + start * below, layers[k, INPUT] + start * below
        if drop.limit > 0:
            a, above = layers[k - 1, RAW] + start * below, upstream + start * below
            product(work, layers[k - 1, MASK] + start * below, above, above, B * below)
        run(layers[k - 1, SLOPE], net.constants[layers[k - 1, SLOPE_CONSTANTS] :], work[z:], work[a:],
            work[upstream + start * below :], work[delta + start * below :], B * below)  # fmt: skip
        dz, pitch = delta, below
        _to_panels(net, k - 1, start, stop)


@exact
def _to_panels(net: Net, k: int, start: int, stop: int) -> None:
    """Copy dz of samples start..stop to its panels, where the one panel is not dz itself."""
    layers, work, width = net.layers, net.work, panel_width(net.work)
    dz, pitch, slopes, panel, O = (  # noqa: E741
        layers[k, DELTA], layers[k, PITCH], layers[k, SLOPES], layers[k, SLOPES_PANEL], layers[k, FAN_OUT],
    )  # fmt: skip
    if slopes == dz:
        return
    whole = O // width
    for b in range(start, stop):
        row, place = dz + b * pitch, slopes + b * width
        for p in range(whole):
            copy_row(work, row + p * width, work, place + p * panel)
        rest = work[row + whole * width : row + O]
        for i in range(rest.size):
            work[place + whole * panel + i] = rest[i]


class Columns(NamedTuple):
    """Inputs of a part of a layer: input i of sample b is numbers[at + i * step + b * pitch]."""

    numbers: Floats
    at: int
    step: int
    pitch: int


@exact
def inputs_of(net: Net, samples: Samples, k: int, start: int, stop: int, B: int) -> Columns:
    """Inputs start..stop of layer k: where they lie, or turned, so that those of one input follow each other."""
    layers = net.layers
    inputs, at, pitch = samples.inputs, samples.at, samples.pitch
    if k:
        inputs, at, pitch = net.work, layers[k, INPUT], layers[k, INPUT_PITCH]
    turned, step = layers[k, TURNED], layers[k, TURNED_PITCH]
    if turned == 0:
        return Columns(inputs, at + start, 1, pitch)
    _turn(inputs, at + start, pitch, net.spare, turned, step, B, min(stop, layers[k, FAN_IN]) - start)
    return Columns(net.spare, turned, step, 1)


@exact
def _turn(source: Floats, at: int, pitch: int, out: Floats, to: int, step: int, rows: int, columns: int) -> None:
    """Transpose rows of `columns` numbers: squares of a vector's lanes, and what is left at two edges."""
    lanes = panel_width(out) // 2
    for i in range(0, columns - lanes + 1, lanes):
        for b in range(0, rows - lanes + 1, lanes):
            transpose_square(source, at + b * pitch + i, pitch, out, to + i * step + b, step)
    for b in range(rows):
        for i in range(0 if b >= rows // lanes * lanes else columns // lanes * lanes, columns):
            out[to + i * step + b] = source[at + b * pitch + i]


@exact
def gradient_of(net: Net, inputs: Columns, out: Floats, k: int, p: int, start: int, stop: int, B: int) -> None:
    """Rows start..stop of panel p of d[W; b] = [a, 1]ᵀ dz: row I is db, the sum of dz."""
    layers, work, width = net.layers, net.work, panel_width(net.work)
    I, O, dz = layers[k, FAN_IN], layers[k, FAN_OUT], layers[k, SLOPES] + p * layers[k, SLOPES_PANEL]  # noqa: E741
    last = min(stop, I)
    if start < last:
        multiply(net.product, inputs.numbers[inputs.at :], inputs.step, inputs.pitch, work[dz:], 0, work, 0, 0,
                 out, width, 0, last - start, min(width, O - p * width), B)  # fmt: skip
    if stop > I:
        sum_rows(work, dz, out, (I - start) * width, B)


@exact
def transpose(net: Net, parameters: Floats, k: int, p: int, start: int, stop: int) -> None:
    """Into the panels of Wᵀ, which `backward` reads, rows start..stop of panel p of W; not of the first layer."""
    if k == 0:
        return
    layers, work, width = net.layers, net.work, panel_width(net.work)
    weights, at = layers[k, WEIGHTS] + p * layers[k, PANEL], layers[k, TRANSPOSED] + p * width * width
    O, panel = min(width, layers[k, FAN_OUT] - p * width), layers[k, TRANSPOSED_PANEL]  # noqa: E741
    stop = min(stop, layers[k, FAN_IN])
    i, lanes = start, width // 2
    while i < stop:
        height = min(stop - i, lanes - i % lanes)  # rows that go to one square
        block, place = weights + i * width, at + i // width * panel + i % width
        squares = O // lanes if height == lanes else 0
        for q in range(squares):
            transpose_square(parameters, block + q * lanes, width, work, place + q * lanes * width, width)
        for o in range(squares * lanes, O):
            for r in range(height):
                work[place + o * width + r] = parameters[block + r * width + o]
        i += height
