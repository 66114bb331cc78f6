"""Curves as they are answered."""

from __future__ import annotations

from typing import Literal

from service.models.answers import Out, Page


class MetricsOut(Out):
    """A curve as columns of equal length."""

    object: Literal["metrics"]
    job: str
    columns: dict[str, list[float | None]]
    n_points: int


class CurveOut(Out):
    """One figure of a job: its value at each of some steps."""

    steps: list[int]
    values: list[float]


class CurvesOut(Out):
    """The curves of a job by the names of their figures, and how many points it has in all."""

    object: Literal["curves"]
    job: str
    n_points: int
    curves: dict[str, CurveOut]


class CurveList(Page):
    """The curves of some jobs, in the order in which these were named."""

    data: list[CurvesOut]
