"""What a job's handle knows without asking: the last answer, and the points that it has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlpq.api import Api
from mlpq.events import Event, MetricEvent, ResetEvent, StatusEvent
from mlpq.records import JobProblem, JobRecord, Json, Progress

CURVES = ("epoch", "train_loss", "val_loss")


class Handle:
    """A job as its service described it last.

    Attributes:
        record: the last answer.
        curve: `epoch`, `train_loss` and `val_loss` of the points seen so far, by `events`, `watch` or a card.
    """

    def __init__(self, api: Api, record: JobRecord) -> None:
        self._api = api
        self.record = record
        self.curve: dict[str, list[float | None]] = {}

    @property
    def id(self) -> str:
        """The job's id, `job_…`."""
        return self.record.id

    @property
    def status(self) -> str:
        """`queued running pausing paused cancelling succeeded failed cancelled`, as of the last answer."""
        return self.record.status

    @property
    def progress(self) -> Progress:
        """Epochs and steps done, as of the last answer."""
        return self.record.progress

    @property
    def error(self) -> JobProblem | None:
        """Why the job failed, or None."""
        return self.record.error

    @property
    def spec(self) -> Mapping[str, Any]:
        """The resolved specification: every default filled in."""
        return self.record.spec

    @property
    def final_metrics(self) -> Mapping[str, float | None]:
        """Losses and scores of the finished net, by name; empty before."""
        return self.record.metrics

    @property
    def ended(self) -> bool:
        """Whether the status is final, as of the last answer."""
        return self.record.ended

    def __repr__(self) -> str:
        done = f"{self.progress.epoch}/{self.progress.epochs}"
        return f"<{type(self).__name__} {self.id} {self.status} on {self.record.dataset}, epoch {done}>"

    def to_json(self) -> Json:
        """The job exactly as the service described it last."""
        return dict(self.record.raw)

    def _repr_html_(self) -> str:
        """The job as a card, for notebooks."""
        from mlpq.notebook.cards import job_card

        return job_card(self.record, self.curve)

    def _take(self, event: Event) -> None:
        """Keep what an event tells about the job."""
        if isinstance(event, StatusEvent):
            self.record = replace(self.record, status=event.status, status_reason=event.reason)
        elif isinstance(event, MetricEvent):
            told = replace(self.record.progress, epoch=event.epoch, step=event.step, eta_s=None)
            self.record = replace(self.record, progress=told)
            self._keep(event)
        elif isinstance(event, ResetEvent):
            self.curve = {}

    def _keep(self, event: MetricEvent) -> None:
        seen = self.curve.get("epoch")
        if seen and seen[-1] is not None and event.epoch <= seen[-1]:  # the stream is told from its beginning again
            self.curve = {}
        point: Mapping[str, Any] = {"epoch": event.epoch, "train_loss": event.train_loss, "val_loss": event.val_loss}
        for name in CURVES:
            self.curve.setdefault(name, []).append(point[name])
