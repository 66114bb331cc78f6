"""A trained net as plain layers that act on raw inputs, so that it predicts without the service."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, softmax
from sklearn.utils.extmath import safe_sparse_dot

from mlpq.arrays import Array
from mlpq.errors import InvalidArgumentError
from mlpq.estimators.activations import activate

BATCH_NORM_EPSILON = 1e-5
"""What the service adds to a running variance."""

LINKS: Mapping[str, str] = {"softmax": "softmax", "binary_cross_entropy": "logistic"}
"""What turns scores into probabilities, by loss; the others give none."""


@dataclass(frozen=True)
class DenseNet:
    """Layers in float64.

    Attributes:
        coefs: (in, out) of every layer.
        intercepts: (out,) of every layer.
        activations: the formula of each hidden layer, see `activate`.
        link: `softmax`, `logistic` (one score tells two classes apart) or `identity`.
    """

    coefs: list[Array]
    intercepts: list[Array]
    activations: list[Any]
    link: str

    def scores(self, x: Any) -> Array:
        """Raw inputs (n, in), sparse or dense -> scores (n, out)."""
        a = x
        for layer, (coef, intercept) in enumerate(zip(self.coefs, self.intercepts, strict=True)):
            z = safe_sparse_dot(a, coef, dense_output=True) + intercept  # (n, out)
            a = activate(z, self.activations[layer]) if layer < len(self.activations) else z
        return np.asarray(a)


def probabilities(scores: Array, link: str) -> Array:
    """Scores (n, out) -> probabilities (n, classes)."""
    if link == "logistic":
        return np.concatenate([expit(-scores), expit(scores)], axis=1)
    return np.asarray(softmax(scores, axis=1))


def dense_from(weights: Mapping[str, Array]) -> DenseNet:
    """The layers of a weights file, with what stands before, between and behind its products folded into them.

    Standardised inputs, (x - mean) / std, batch normalisation and the restoration of a regression's target are affine:
    W/std and b - mean/std·W say the same of raw inputs, and likewise for the others.

    Raises:
        InvalidArgumentError: the file is of a service that is older than this client.
    """
    meta = json.loads(str(weights["meta"]))
    if "activations" not in meta:
        raise InvalidArgumentError("the weights do not say their activations: the service is older than this client")
    spec = meta["spec"]
    n_layers = sum(name[0] == "W" and name[1:].isdigit() for name in weights)
    coefs, intercepts = [], []
    for layer in range(1, n_layers + 1):
        coef = weights[f"W{layer}"].astype(np.float64)
        intercept = np.zeros(coef.shape[1]) + weights.get(f"b{layer}", 0.0)
        if f"gamma{layer}" in weights:
            gain = weights[f"gamma{layer}"] / np.sqrt(weights[f"running_var{layer}"].astype(float) + BATCH_NORM_EPSILON)
            intercept = (intercept - weights[f"running_mean{layer}"]) * gain + weights[f"beta{layer}"]
            coef = coef * gain
        coefs.append(coef)
        intercepts.append(intercept)
    intercepts[0] = intercepts[0] - (weights["input_mean"] / weights["input_std"]) @ coefs[0]
    coefs[0] = coefs[0] / weights["input_std"][:, None]
    coefs[-1] = coefs[-1] * weights["target_std"]
    intercepts[-1] = intercepts[-1] * weights["target_std"] + weights["target_mean"]
    loss = spec["loss"] if isinstance(spec["loss"], str) else spec["loss"]["name"]
    return DenseNet(coefs, intercepts, meta["activations"], LINKS.get(loss, "identity"))
