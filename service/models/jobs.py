"""Jobs as they are answered: their state, what they would be, what is kept of them."""

from __future__ import annotations

from typing import Any, Literal

from service.models.answers import Out, Page


class ProgressOut(Out):
    """How far a job is."""

    epoch: int
    epochs: int
    step: int
    steps: int
    eta_s: float | None


class JobErrorOut(Out):
    """Why a job failed."""

    code: str
    message: str
    param: str | None = None


class OriginOut(Out):
    """What a fork started from: a job's result, or its checkpoint of a step."""

    job: str
    checkpoint: int | None


class JobOut(Out):
    """A job."""

    id: str
    object: Literal["job"]
    name: str | None
    status: Literal["queued", "running", "pausing", "paused", "cancelling", "succeeded", "failed", "cancelled"]
    status_reason: str | None
    attempt: int
    progress: ProgressOut
    queue_position: int | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    device: str | None
    backend: str | None
    spec: dict[str, Any]
    dataset: str
    dataset_name: str
    origin: OriginOut | None
    metrics: dict[str, float | None]
    error: JobErrorOut | None
    tags: list[str]
    metadata: dict[str, Any]
    priority: int
    owner: str | None
    links: dict[str, str]


class JobList(Page):
    """One page of jobs, newest first."""

    data: list[JobOut]


class CheckpointList(Page):
    """The checkpoints of a job, newest first."""

    data: list[dict[str, Any]]


class DryRunOut(Out):
    """What a job would be."""

    object: Literal["dry_run"]
    spec: dict[str, Any]
    inputs: int
    parameters: int
    rows: dict[str, int]
    memory_bytes: int
    initial_loss: float | None
    gradient_check: dict[str, Any] | None


class CardOut(Out):
    """The model card of a job."""

    object: Literal["card"]
    job: str
    dataset: dict[str, Any]
    spec: dict[str, Any]
    metrics: dict[str, dict[str, float | None]]
    environment: dict[str, Any]
    artifacts: list[dict[str, Any]]
