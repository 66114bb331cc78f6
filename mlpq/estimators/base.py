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
from mlpq.estimators.training import Fitted, Rows, train

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

    def _train(self, x: Any, y: Array, sample_weight: Any, more: dict[str, Any]) -> Fitted:
        """Train on the service, and keep what it learned."""
        rows = Rows(_dense(x), y, _weights(sample_weight, x), self._task, bool(self.standardize))
        settings = job_settings(self.get_params(deep=False), self._task, len(y)) | more
        with self._connected() as client:
            return train(client, rows, settings, name=type(self).__name__, keep=self.keep, verbose=self.verbose)

    @contextmanager
    def _connected(self) -> Iterator[Client]:
        """The client that was given, or one of our own for as long as the call lasts."""
        if self.client is not None:
            yield self.client
            return
        with Client(self.url, self.api_key) as client:
            yield client

    def _remember(self, fitted: Fitted) -> Self:
        """Everything that is known after a fit."""
        net = dense_from(fitted.weights)
        self.coefs_, self.intercepts_ = net.coefs, net.intercepts
        self.activations_, self.out_activation_ = net.activations, net.link
        self.n_layers_, self.n_outputs_ = len(net.coefs) + 1, net.coefs[-1].shape[1]
        self.loss_curve_ = fitted.curves["train_loss"].tolist()
        self.loss_, self.best_loss_ = self.loss_curve_[-1], min(self.loss_curve_)
        score = "val_accuracy" if self._task == "classification" else "val_r2"
        self.validation_scores_ = fitted.curves[score].tolist() if self.early_stopping else None
        self.best_validation_score_ = max(self.validation_scores_) if self.validation_scores_ else None
        self.n_iter_ = fitted.n_epochs
        self.job_id_ = fitted.job_id
        return self


def _dense(x: Any) -> Array:
    """Rows as the service reads them. Raises InvalidArgumentError for sparse ones that are too many written out."""
    if not hasattr(x, "toarray"):
        return np.asarray(x)
    size = x.shape[0] * x.shape[1] * x.dtype.itemsize
    if size > MAX_DENSE_BYTES:
        detail = f"sparse X of {x.shape} takes {size / 2**30:.1f} GiB written out; must be 0..{MAX_DENSE_BYTES >> 30}"
        raise InvalidArgumentError(detail)
    return np.asarray(x.toarray())


def _weights(sample_weight: Any, x: Any) -> Array | None:
    """Weights (n,) with mean 1, so that a step is as long as without them; None where there are none."""
    if sample_weight is None:
        return None
    weights = np.asarray(_check_sample_weight(sample_weight, x, dtype=np.float64))
    if weights.min() < 0:
        raise ValueError("Negative values in data passed to `sample_weight`")
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return np.asarray(weights / weights.mean())
