"""One claimed job while this process trains it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from kernels.backend import Backend
from nets.member import Member
from nets.trainer import Command
from store.records import Claim
from store.transitions import Status
from worker.data import Subject
from worker.failures import Failure
from worker.outbox import Closing, Outbox


@dataclass(frozen=True)
class Extent:
    """How much there is to do; it may be asked when the data is gone already."""

    epochs: int
    steps: int
    steps_per_epoch: int
    rows: int

    @classmethod
    def of(cls, member: Member) -> Self:
        """Of a member that is to be trained."""
        training = member.spec.training
        return cls(training.epochs, member.total_steps, member.steps_per_epoch, len(member.data.x_train))

    def progress(self, step: int, epoch: int, samples_per_s: float | None) -> dict[str, Any]:
        """How far a run is, and how long the rest takes at that rate, where there is one."""
        left = (self.steps - step) / self.steps_per_epoch * self.rows
        eta_s = round(left / samples_per_s, 1) if samples_per_s else None
        return {"epoch": epoch, "epochs": self.epochs, "step": step, "steps": self.steps, "eta_s": eta_s}


class Run:
    """One claimed job while this process trains it."""

    subject: Subject
    backend: Backend

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.outbox = Outbox(claim)
        self.failure: Failure | None = None
        self.told = Command.CONTINUE
        self.ended = False
        self.polls_since_point = 0
        self.points = 0
        self.samples_per_s: float | None = None
        self.last_point: dict[str, Any] = {}
        self.step = int(claim.job.checkpoints[0]["step"]) if claim.job.checkpoints else 0
        """Of the last point or checkpoint."""
        self.told_step = claim.job.last_metric_step
        """Of the last point that the outbox was given; those up to it are not told again."""
        self.saving = 0
        """Checkpoints that wait to be written."""
        self.late_s = 0.0
        """By how much others beside it have delayed it, as planned."""

    @property
    def id(self) -> str:
        """The job's id."""
        return self.claim.job_id

    @property
    def member(self) -> Member:
        """What `fit` trains."""
        return self.subject.member

    @cached_property
    def extent(self) -> Extent:
        """How much there is to do. Asked first while there is a subject."""
        return Extent.of(self.member)

    @property
    def unwanted(self) -> bool:
        """Whether nothing more of this run may be published."""
        return self.outbox.fenced or self.outbox.given_up or self.failure is not None

    def fail(self, failure: Failure) -> None:
        """End the job as failed."""
        self.failure = failure
        self.end(Closing(Status.FAILED, failure.code, error=failure.as_error()))

    def end(self, closing: Closing) -> None:
        """Say how the job ends; the last word."""
        self.ended = True
        self.outbox.close(closing)
