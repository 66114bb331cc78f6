"""How weights, activations and gradients are distributed, layer by layer: dead units, saturation, vanishing gradients.

Activations are those of prediction (no unit is left out, running figures normalise). Gradients are those of the data
loss, the mean over the rows, without dropout and without the l2 term.
Axis legend: B rows, H units of a layer, I in, O out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.errors import InvalidInput
from kernels.numpy_backend import NumpyBackend
from nets.explain.subject import Subject, finite, spread
from nets.losses import Arrays
from nets.network import Network, activations_of
from nets.options import Option, Value
from nets.tape import play

ROWS_USED = Option(
    "batch", 256, "Training rows, evenly spread, that activations and gradients are taken on", low=1, high=4096
)
BINS = Option("bins", 40, "Bins of each histogram", low=5, high=200)
MAX_PARAMETERS = 100_000_000
OPERATIONS = 4e10
"""Multiplications that a pass may cost, some seconds."""
SATURATED = 0.01
"""Where the activation's slope is smaller than this, next to nothing flows back."""
LARGEST = 1e300
MAX_VALUES = 1_000_000
"""Numbers of one histogram; of more, so many evenly spread ones."""


def compute(subject: Subject, options: Mapping[str, Value]) -> dict[str, Any]:
    """Histograms per layer, with shares of zeros, dead units and saturated activations."""
    bins, layout = int(options["bins"] or 0), subject.predictor.layout
    affordable = int(OPERATIONS / (6 * layout.count))
    if layout.count > MAX_PARAMETERS or affordable < 1:
        raise InvalidInput.at("/net/hidden", f"makes {layout.count} parameters; at most {MAX_PARAMETERS} are shown")
    rows = spread(subject.parts.train, min(int(options["batch"] or 0), affordable))
    seen = _pass(subject, subject.cells(rows), subject.truth(rows))
    layers = []
    for index in range(1, layout.n_layers + 1):
        layer: dict[str, Any] = {"layer": index, "name": _name(index, layout.n_layers), "units": layout.widths[index]}
        layer["weights"] = _histogram(seen.parameters[f"W{index}"], bins)
        layer["gradients"] = _histogram(seen.gradients[f"W{index}"], bins)
        if index < layout.n_layers:
            a, slope = seen.activations[index - 1], seen.slopes[index - 1]
            flat = np.abs(slope) < SATURATED
            layer["activation"] = subject.predictor.spec.net.activation[index - 1].name
            layer["activations"] = _histogram(a, bins) | {
                "saturated": float(flat.mean()),
                "dead_units": float(flat.all(axis=1).mean()),
            }
        layers.append(layer)
    return {"rows": "train", "n_rows": len(rows), "saturated_below_slope": SATURATED, "layers": layers}


@dataclass(frozen=True, eq=False)
class _Seen:
    parameters: Mapping[str, NDArray[Any]]
    gradients: Mapping[str, NDArray[Any]]
    activations: list[NDArray[Any]]
    slopes: list[NDArray[Any]]


def _pass(subject: Subject, cells: NDArray[np.float64], truth: NDArray[Any]) -> _Seen:
    """One pass forward as in prediction, one forward and backward as in training, on the same rows."""
    predictor, backend = subject.predictor, NumpyBackend()
    layout, spec, count = predictor.layout, predictor.spec, len(cells)
    parameters = np.array(predictor.flat[None])  # running figures move in training
    gradient = np.zeros_like(parameters)
    activations = activations_of(spec.net.activation)
    predicting = Network(backend, layout, activations, count, parameters)
    shares = np.full((1, count), 1 / count, parameters.dtype) if layout.batch_norm else None
    training = Network(backend, layout, activations, count, parameters, gradient, shares=shares)
    inputs = np.ones((1, count, layout.rows[0]), parameters.dtype)
    inputs[0, :, : layout.widths[0]] = predictor.preprocessing.transform(cells, parameters.dtype)
    predicting.inputs[...] = training.inputs[...] = inputs
    play(predicting.forward)
    hidden = [a[0, :width].copy() for a, width in zip(predicting.hidden, layout.widths[1:], strict=False)]
    slopes = []
    for (operation, numbers), z, a in zip(activations, predicting.before, hidden, strict=True):
        slope = np.empty_like(z[0])
        backend.backpropagate(operation, z[0], a, np.ones_like(slope), numbers, slope)
        slopes.append(slope)
    play(training.forward)
    _descend(subject, training, truth)
    play(training.backward)
    return _Seen(layout.named(predictor.flat), layout.named(gradient[0]), hidden, slopes)


def _descend(subject: Subject, net: Network, truth: NDArray[Any]) -> None:
    """Turn the net's scores into dL/dscores of the mean loss."""
    loss, options, count = subject.known.loss, subject.predictor.spec.loss.options, len(truth)
    dtype = net.scores.dtype
    targets = subject.targets(truth, net.scores[0].T)
    flat = (targets * count + np.arange(count))[None, :, None] if loss.target == "class" else targets[None]
    weights = np.full((1, count), 1 / count, dtype)
    records = np.zeros((loss.n_records, 1, count), dtype)
    play(loss.bind(NumpyBackend(), Arrays(net.scores, np.ascontiguousarray(flat), weights, records), options))


def _name(index: int, layers: int) -> str:
    return "output" if index == layers else f"hidden {index}"


def _histogram(array: NDArray[Any], bins: int) -> dict[str, Any]:
    """Counts of equal bins from the smallest to the largest number, and a few figures."""
    values = array.reshape(-1)
    if values.size > MAX_VALUES:
        values = values[np.linspace(0, values.size - 1, MAX_VALUES).astype(np.int64)]
    values = values.astype(np.float64)
    sound = np.clip(values[np.isfinite(values)], -LARGEST, LARGEST)  # the range must be a number too
    low, high = (float(sound.min()), float(sound.max())) if len(sound) else (0.0, 0.0)
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        low, high = low - (abs(low) or 1.0) * 0.5, high + (abs(high) or 1.0) * 0.5
    edges = np.linspace(low, high, bins + 1)
    place = np.clip(((sound - low) / (high - low) * bins).astype(np.int64), 0, bins - 1)
    return {
        "edges": edges.tolist(),
        "counts": np.bincount(place, minlength=bins).tolist(),
        "mean": finite(sound.mean()) if len(sound) else None,
        "std": finite(sound.std()) if len(sound) else None,
        "min": finite(sound.min()) if len(sound) else None,
        "max": finite(sound.max()) if len(sound) else None,
        "zeros": float((sound == 0).mean()) if len(sound) else None,
    }
