"""What bodies may hold that come in: strict models."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from nets.choices import LossSpec
from nets.net_spec import NetSpec
from nets.spec import TrainingSpec
from service.models.fields import Metadata, Name, Priority, Tags

MAX_PREDICT_ROWS = 10_000
CHECK_ROWS = 8
"""Rows of a gradient check, if nobody says otherwise."""
MAX_CHECK_ROWS = 64


class Strict(BaseModel):
    """No conversions, no unknown fields, no infinities."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class JobRequest(TrainingSpec):
    """A job to train: only `dataset` is required."""

    dataset: str
    name: Name | None = None
    tags: Tags = Field(default_factory=list)
    metadata: Metadata = Field(default_factory=dict)
    priority: Priority = 0


Part = dict[str, Any]


class ForkRequest(Strict):
    """What a fork changes; what is not named stays as its origin has it. Of `features` nothing can be changed."""

    dataset: str | None = None
    net: Part = Field(default_factory=dict)
    loss: str | Part | None = None
    optimizer: str | Part | None = None
    schedule: str | Part | None = None
    training: Part = Field(default_factory=dict)
    name: Name | None = None
    tags: Tags = Field(default_factory=list)
    metadata: Metadata = Field(default_factory=dict)
    priority: Priority = 0


class JobPatch(Strict):
    """Changes to a job; what is not named stays."""

    name: Name | None = None
    tags: Tags = Field(default_factory=list)
    priority: Priority = 0


class PredictRequest(Strict):
    """Rows to predict: lists in the order of the data set's columns, or objects by column name."""

    rows: list[list[Any] | dict[str, Any]] = Field(min_length=1, max_length=MAX_PREDICT_ROWS)


class EvaluateRequest(Strict):
    """A data set to measure a job's weights on."""

    dataset: str


class GradientCheckRequest(Strict):
    """A net and a loss to check on the first rows of a data set: only `dataset` is required."""

    dataset: str
    net: NetSpec = NetSpec()
    loss: LossSpec | None = None
    rows: Annotated[int, Field(ge=1, le=MAX_CHECK_ROWS)] = CHECK_ROWS
