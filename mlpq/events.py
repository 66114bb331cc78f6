"""The events of a job's stream, typed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mlpq.sse import ServerEvent


@dataclass(frozen=True)
class Event:
    """Something that happened to a job. `id` grows strictly within a job; `data` is the event's whole JSON."""

    id: int
    data: Mapping[str, Any] = field(repr=False)
    type: ClassVar[str] = "event"


@dataclass(frozen=True)
class StatusEvent(Event):
    """The job's status became `status`."""

    status: str = ""
    reason: str | None = None
    type: ClassVar[str] = "status"


@dataclass(frozen=True)
class MetricEvent(Event):
    """A point of the curves; `score` is validation accuracy or R², whichever the task has."""

    step: int = 0
    epoch: int = 0
    train_loss: float | None = None
    val_loss: float | None = None
    score: float | None = None
    learning_rate: float | None = None
    samples_per_s: float | None = None
    attempt: int = 1
    type: ClassVar[str] = "metric"


@dataclass(frozen=True)
class CheckpointEvent(Event):
    """A checkpoint was stored: the job can go on from `step` whatever happens."""

    step: int = 0
    epoch: int = 0
    type: ClassVar[str] = "checkpoint"


@dataclass(frozen=True)
class LogEvent(Event):
    """A line that the trainer wants read."""

    message: str = ""
    type: ClassVar[str] = "log"


@dataclass(frozen=True)
class EndEvent(Event):
    """The last event of a job: its final status."""

    status: str = ""
    type: ClassVar[str] = "end"


@dataclass(frozen=True)
class ResetEvent(Event):
    """The history does not go on behind the previous event: what came next was trimmed, or (`id` is lower) the store
    lost its last moments and tells anew from `id` on."""

    type: ClassVar[str] = "reset"


def event_from(raw: ServerEvent, last_id: int) -> Event:
    """Type one event of the stream; an event without an id of its own (`reset`) keeps `last_id`."""
    data = json.loads(raw.data) if raw.data else {}
    if not isinstance(data, dict):
        data = {"value": data}
    number = event_number(raw.id, last_id)
    if raw.type == "metric":
        return _metric(number, data)
    if raw.type == "checkpoint":
        return CheckpointEvent(number, data, int(data.get("step") or 0), int(data.get("epoch") or 0))
    if raw.type == "status":
        return StatusEvent(number, data, str(data.get("status") or ""), data.get("reason") or data.get("status_reason"))
    if raw.type == "log":
        return LogEvent(number, data, str(data.get("message") or ""))
    if raw.type == "end":
        return EndEvent(number, data, str(data.get("status") or ""))
    if raw.type == "reset":
        return ResetEvent(number, data)
    return Event(number, data)


def event_number(event_id: str, otherwise: int) -> int:
    """The number in an event id."""
    return int(event_id) if event_id.isascii() and event_id.isdigit() else otherwise


def _metric(number: int, data: Mapping[str, Any]) -> MetricEvent:
    score = data.get("val_accuracy")
    return MetricEvent(
        number,
        data,
        step=int(data.get("step") or 0),
        epoch=int(data.get("epoch") or 0),
        train_loss=data.get("train_loss"),
        val_loss=data.get("val_loss"),
        score=data.get("val_r2") if score is None else score,
        learning_rate=data.get("learning_rate"),
        samples_per_s=data.get("samples_per_s"),
        attempt=int(data.get("attempt") or 1),
    )
