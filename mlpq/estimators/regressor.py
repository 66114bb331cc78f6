"""A regressor that trains on the service."""

from __future__ import annotations

from typing import Any, Self

from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if

from mlpq.arrays import Array
from mlpq.client import Client
from mlpq.estimators.base import ServiceEstimator, can_go_on, weights_of


class MLPRegressor(RegressorMixin, ServiceEstimator):  # type: ignore[misc]
    """A fully connected net for one number, trained by an mlpq service; it predicts without one.

    The target is standardised while training, and `coefs_[-1]` and `intercepts_[-1]` are for its own unit all the same.

    Args and attributes are those of `MLPClassifier`, but for classes and their weights. `loss` is `squared_error`,
    `huber` or `absolute_error`, or a dictionary with settings; `validation_scores_` are R².
    """

    _task = "regression"

    def __init__(
        self,
        hidden_layer_sizes: Any = None,
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float | None = None,
        batch_size: int | str | None = "auto",
        learning_rate_init: float | None = None,
        max_iter: int | None = None,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float | None = 1e-4,
        n_iter_no_change: int = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        momentum: float | None = None,
        nesterovs_momentum: bool | None = None,
        beta_1: float | None = None,
        beta_2: float | None = None,
        epsilon: float | None = None,
        verbose: bool = False,
        loss: Any = None,
        schedule: Any = None,
        standardize: bool = True,
        dropout: float = 0.0,
        batch_norm: bool = False,
        init: Any = None,
        clip_norm: float | None = None,
        precision: str = "float32",
        device: str = "auto",
        keep: bool = False,
        url: str | None = None,
        api_key: str | None = None,
        client: Client | None = None,
    ) -> None:
        self._keep_parameters(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train from new weights.

        Args:
            X: (n, features) numbers, dense or sparse.
            y: (n,) numbers.
            sample_weight: (n,) not negative; scales each row's loss.

        Raises:
            ServiceUnreachableError: no service answers; the message names its address.
        """
        X, y = self._checked(X, y)
        return self._fit(X, y, sample_weight, {})

    @available_if(can_go_on)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One epoch over these rows from the weights so far. See `MLPClassifier.partial_fit`."""
        first = not hasattr(self, "coefs_")
        X, y = self._checked(X, y, reset=first)
        return self._fit_more(X, y, weights_of(sample_weight, X), {}, first=first)

    def predict(self, X: Any) -> Array:
        """The numbers (n,) of rows (n, features)."""
        return self._scores(X)[:, 0]
