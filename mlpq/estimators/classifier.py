"""A classifier that trains on the service."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets

from mlpq.arrays import Array
from mlpq.client import Client
from mlpq.estimators.base import ServiceEstimator, can_go_on, weights_of
from mlpq.estimators.dense import LINKS, probabilities


def _has_probabilities(estimator: Any) -> bool:
    loss = estimator.loss
    name = loss["name"] if isinstance(loss, dict) else loss
    return name is None or name in LINKS


def _with_every_class(x: Any, codes: Array, weights: Array | None, n_classes: int) -> tuple[Any, Array, Array | None]:
    """The rows, and one of weight 0 for each class that has none: a data set has all the classes of its net."""
    absent = np.setdiff1d(np.arange(n_classes), codes)
    if len(absent) == 0:
        return x, codes, weights
    chosen = np.append(np.arange(len(codes)), np.zeros(len(absent), int))
    own = np.ones(len(codes)) if weights is None else weights
    scale = len(chosen) / len(codes)
    return x[chosen], np.append(codes, absent), np.append(own * scale, np.zeros(len(absent)))


class MLPClassifier(ClassifierMixin, ServiceEstimator):  # type: ignore[misc]
    """A fully connected net for classes, trained by an mlpq service; it predicts without one.

    Parameters that scikit-learn's `MLPClassifier` has too mean the same here. None leaves a choice to the service,
    which has good ones for every number of rows.

    Args:
        hidden_layer_sizes: units of every hidden layer; `()` is a linear classifier.
        activation: `identity`, `logistic`, `tanh`, `relu`, or any other of the service, with settings as
            `{"name": "leaky_relu", "alpha": 0.1}`; or a list, one for each hidden layer.
        solver: `adam`, `sgd`, or any other of the service; a dictionary says all of it: `{"name": "adamw", …}`.
        alpha: strength of the l2 penalty, divided by the rows of a batch.
        batch_size: rows of a batch, or `auto`.
        learning_rate_init: size of a step at the start; `schedule` changes it.
        max_iter: epochs.
        shuffle: whether every epoch has an order of its own.
        random_state: equal seeds give equal nets.
        tol: an epoch that does not lower the loss, or raise the validation score, by more has not improved it.
            None: train all epochs.
        n_iter_no_change: epochs without improvement after which the run ends.
        early_stopping: hold `validation_fraction` of the rows out, stop by their score, and keep the best weights.
        validation_fraction: share of the rows that are held out for it.
        momentum: of `sgd`.
        nesterovs_momentum: of `sgd`.
        beta_1: of `adam` and `adamw`.
        beta_2: of `adam` and `adamw`.
        epsilon: of `adam` and `adamw`.
        verbose: print the loss of every epoch.
        loss: `softmax`, `binary_cross_entropy`, `svm`, `squared_error`, …, or a dictionary with settings.
        schedule: `constant`, `step`, `cosine`, `linear`, `exponential`, `one_cycle`, or a dictionary with settings.
        class_weight: `balanced`, or a weight for each class.
        standardize: train on inputs of mean 0 and variance 1; `coefs_` and `intercepts_` are for raw ones all the same.
        dropout: share of hidden units that a step leaves out.
        batch_norm: normalise every hidden layer; folded into `coefs_` and `intercepts_` afterwards.
        init: initial weights, `he`, `xavier`, `normal:0.01`.
        clip_norm: longest gradient.
        precision: `float32` or `float64`; where a worker has a GPU also `tf32` or `bfloat16`.
        device: `auto`, `cpu` or `cuda:0`.
        keep: leave job and data set on the service; `job_id_` names the job.
        url: where the service is; default as for `Client`: `MLPQ_URL`, the config file, else http://127.0.0.1:8000.
        api_key: default as for `Client`.
        client: a `Client` to use instead of url and key.

    Attributes:
        classes_: the classes.
        coefs_: (in, out) of every layer, for raw inputs.
        intercepts_: (out,) of every layer.
        loss_curve_: training loss of every epoch, without the penalty.
        validation_scores_: accuracy on held-out rows after every epoch; None without `early_stopping`.
        n_iter_: epochs done.
        n_features_in_, feature_names_in_, n_layers_, n_outputs_, out_activation_, loss_, best_loss_: see scikit-learn.
        job_id_: the job on the service, or None if it was not kept.
    """

    _task = "classification"

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
        class_weight: Any = None,
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
            y: (n,) classes of any kind.
            sample_weight: (n,) not negative; scales each row's loss.

        Raises:
            ServiceUnreachableError: no service answers; the message names its address.
        """
        X, y = self._checked(X, y)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y has 1 class, {self.classes_[0]!r}; a classifier needs at least 2 classes")
        return self._fit(X, codes, sample_weight, self._class_weights())

    @available_if(can_go_on)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """One epoch over these rows from the weights so far, with a fresh optimizer and at a constant rate.

        What standardises the inputs is fitted on the rows of the first call. The last call's job stays on the service,
        where `job_id_` names it, for the next call to start from.

        Args:
            X: (n, features) numbers, dense or sparse.
            y: (n,) classes, any of `classes`.
            classes: all that there will be; needed in the first call.
            sample_weight: (n,) not negative; scales each row's loss.

        Raises:
            NotFoundError: the job to start from was deleted.
        """
        first = not hasattr(self, "coefs_")
        X, y = self._checked(X, y, reset=first)
        check_classification_targets(y)
        if not _check_partial_fit_first_call(self, classes) and first:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        codes, known = np.searchsorted(self.classes_, y), np.isin(y, self.classes_)
        if not known.all():
            raise ValueError(f"y has the class {y[~known][0]!r}; the classes are {self.classes_.tolist()}")
        X, codes, weights = _with_every_class(X, codes, weights_of(sample_weight, X), len(self.classes_))
        return self._fit_more(X, codes, weights, self._class_weights(), first=first)

    def predict(self, X: Any) -> Array:
        """The classes (n,) of rows (n, features)."""
        scores = self._scores(X)
        codes = (scores[:, 0] > 0).astype(int) if self.out_activation_ == "logistic" else scores.argmax(axis=1)
        return np.asarray(self.classes_[codes])

    def decision_function(self, X: Any) -> Array:
        """Scores (n, classes); of two classes the lead of the second one (n,)."""
        scores = self._scores(X)
        if len(self.classes_) > 2:
            return scores
        return scores[:, 0] if scores.shape[1] == 1 else np.asarray(scores[:, 1] - scores[:, 0])

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Array:
        """Probabilities (n, classes), in the order of `classes_`."""
        return probabilities(self._scores(X), self.out_activation_)

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> Array:
        """Logarithms of the probabilities (n, classes)."""
        return np.asarray(np.log(self.predict_proba(X)))

    def _class_weights(self) -> dict[str, Any]:
        """The setting `class_weight`, in which a class goes by its place in `classes_`."""
        if self.class_weight is None or isinstance(self.class_weight, str):
            return {"class_weight": self.class_weight}
        places = {label: str(place) for place, label in enumerate(self.classes_.tolist())}
        unknown = [label for label in self.class_weight if label not in places]
        if unknown:
            raise ValueError(f"class_weight names {unknown[0]!r}; the classes are {self.classes_.tolist()}")
        return {"class_weight": {places[label]: float(weight) for label, weight in self.class_weight.items()}}
