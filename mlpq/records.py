"""What the service says, as typed values. Unknown fields stay reachable through `raw`, so a newer service works too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Json = dict[str, Any]

TERMINAL = frozenset({"succeeded", "failed", "cancelled"})
"""The statuses that never change again."""


@dataclass(frozen=True)
class Progress:
    """How far a job is; `eta_s` is the service's estimate in seconds."""

    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    eta_s: float | None = None


@dataclass(frozen=True)
class JobProblem:
    """Why a job failed."""

    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True)
class JobRecord:
    """A job as the service described it at one moment."""

    id: str
    status: str
    status_reason: str | None
    name: str | None
    attempt: int
    progress: Progress
    queue_position: int | None
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    device: str | None
    backend: str | None
    dataset: str
    spec: Mapping[str, Any]
    metrics: Mapping[str, float | None]
    error: JobProblem | None
    tags: tuple[str, ...]
    metadata: Mapping[str, Any]
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def ended(self) -> bool:
        """Whether the status is final."""
        return self.status in TERMINAL

    @property
    def dataset_name(self) -> str:
        """What people call its data set; the id where the service does not say."""
        return str(self.raw.get("dataset_name") or self.dataset)


@dataclass(frozen=True)
class Column:
    """One column of a data set as it was read.

    Attributes:
        name: unique within the data set.
        kind: `numeric`, `categorical`, `boolean`, or `datetime` (seconds since 1970).
        missing: cells without a value.
        cardinality: different values; None where they were not counted.
        minimum: the smallest number; None for text.
        maximum: the largest number; None for text.
        categories: the texts in the order of their codes; empty for numbers.
    """

    name: str
    kind: str
    missing: int = 0
    cardinality: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetRecord:
    """A data set as the service described it."""

    id: str
    name: str
    task: str
    n_rows: int | None
    n_features: int | None
    n_classes: int | None
    classes: tuple[str, ...]
    columns: tuple[Column, ...]
    warnings: tuple[str, ...]
    sha256: str | None
    bytes: int | None
    created_at: datetime | None
    raw: Mapping[str, Any] = field(repr=False)

    def _repr_html_(self) -> str:
        """The data set as a card, for notebooks."""
        from mlpq.notebook.cards import dataset_card

        return dataset_card(self)


def job_from(document: Mapping[str, Any]) -> JobRecord:
    """Read a job resource."""
    problem = document.get("error")
    return JobRecord(
        id=str(document["id"]),
        status=str(document["status"]),
        status_reason=document.get("status_reason"),
        name=document.get("name"),
        attempt=int(document.get("attempt") or 0),
        progress=_progress(document.get("progress") or {}),
        queue_position=document.get("queue_position"),
        created_at=moment(document.get("created_at")),
        started_at=moment(document.get("started_at")),
        finished_at=moment(document.get("finished_at")),
        device=document.get("device"),
        backend=_named(document.get("backend")),
        dataset=str(_named(document.get("dataset")) or ""),
        spec=document.get("spec") or {},
        metrics=document.get("metrics") or {},
        error=_problem(problem) if problem else None,
        tags=tuple(document.get("tags") or ()),
        metadata=document.get("metadata") or {},
        raw=document,
    )


def dataset_from(document: Mapping[str, Any]) -> DatasetRecord:
    """Read a data set resource."""
    columns = tuple(map(_column, document.get("columns") or ()))
    return DatasetRecord(
        id=str(document["id"]),
        name=str(document.get("name") or document["id"]),
        task=str(document.get("task") or ""),
        n_rows=document.get("n_rows"),
        n_features=document.get("n_features"),
        n_classes=document.get("n_classes"),
        classes=tuple(str(name) for name in document.get("classes") or ()),
        columns=columns,
        warnings=tuple(_sentence(warning) for warning in document.get("warnings") or ()),
        sha256=document.get("sha256"),
        bytes=document.get("bytes"),
        created_at=moment(document.get("created_at")),
        raw=document,
    )


def _column(document: Mapping[str, Any]) -> Column:
    return Column(
        str(document.get("name")),
        str(document.get("kind")),
        int(document.get("missing") or 0),
        document.get("cardinality"),
        document.get("minimum"),
        document.get("maximum"),
        tuple(map(str, document.get("categories") or ())),
    )


def moment(text: Any) -> datetime | None:
    """An ISO-8601 time with its zone, or None."""
    return datetime.fromisoformat(text) if isinstance(text, str) and text else None


def parse_json(content: bytes | str) -> Json:
    """A JSON object; anything else is an error of the service."""
    document = json.loads(content)
    if not isinstance(document, dict):
        raise TypeError(f"the service answered {type(document).__name__} instead of a JSON object")
    return document


def _progress(document: Mapping[str, Any]) -> Progress:
    epoch, epochs, step, steps = (int(document.get(key) or 0) for key in ("epoch", "epochs", "step", "steps"))
    return Progress(epoch, epochs, step, steps, document.get("eta_s"))


def _problem(document: Mapping[str, Any]) -> JobProblem:
    return JobProblem(str(document.get("code") or "error"), str(document.get("message") or ""), document.get("param"))


def _named(value: Any) -> str | None:
    """A resource's name or id, whether it comes as a string or as an object."""
    if isinstance(value, Mapping):
        value = value.get("id") or value.get("name")
    return None if value is None else str(value)


def _sentence(warning: Any) -> str:
    return str(warning.get("detail") or warning) if isinstance(warning, Mapping) else str(warning)
