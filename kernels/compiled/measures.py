"""Sums over samples: losses, hits, and whether numbers are finite."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.compiled.dropout import Drop
from kernels.compiled.jit import exact, lent, loose
from kernels.compiled.layers import (
    NO_CLASS,
    SIGN,
    Floats,
    Loss,
    Net,
    Rows,
    Table,
    forward,
    gather,
    measure_loss,
    samples_of,
    scores_of,
)
from kernels.compiled.philox import u8


@loose
def weighted(values: Floats, weight: NDArray[np.float64]) -> float:
    """Σ weight · value in float64 over the samples that count."""
    total = 0.0
    for b in range(values.size):
        total += np.float64(values[b]) * weight[b] if weight[b] > 0 else 0.0
    return total


@exact
def hits_of(scores: Floats, rows: Rows, chosen: Table, tells: int, scratch: Floats) -> float:
    """Samples whose scores tell their class, or Σ (score - target)²; scores (C, B)."""
    B = chosen.size
    total = 0.0
    if tells == NO_CLASS:
        for c in range(scores.size // B):
            for b in range(B):
                total += (np.float64(scores[c * B + b]) - rows.targets[chosen[b], c]) ** 2
        return total
    best, place = scratch[:B], scratch[B : 2 * B]
    best[:] = scores[:B]
    for b in range(B):
        place[b] = tells == SIGN and best[b] > 0
    for c in range(1, scores.size // B):
        s = scores[c * B : (c + 1) * B]
        for b in range(B):
            place[b] = c if s[b] > best[b] else place[b]
        for b in range(B):
            best[b] = s[b] if s[b] > best[b] else best[b]
    for b in range(B):
        total += place[b] == rows.codes[chosen[b]]
    return total


@exact
def measure(net: Net, loss: Loss, parameters: Floats, rows: Rows, chosen: Table, shift: Any, out: Floats) -> None:
    """Σ loss and hits into out (2,) over the chosen rows, in the place of samples shift, shift + 1, ..."""
    B = chosen.size
    samples = samples_of(net, rows.x, chosen, shift)
    if samples.gathered:
        gather(net, rows.x, chosen, shift)
    whole = Drop(u8(0), u8(0), net.work.dtype.type(0), np.int64(0), np.int64(0))
    forward(net, parameters, samples, whole, shift, shift + B)
    scores = scores_of(net, shift, shift + B)
    spare = net.spare_at + scores.size + 3 * B
    out[1] = hits_of(scores, rows, chosen, loss.tells, net.spare[spare : spare + 2 * B])
    weights = net.spare[spare : spare + B]  # of the gradient, which nobody looks at
    values = measure_loss(net, loss, scores, rows, chosen, shift, weights)
    total = 0.0
    for b in range(B):
        total += values[b]
    out[0] = total


@exact
def all_finite(values: Floats) -> bool:
    """True where neither NaN nor infinity occurs: only these differ from themselves by anything but 0.

    Looks at every number, so that the loop vectorises.
    """
    bad = False
    for i in range(values.size):
        bad |= values[i] - values[i] != 0
    return not bad


@exact
def finite_rows(rows: Floats, places: Table) -> NDArray[np.bool_]:
    """(K,) whether all numbers of rows (M, P) at some places are finite, without the interpreter in between."""
    found = np.empty(places.size, np.bool_)
    for k in range(places.size):
        found[k] = all_finite(rows[places[k]])
    return found


@exact
def evaluate(
    product: int, layers: Table, constants: Floats, work: Floats,
    labels: NDArray[np.int32], spare: Floats, spare_at: int, losses: int, biased: int,
    loss: int, option: Any, tells: int, x: Floats, codes: Table, targets: Floats, chosen: Table, block: int,
    parameters: Floats, out: Floats,
) -> None:  # fmt: skip
    """See `measure`: `block` of the chosen rows at a time, each with a row of its own in out (K, 2)."""
    net = Net(product, lent(layers), lent(constants), lent(work), lent(labels), lent(spare), spare_at, losses, biased)
    rows, all_chosen, weights, figures = (
        Rows(lent(x), lent(codes), lent(targets)),
        lent(chosen),
        lent(parameters),
        lent(out),
    )
    for k in range(out.shape[0]):
        part = all_chosen[k * block : (k + 1) * block]
        measure(net, Loss(loss, option, tells), weights, rows, part, np.int64(0), figures[k])
