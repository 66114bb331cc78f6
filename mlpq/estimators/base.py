"""What both estimators share: parameters, the way to the service, and the trained net that they keep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from mlpq.arrays import Array
from mlpq.client import Client
from mlpq.errors import InvalidArgumentError
from mlpq.estimators.dense import DenseNet, dense_from
from mlpq.estimators.settings import job_settings
from mlpq.estimators.training import Fitted, Rows, Stay, forget, train

MAX_DENSE_BYTES = 4 << 30
"""Largest table that sparse rows are written out to."""


class ServiceEstimator(BaseEstimator):  # type: ignore[misc]
    """A net that the service trains. Parameters are documented where they are used, in the two estimators."""

    _task: str

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _keep_parameters(self, given: Mapping[str, Any]) -> None:
        """Every parameter of the constructor as an attribute, untouched."""
        for name in self._get_param_names():
            setattr(self, name, given[name])

    def _scores(self, x: Any) -> Array:
        """Rows (n, features) -> the net's outputs (n, out), computed here."""
        check_is_fitted(self)
        x = validate_data(self, x, accept_sparse=("csr", "csc"), dtype=(np.float64, np.float32), reset=False)
        return self._net().scores(x)

    def _net(self) -> DenseNet:
        return DenseNet(self.coefs_, self.intercepts_, self.activations_, self.out_activation_)

    def _checked(self, x: Any, y: Any, *, reset: bool = True) -> tuple[Any, Any]:
        """Rows and targets as arrays, or the error that scikit-learn has for them."""
        numeric = self._task == "regression"
        wanted = {"accept_sparse": ("csr", "csc"), "dtype": (np.float64, np.float32), "y_numeric": numeric}
        found_x, found_y = validate_data(self, x, y, reset=reset, **wanted)
        return found_x, found_y.astype(np.float64) if numeric else found_y

    def _fit(self, x: Any, y: Array, sample_weight: Any, more: dict[str, Any]) -> Self:
        """Train from new weights."""
        rows = self._rows(x, y, weights_of(sample_weight, x))
        settings = job_settings(self.get_params(deep=False), self._task, len(y)) | more
        stay = Stay(rows=self.keep, job=self.keep)
        with self._connected() as client:
            fitted = train(client, rows, settings, name=type(self).__name__, stay=stay, verbose=self.verbose)
            self._forget_origin(client)
        self._begin()
        self._for_more = False
        return self._remember(fitted, len(y))

    def _fit_more(self, x: Any, y: Array, weights: Array | None, more: dict[str, Any], *, first: bool) -> Self:
        """One epoch over these rows, from new weights or from those so far, whose job stays for the next call."""
        origin = None if first else self.job_id_
        parameters = self.get_params(deep=False) | {"early_stopping": False, "tol": None, "max_iter": 1}
        parameters["schedule"] = parameters["schedule"] or "constant"
        settings = job_settings(parameters, self._task, len(y)) | more
        with self._connected() as client:
            fitted = train(
                client,
                self._rows(x, y, weights),
                settings,
                name=type(self).__name__,
                stay=Stay(rows=self.keep, job=True),
                verbose=self.verbose,
                origin=origin,
            )
            self._forget_origin(client)
        if first:
            self._begin()
        self._for_more = not self.keep
        return self._remember(fitted, len(y))

    def _rows(self, x: Any, y: Array, weights: Array | None) -> Rows:
        return Rows(_dense(x), y, weights, self._task, bool(self.standardize))

    def _begin(self) -> None:
        """Nothing is counted yet."""
        self.n_iter_ = self.t_ = 0
        self.loss_curve_: list[float] = []

    def _forget_origin(self, client: Client) -> None:
        """Delete the job that was only there to go on from."""
        if getattr(self, "_for_more", False) and self.job_id_ is not None:
            forget(client, self.job_id_)

    @contextmanager
    def _connected(self) -> Iterator[Client]:
        """The client that was given, or one of our own for as long as the call lasts."""
        if self.client is not None:
            yield self.client
            return
        with Client(self.url, self.api_key) as client:
            yield client

    def _remember(self, fitted: Fitted, n_rows: int) -> Self:
        """Everything that is known after a fit."""
        net = dense_from(fitted.weights)
        self.coefs_, self.intercepts_ = net.coefs, net.intercepts
        self.activations_, self.out_activation_ = net.activations, net.link
        self.n_layers_, self.n_outputs_ = len(net.coefs) + 1, net.coefs[-1].shape[1]
        self.loss_curve_ = self.loss_curve_ + fitted.curves["train_loss"].tolist()
        self.loss_, self.best_loss_ = self.loss_curve_[-1], min(self.loss_curve_)
        score = "val_accuracy" if self._task == "classification" else "val_r2"
        scores = fitted.curves.get(score)
        self.validation_scores_ = None if scores is None or np.isnan(scores).all() else scores.tolist()
        self.best_validation_score_ = max(self.validation_scores_) if self.validation_scores_ else None
        self.n_iter_ += fitted.n_epochs
        self.t_ += fitted.n_epochs * n_rows
        self.job_id_ = fitted.job_id
        return self


def can_go_on(estimator: Any) -> bool:
    """Whether there is a job to go on from, or nothing to go on from yet. Raises AttributeError otherwise."""
    if getattr(estimator, "job_id_", "") is None:
        raise AttributeError("partial_fit goes on from a job on the service; fit deleted its own: fit with keep=True")
    return True


def _dense(x: Any) -> Array:
    """Rows as the service reads them. Raises InvalidArgumentError for sparse ones that are too many written out."""
    if not hasattr(x, "toarray"):
        return np.asarray(x)
    size = x.shape[0] * x.shape[1] * x.dtype.itemsize
    if size > MAX_DENSE_BYTES:
        detail = f"sparse X of {x.shape} takes {size / 2**30:.1f} GiB written out; must be 0..{MAX_DENSE_BYTES >> 30}"
        raise InvalidArgumentError(detail)
    return np.asarray(x.toarray())


def weights_of(sample_weight: Any, x: Any) -> Array | None:
    """Weights (n,) with mean 1, so that a step is as long as without them; None where there are none."""
    if sample_weight is None:
        return None
    weights = np.asarray(_check_sample_weight(sample_weight, x, dtype=np.float64))
    if weights.min() < 0:
        raise ValueError("Negative values in data passed to `sample_weight`")
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return np.asarray(weights / weights.mean())
