"""A trained net on the rows that were held out for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.backend import Backend
from nets.scoring import evaluate
from nets.threads import beside_others
from nets.weights import Predictor
from worker.data import Subject


def held_out_figures(
    subject: Subject, parameters: Mapping[str, NDArray[Any]], backend: Backend, goes_on: Callable[[], None]
) -> dict[str, float | None]:
    """Loss and scores as `test_…`, in blocks of rows; empty where nothing was held out.

    Args:
        subject: the net, its inputs and the rows.
        parameters: the trained ones, by name.
        backend: computes the scores.
        goes_on: called before each block; what it raises comes through.

    Raises:
        InvalidInput: the data set does not fit.
    """
    holdout, preprocessing = subject.holdout, subject.member.data.preprocessing
    if holdout is None or preprocessing is None:
        return {}
    predictor = Predictor(subject.member.spec, subject.about, preprocessing, parameters, backend)

    def scores(cells: NDArray[np.float64]) -> NDArray[Any]:
        goes_on()
        with beside_others(predictor.layout.count):
            return predictor.scores(cells)

    found = evaluate(predictor, holdout.table, scores, holdout.rows).metrics
    return {f"test_{name}": value for name, value in found.items()}
