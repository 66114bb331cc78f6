"""Data sets as they are answered."""

from __future__ import annotations

from typing import Literal

from service.models.answers import Out, Page


class ColumnOut(Out):
    """A column of a data set."""

    name: str
    kind: str
    missing: int


class DatasetOut(Out):
    """A data set."""

    id: str
    object: Literal["dataset"]
    name: str
    task: Literal["classification", "regression"]
    n_rows: int
    n_features: int
    n_classes: int | None
    classes: list[str]
    columns: list[ColumnOut]
    warnings: list[str]
    sha256: str | None
    bytes: int | None
    created_at: str | None


class DatasetList(Page):
    """One page of data sets."""

    data: list[DatasetOut]
