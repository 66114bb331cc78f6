"""One claimed job while this process trains it."""

from __future__ import annotations

from kernels.backend import Backend
from nets.member import Member
from nets.trainer import Command
from store.records import Claim
from store.transitions import Status
from worker.data import Subject
from worker.failures import Failure
from worker.outbox import Closing, Outbox


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
