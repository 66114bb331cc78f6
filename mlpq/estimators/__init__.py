"""scikit-learn estimators that train on a running service and predict on their own.

>>> from mlpq import MLPClassifier
>>> net = MLPClassifier().fit(X, y)                            # doctest: +SKIP
>>> net.predict_proba(X_new)                                   # doctest: +SKIP
"""

from __future__ import annotations

try:
    import sklearn  # noqa: F401 - first of all, so that its absence is told as what it is
except ImportError as error:
    raise ImportError('the estimators need scikit-learn: pip install "mlpq[sklearn]"') from error

from mlpq.estimators.classifier import MLPClassifier
from mlpq.estimators.regressor import MLPRegressor
from mlpq.estimators.together import together

__all__ = ["MLPClassifier", "MLPRegressor", "together"]
