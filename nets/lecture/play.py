"""What the rows of the lecture compute with: whole nets on the product's own tapes, and numerical derivatives.

Axis legend: B rows of a batch, I in, O out, C scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.numpy_backend import NumpyBackend
from kernels.operations import ACTIVATIONS
from nets.losses import LOSSES, value_and_gradient
from nets.network import Network
from nets.parameters import Layout
from nets.resolve import resolve
from nets.spec import ResolvedSpec, TrainingSpec
from nets.table import Table
from nets.tape import play

Floats = NDArray[np.float64]
Tensors = dict[str, NDArray[Any]]

BACKEND = NumpyBackend()


@dataclass(frozen=True)
class Played:
    """One pass: scores (B, C), hidden values [(B, H)], losses (B,), gradients shaped as the parameters."""

    scores: Floats
    hidden: list[Floats]
    losses: Floats
    gradients: Tensors


def layout_of(parameters: Mapping[str, NDArray[Any]]) -> Layout:
    """Widths and biases read from W1 (I, O), b1 (O,), ..."""
    weights = [array for name, array in parameters.items() if name.startswith("W")]
    return Layout((len(weights[0]), *(w.shape[1] for w in weights)), "b1" in parameters)


def play_net(
    parameters: Mapping[str, NDArray[Any]],
    x: NDArray[Any],
    activation: str | Sequence[str] = "relu",
    *,
    loss: str = "squared_error",
    targets: NDArray[Any] | None = None,
    upstream: NDArray[Any] | None = None,
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
    return Played(scores, hidden, np.asarray(losses, np.float64), layout.named(gradient[0]))


def loss_of(name: str, scores: Sequence[float] | Floats, label: int = 0) -> float:
    """The loss of one sample's scores."""
    return float(value_and_gradient(LOSSES[name], BACKEND, np.array([scores], float), np.array([label]))[0][0])


def activate(name: str, x: Floats, **parameters: float) -> Floats:
    """An activation, element by element."""
    out = np.empty_like(x)
    BACKEND.activate(ACTIVATIONS[name], x, {**ACTIVATIONS[name].defaults, **parameters}, out)
    return out


def random_parameters(widths: Sequence[int], seed: int = 0, *, bias: bool = True, scale: float = 0.7) -> Tensors:
    """Normal W1 (I, O), b1 (O,), W2, ... of the given widths."""
    layout = Layout(tuple(widths), bias)
    return dict(layout.named(np.random.default_rng(seed).normal(size=layout.count) * scale))


def numerical_gradient(f: Callable[[], float], variables: Mapping[str, NDArray[Any]], h: float = 1e-6) -> Tensors:
    """Central differences of f with respect to every element, changed in place."""
    found: Tensors = {name: np.zeros(array.shape) for name, array in variables.items()}
    for name, array in variables.items():
        for place in np.ndindex(array.shape):
            here = array[place]
            array[place] = here + h
            above = f()
            array[place] = here - h
            found[name][place] = (above - f()) / (2 * h)
            array[place] = here
    return found


def spec_for(table: Table, **spec: Any) -> ResolvedSpec:
    """A whole specification for a table, with every default."""
    return resolve(TrainingSpec.parse(spec), table.info)


def blobs(rows: int = 150, features: int = 4, classes: int = 3, seed: int = 0) -> Table:
    """Overlapping Gaussian classes."""
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=rows)
    x = rng.standard_normal((rows, features)) + rng.standard_normal((classes, features))[y] * 1.5
    return Table.from_arrays(x, y, classes=[f"class {c}" for c in range(classes)])


def line(rows: int = 120, features: int = 3, seed: int = 0) -> Table:
    """A noisy linear regression."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, features))
    return Table.from_arrays(x, 5 + 3 * x @ np.arange(1, features + 1) + rng.standard_normal(rows), "regression")


def descend(
    parameters: Mapping[str, NDArray[Any]],
    x: Floats,
    y: NDArray[Any],
    steps: int,
    learning_rate: float,
    activation: str = "relu",
) -> tuple[Tensors, list[float]]:
    """Plain gradient descent on the softmax loss of all rows; the weights, and the loss before every step."""
    weights, curve = {name: array.copy() for name, array in parameters.items()}, []
    for _ in range(steps):
        played = play_net(weights, x, activation, loss="softmax", targets=y)
        curve.append(float(played.losses.mean()))
        for name, gradient in played.gradients.items():
            weights[name] += -learning_rate * gradient
    return weights, curve


def accuracy(parameters: Mapping[str, NDArray[Any]], x: Floats, y: NDArray[Any]) -> float:
    """The share of rows whose largest score is their class's."""
    return float((play_net(parameters, x).scores.argmax(axis=1) == y).mean())
