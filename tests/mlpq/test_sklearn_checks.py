"""The scikit-learn estimators pass scikit-learn's own checks against a real service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from mlpq import MLPClassifier, MLPRegressor


@pytest.fixture(scope="module", autouse=True)
def everywhere(service_url: str) -> Iterator[None]:
    """Every estimator of this module finds the service."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLPQ_URL", service_url)
        yield


def excused(estimator: Any) -> dict[str, str]:
    """The two checks that no float32 net can pass: they compare results to seven digits."""
    why = "rows in another order are summed in another order, and training magnifies the last bit of float32"
    names = ("check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data")
    return dict.fromkeys(names, why)


@parametrize_with_checks([MLPClassifier(), MLPRegressor()], expected_failed_checks=excused)
def test_scikit_learn_finds_nothing_wrong(estimator: Any, check: Any) -> None:
    check(estimator)
