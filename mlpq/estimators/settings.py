"""From an estimator's parameters to the settings of a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

DEFAULT_BATCH = 32
"""Rows of a batch on the service, if nobody says otherwise; `alpha` is divided by it."""

MAX_SEED = 2**31 - 1

_ACTIVATIONS = {"logistic": "sigmoid"}
"""What scikit-learn calls otherwise than the service."""

_OF_SOLVER: Mapping[str, Mapping[str, str]] = {
    "sgd": {"momentum": "momentum", "nesterovs_momentum": "nesterov"},
    "adam": {"beta_1": "beta1", "beta_2": "beta2", "epsilon": "epsilon"},
    "adamw": {"beta_1": "beta1", "beta_2": "beta2", "epsilon": "epsilon"},
}
"""The parameters that a solver has beside its step size, and their names on the service."""

_PLAIN = ("dropout", "batch_norm", "init", "loss", "schedule", "shuffle", "clip_norm", "precision", "device")
"""Parameters that are called the same on the service."""


def job_settings(parameters: Mapping[str, Any], task: str, n_rows: int) -> dict[str, Any]:
    """Keywords of `Client.train` for an estimator's parameters; what is None is left to the service.

    Args:
        parameters: as `get_params` gives them.
        task: `classification` or `regression`.
        n_rows: rows of the data set.
    """
    settings = {name: parameters[name] for name in _PLAIN if parameters[name] is not None}
    settings["hidden"] = _hidden(parameters["hidden_layer_sizes"])
    settings["activation"] = _activation(parameters["activation"])
    settings["epochs"] = parameters["max_iter"]
    settings["batch_size"] = _batch_rows(parameters, n_rows)
    settings["optimizer"] = _optimizer(parameters, task, settings["batch_size"] or min(DEFAULT_BATCH, n_rows))
    settings["seed"] = int(check_random_state(parameters["random_state"]).randint(MAX_SEED))
    settings["early_stopping"] = _stopping(parameters, task)
    given = {name: value for name, value in settings.items() if value is not None}
    return given | {"validation_fraction": float(parameters["validation_fraction"] if _validates(parameters) else 0)}


def _hidden(sizes: Any) -> list[int] | None:
    if sizes is None:
        return None
    return [int(size) for size in np.atleast_1d(np.asarray(sizes, dtype=object))]


def _activation(activation: Any) -> Any:
    if isinstance(activation, str):
        return _ACTIVATIONS.get(activation, activation)
    return activation if isinstance(activation, Mapping) else [_activation(one) for one in activation]


def _batch_rows(parameters: Mapping[str, Any], n_rows: int) -> int | None:
    """Rows of a batch; written out where `alpha` is divided by them."""
    size = parameters["batch_size"]
    if size is None or size == "auto":
        return None if parameters["alpha"] is None else min(DEFAULT_BATCH, n_rows)
    return min(int(size), n_rows)


def _optimizer(parameters: Mapping[str, Any], task: str, batch_rows: int) -> Any:
    """None where everything is left to the service, which then takes what suits the number of rows."""
    solver = parameters["solver"]
    if isinstance(solver, Mapping):
        return dict(solver)
    named = _OF_SOLVER.get(solver, {})
    given = {there: parameters[here] for here, there in named.items() if parameters[here] is not None}
    if parameters["learning_rate_init"] is not None:
        given["learning_rate"] = float(parameters["learning_rate_init"])
    if parameters["alpha"] is not None:
        given |= _decay(parameters, solver, task, batch_rows)
    return None if solver == "adam" and not given else {"name": solver, **given}


def _decay(parameters: Mapping[str, Any], solver: str, task: str, batch_rows: int) -> dict[str, float]:
    """scikit-learn adds alpha/(2·rows) ΣW² to the loss of a batch, and takes half the squared error."""
    alpha = float(parameters["alpha"])
    if solver == "adamw":
        return {"weight_decay": alpha}
    whole_square = task == "regression" and parameters["loss"] in (None, "squared_error")
    return {"l2": alpha / (batch_rows if whole_square else 2 * batch_rows)}


def _validates(parameters: Mapping[str, Any]) -> bool:
    return bool(parameters["early_stopping"])


def _stopping(parameters: Mapping[str, Any], task: str) -> dict[str, Any] | None:
    """By the score of held-out rows, or by the training loss; None where neither is to stop the run."""
    if parameters["tol"] is None:
        return None
    metric = "train_loss"
    if _validates(parameters):
        metric = "val_accuracy" if task == "classification" else "val_r2"
    patience, tolerance = int(parameters["n_iter_no_change"]), float(parameters["tol"])
    best = _validates(parameters)
    return {"metric": metric, "patience": patience, "min_delta": tolerance, "restore_best": best}
