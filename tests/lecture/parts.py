"""What the rows of the lecture share: whole nets on the product's own tapes, and numerical derivatives.

Axis legend: B rows of a batch, I in, O out, C scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kernels.errors import InvalidInput
from kernels.operations import ACTIVATIONS
from nets import resolve
from nets.gradient_check import GradientCheck, gradient_check
from nets.losses import LOSSES, value_and_gradient
from nets.network import Network
from nets.parameters import Layout
from nets.table import Table
from nets.tape import play
from tests.nets.support import BACKEND, blobs, line, spec_for

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Played:
    """One pass: scores (B, C), hidden values [(B, H)], losses (B,), gradients shaped as the parameters."""

    scores: np.ndarray
    hidden: list[np.ndarray]
    losses: np.ndarray
    gradients: Tensors


def layout_of(parameters: Mapping[str, np.ndarray]) -> Layout:
    """Widths and biases read from W1 (I, O), b1 (O,), ..."""
    weights = [array for name, array in parameters.items() if name.startswith("W")]
    return Layout((len(weights[0]), *(w.shape[1] for w in weights)), "b1" in parameters)


def play_net(
    parameters: Mapping[str, np.ndarray],
    x: np.ndarray,
    activation: str | Sequence[str] = "relu",
    *,
    loss: str = "squared_error",
    targets: np.ndarray | None = None,
    upstream: np.ndarray | None = None,
    numbers: Mapping[str, float] | None = None,
    options: Mapping[str, float | str] | None = None,
) -> Played:
    """Forward, loss, backward in float64 by Network and a row of LOSSES; x is (B, I).

    `upstream` (B,) is what every row's loss is weighted by: 1/B each for a mean, the default. `targets` are
    0 where nothing is given, so that squared_error is ‖scores‖².
    """
    layout, rows = layout_of(parameters), len(x)
    flat = layout.flat(parameters, np.dtype(np.float64))[None]
    gradient = np.zeros_like(flat)
    names = [activation] * (layout.n_layers - 1) if isinstance(activation, str) else activation
    operations = [(ACTIVATIONS[name], {**ACTIVATIONS[name].defaults, **(numbers or {})}) for name in names]
    net = Network(BACKEND, layout, operations, rows, flat, gradient)
    net.inputs[...] = 1
    net.inputs[0, :, : x.shape[1]] = x
    play(net.forward)
    scores = net.scores[0].T.copy()
    targets = np.zeros_like(scores) if targets is None else targets
    losses, slope = value_and_gradient(LOSSES[loss], BACKEND, scores, targets, options)
    net.scores[0] = (slope * (np.full(rows, 1 / rows) if upstream is None else upstream)[:, None]).T
    play(net.backward)
    hidden = [h[0, :width].T.copy() for h, width in zip(net.hidden, layout.widths[1:-1], strict=True)]
    return Played(scores, hidden, losses, layout.named(gradient[0]))


def random_parameters(widths: Sequence[int], seed: int = 0, *, bias: bool = True, scale: float = 0.7) -> Tensors:
    """Normal W1 (I, O), b1 (O,), W2, ... of the given widths."""
    layout = Layout(tuple(widths), bias)
    return layout.named(np.random.default_rng(seed).normal(size=layout.count) * scale)


def outputs_of(loss: str) -> int:
    """Scores that a net needs for this loss on `table_for(loss)`."""
    info = table_for(loss).info
    return resolve.layout_of(spec_for(table_for(loss), loss=loss), info.n_inputs, info.n_outputs).widths[-1]


def targets_for(loss: str, rows: int, seed: int = 0) -> np.ndarray:
    """Random class codes (rows,), or 0 and 1 as values (rows, outputs)."""
    drawn = np.random.default_rng(seed).integers(2, size=(rows, outputs_of(loss)))
    return drawn[:, 0] if LOSSES[loss].target == "class" else drawn.astype(float)


def numerical_gradient(f: Callable[[], float], variables: Mapping[str, np.ndarray], h: float = 1e-6) -> Tensors:
    """Central differences of f with respect to every element, changed in place."""
    found = {name: np.zeros(array.shape) for name, array in variables.items()}
    for name, array in variables.items():
        for place in np.ndindex(array.shape):
            here = array[place]
            array[place] = here + h
            above = f()
            array[place] = here - h
            found[name][place] = (above - f()) / (2 * h)
            array[place] = here
    return found


def assert_close(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], **tolerance: float) -> None:
    """The same tensors: names, shapes, numbers."""
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert array.shape == expected[name].shape, name
        np.testing.assert_allclose(array, expected[name], err_msg=name, **{"rtol": 1e-12, "atol": 1e-13, **tolerance})


def table_for(loss: str) -> Table:
    """A small data set that this loss accepts: three classes, else two, else regression."""
    for table in (blobs(), blobs(classes=2), line()):
        try:
            spec_for(table, loss=loss)
        except InvalidInput:
            continue
        return table
    raise AssertionError(f"{loss} accepts no task")


def check_net(activation: str, loss: str) -> GradientCheck:
    """The product's own gradient check of a three-layer net with this activation and loss."""
    table = table_for(loss)
    return gradient_check(spec_for(table, net={"hidden": [6, 5], "activation": activation}, loss=loss), table, rows=12)
