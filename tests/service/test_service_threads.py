"""What the API computes takes one thread of BLAS, beside the trainers of the same machine; large nets take all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from nets.threads import blas_threads
from nets.weights import Predictor
from service.predictors import Ready
from tests.nets.support import blobs, member_for


def threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if "numpy" in pool["filepath"]}


@pytest.mark.parametrize(("hidden", "expected"), [([8], 1), ([1000, 1000], 2)], ids=["small", "large"])
def test_predictions_and_evaluations_leave_the_processors_to_trainers(
    monkeypatch: pytest.MonkeyPatch, hidden: list[int], expected: int
) -> None:
    table = blobs()
    member = member_for(table, net={"hidden": hidden})
    assert member.data.preprocessing is not None
    named = member.layout.named(member.initial_parameters())
    predictor, seen = Predictor(member.spec, table.info, member.data.preprocessing, named), []
    scores = predictor.scores

    def watched(cells: NDArray[np.float64]) -> NDArray[Any]:
        seen.append(threads())
        return scores(cells)

    monkeypatch.setattr(predictor, "scores", watched)
    with blas_threads(2):
        Ready(predictor).evaluate(table)
        Ready(predictor).predict([[0.0] * len(table.info.columns)])
        assert seen == [{expected}] * 2
        assert threads() == {2}
