"""What bodies about many jobs look like: batches and sweeps."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from nets.sweeps.plan import Listed, Plan
from service.models.answers import Out, Page
from service.models.fields import Name
from service.models.jobs import JobOut
from service.models.requests import JobRequest, Strict

MAX_BATCH_JOBS = 1_000
"""Jobs in one call: one script records them all, and the store serves nobody else meanwhile."""


class BatchRequest(Strict):
    """Jobs to train: all of them are recorded, in this order, or none is."""

    jobs: list[JobRequest] = Field(min_length=1, max_length=MAX_BATCH_JOBS)


class BatchBody(Strict):
    """The same with its jobs still to be looked at, so that every wrong one is named."""

    jobs: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_BATCH_JOBS)


class SweepRequest(Plan):
    """Jobs on one data set that differ in what the sweep tries; `base` is a job's request without `dataset`."""

    dataset: str
    base: dict[str, Any] = Field(default_factory=dict)
    name: Name | None = None


class PointsRequest(Strict):
    """Further points of a sweep whose plan is a list: what each of their jobs sets, by path."""

    list: Listed


class SweepOut(Out):
    """A sweep; `best` is the job whose objective is best, `curves` are columns by job."""

    id: str
    object: Literal["sweep"]
    name: str | None
    status: Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled"]
    kind: Literal["grid", "random", "list", "asha"]
    dataset: str
    dataset_name: str
    base: dict[str, Any]
    objective: str
    direction: Literal["minimize", "maximize"]
    counts: dict[str, int]
    n_jobs: int
    created_at: str
    links: dict[str, str]


class SweepJobOut(Out):
    """A job of a sweep: its point and its objective, null where it has none."""

    id: str
    status: str
    status_reason: str | None
    point: dict[str, Any]
    objective: float | None


class SweepDetailsOut(SweepOut):
    """The same with its jobs in the order of their points."""

    best: SweepJobOut | None
    jobs: list[SweepJobOut]
    curves: dict[str, dict[str, list[float | None]]]


class SweepList(Page):
    """One page of sweeps, newest first."""

    data: list[SweepOut]


class BatchOut(Page):
    """The jobs of a batch, in the order of the request."""

    data: list[JobOut]
