"""What a trained net says and shows, as it is answered."""

from __future__ import annotations

from typing import Any, Literal

from service.models.answers import Out, Page


class UnseenOut(Out):
    """A column with categories that the training rows did not have: in how many rows, and the first few of them."""

    column: str
    n_rows: int
    values: list[str | bool | float]


class PredictOut(Out):
    """Predictions, one per row; probabilities for classification; what was taken as no category at all."""

    object: Literal["predictions"]
    predictions: list[str | float]
    probabilities: list[list[float]] | None
    classes: list[str] | None
    unseen: list[UnseenOut]


class EvaluationOut(Out):
    """Figures of a job on a data set; null where one is not defined. `confusion_matrix`: true class by predicted."""

    object: Literal["evaluation"]
    job: str
    dataset: str
    task: Literal["classification", "regression"]
    n_rows: int
    metrics: dict[str, float | None]
    classes: list[str] | None
    confusion_matrix: list[list[int]] | None


class ExplanationOut(Out):
    """An explanation; its numbers stand beside these fields. `step`: of the checkpoint, if it is of one."""

    object: str
    job: str
    dataset: str
    dataset_name: str
    at: Literal["checkpoint", "result"]
    step: int | None


class ExplanationList(Page):
    """Every explanation, and whether a job has it."""

    data: list[dict[str, Any]]


class GradientCheckOut(Out):
    """Per parameter tensor the largest relative error against central differences; null where not finite."""

    object: Literal["gradient_check"]
    dataset: str
    at: Literal["initial", "checkpoint", "result"]
    ok: bool
    tolerance: float
    errors: dict[str, float | None]
    max_relative_error: float | None
    checked: int
    at_kinks: int
    initial_loss: float | None
    expected_loss: float | None
    rows: int
