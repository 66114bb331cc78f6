"""First-layer weights as what they look for: an image for every class of a linear net, for every unit of another.

A net's input is (pixel - mean) / std, so that a pixel counts w / std: templates are in the pixels' own units.
Axis legend: I inputs, U units of the first layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nets.explain.inputs import input_names
from nets.explain.subject import Known, Subject
from nets.options import Option, Value
from nets.table import Image

Floats = NDArray[np.float64]

LIMIT = Option("limit", 64, "Most templates, those with the largest weights behind them first", low=1, high=400)
MAX_INPUTS = 64
"""Inputs of a net whose weights are shown as a table, where they are no image."""


def lacks(known: Known) -> str | None:
    """Why a job has no such explanation."""
    made = featurisers(known.spec.to_json())
    if made:
        return f"the net's inputs are features of images ({', '.join(made)}), which have no place in them"
    inputs = known.info.n_inputs
    if _image(known) is not None or inputs <= MAX_INPUTS:
        return None
    if known.image is not None:
        return f"the net's {inputs} inputs are not the {known.image.size} pixels of an image"
    return f"the data set holds no images, and {inputs} inputs are too many for a table; at most {MAX_INPUTS} fit"


def featurisers(spec: Mapping[str, Any]) -> list[str]:
    """The names of what makes a net's inputs of images, beside their raw pixels, in a spec's JSON."""
    names = [one if isinstance(one, str) else one["name"] for one in spec.get("features", ())]
    return [name for name in names if name != "raw"]


def compute(subject: Subject, options: Mapping[str, Value]) -> dict[str, Any]:
    """Weights of the first layer, per unit, in units of the data: (height, width, channels) or (inputs,)."""
    known, predictor = subject.known, subject.predictor
    parameters = predictor.layout.named(predictor.flat)
    first = parameters["W1"]  # (I, U)
    chosen = _chosen(known, parameters, int(options["limit"] or 0))
    weights = first[:, chosen].astype(np.float64)  # before anything else: a wide layer is not copied as a whole
    image = _image(known)
    if image is not None:
        weights = np.nan_to_num(weights / predictor.preprocessing.std[:, None])
        shape: tuple[int, ...] = (image.height, image.width, image.channels)
    else:
        shape = (known.info.n_inputs,)
    names = _names(known, first.shape[1])
    return {
        "of": "hidden units"
        if known.spec.net.hidden
        else "classes"
        if known.info.task == "classification"
        else "target",
        "n_units": int(first.shape[1]),
        "image": None if image is None else asdict(image),
        "inputs": None if image is not None else input_names(known.info),
        "templates": [
            {
                "unit": int(unit),
                "name": names[unit],
                "largest": float(np.abs(column).max(initial=0.0)),
                "weights": column.reshape(shape).tolist(),
            }
            for unit, column in zip(chosen, weights.T, strict=True)
        ],
    }


def _image(known: Known) -> Image | None:
    """The image that the inputs are; None if they are something else."""
    plain = known.info.n_inputs == len(known.info.columns)
    return known.image if plain and known.image is not None and known.image.size == known.info.n_inputs else None


def _chosen(known: Known, parameters: Mapping[str, NDArray[Any]], limit: int) -> NDArray[np.int64]:
    """Units, the heaviest outgoing weights first; classes as they come."""
    units = parameters["W1"].shape[1]
    if not known.spec.net.hidden:
        return np.arange(min(units, limit))
    influence = np.linalg.norm(parameters["W2"], axis=1) * np.linalg.norm(parameters["W1"], axis=0)
    return np.argsort(-influence, kind="stable")[:limit]


def _names(known: Known, units: int) -> list[str]:
    if known.spec.net.hidden:
        return [f"unit {unit + 1}" for unit in range(units)]
    classes = known.info.classes
    if units == len(classes):
        return list(classes)
    return [f"{classes[1]} against {classes[0]}"] if len(classes) == 2 else ["target"]
