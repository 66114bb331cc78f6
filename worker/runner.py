"""Runs a list of claims as the members of one `fit`: load, prepare, train, report, publish.

A single job is a list of one. What befalls one member (a bad data set, a full disk, a cancel, a lost lease) ends that
member; the others train on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from nets.trainer import Command, Member, Outcome, OutcomeKind, fit

from kernels.backend import Backend
from store.jobs import JobStore
from store.records import Claim
from store.transitions import Directive, Status
from worker import failpoints, log
from worker.channel import Message
from worker.data import DataCache
from worker.failures import Failure, classify
from worker.outbox import Ending, Outbox, finite
from worker.publish import Files
from worker.reporter import Reporter

PROGRESS_S = 1.0
"""Seconds between two messages about throughput to the worker registry."""


class Run:
    """One claimed job while this process trains it."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.outbox = Outbox(claim)
        self.failure: Failure | None = None
        self.told = Command.CONTINUE
        self.ended = False
        self.member: Member | None = None
        self.started_at = time.monotonic()

    @property
    def id(self) -> str:
        """The job's id."""
        return self.claim.job.id


class Runner:
    """Trains claims on one backend, for as long as the process lives.

    Args:
        jobs: the store, over a connection of the reporter thread's own.
        data: prepared data sets, kept between jobs.
        files: checkpoints and results.
        backend: the device.
        stopping: set when the process was told to go.
        tell: sends a message to the worker.
    """

    def __init__(
        self,
        jobs: JobStore,
        data: DataCache,
        files: Files,
        backend: Backend,
        stopping: threading.Event,
        tell: Callable[[Message], None],
    ) -> None:
        self._jobs = jobs
        self._data = data
        self._files = files
        self._backend = backend
        self._stopping = stopping
        self._tell = tell

    def run(self, claims: Sequence[Claim]) -> bool:
        """Train `claims` together until each has ended, been given back or been fenced.

        Returns:
            Whether the process should be replaced (an error of the device or of memory).
        """
        runs = [Run(claim) for claim in claims]
        reporter = Reporter(self._jobs, [run.outbox for run in runs], self._stopping, self._released)
        reporter.start()
        try:
            ready = [run for run in runs if self._prepare(run)]
            if ready:
                self._fit(ready, reporter)
        finally:
            for run in runs:
                if not run.ended:
                    run.ended = True
                    run.outbox.end(failed(run.failure or classify(RuntimeError("not ended"), self._backend.device)))
            reporter.join()
        return any(run.failure is not None and run.failure.recycle for run in runs)

    def _released(self, job_id: str) -> None:
        self._tell({"event": "released", "job": job_id})

    def _prepare(self, run: Run) -> bool:
        """Make the member of `fit`; False when the job cannot even start, which is then its failure."""
        try:
            run.member = self._data.member(run.claim.job, self._files.resume(run.claim, run.outbox))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this job's failure and not the worker's
            self._fail(run, error)
            return False
        run.outbox.add(device=self._backend.device, backend=self._backend.name, environment=self._backend.describe())
        return True

    def _fit(self, runs: Sequence[Run], reporter: Reporter) -> None:
        watch = Watch(runs, self._files, self._backend, reporter, self._stopping, self._tell)
        try:
            fit([run.member for run in runs if run.member is not None], self._backend, watch, watch)
        except Exception as error:  # noqa: BLE001 - ends these jobs, not the worker
            for run in runs:
                if not run.ended:
                    self._fail(run, error)

    def _fail(self, run: Run, error: Exception) -> None:
        run.failure = classify(error, self._backend.device)
        log.error("run_failed", error, job=run.id, fence=run.claim.fence, code=run.failure.code)


class Watch:
    """What `fit` is told and what it tells: its `control` and its `report` in one, by index of the member."""

    def __init__(
        self,
        runs: Sequence[Run],
        files: Files,
        backend: Backend,
        reporter: Reporter,
        stopping: threading.Event,
        tell: Callable[[Message], None],
    ) -> None:
        self._runs = runs
        self._files = files
        self._backend = backend
        self._reporter = reporter
        self._stopping = stopping
        self._tell = tell
        self._told_progress_at = time.monotonic()
        self._polls_in_epoch = 0

    # ---- control --------------------------------------------------------------------------------------

    def command(self, member: int) -> Command:
        """What is wanted of this member now; a fenced or failed one leaves without another word."""
        run = self._runs[member]
        self._polls_in_epoch += 1
        if self._polls_in_epoch > 2:
            failpoints.reach("mid_epoch")
        directive = run.outbox.directive
        if run.outbox.fenced or run.failure is not None or directive is Directive.CANCEL:
            run.told = Command.CANCEL
        elif self._stopping.is_set() or directive is Directive.PAUSE:
            run.told = Command.PAUSE
        else:
            run.told = Command.CONTINUE
        return run.told

    # ---- report ---------------------------------------------------------------------------------------

    def started(self, member: int, info: Mapping[str, Any]) -> None:
        """Training begins or goes on."""
        run = self._runs[member]
        log.info("training", job=run.id, fence=run.claim.fence, attempt=run.claim.job.attempt, **info)

    def metric(self, member: int, point: Mapping[str, Any]) -> None:
        """One point of the curve. Points up to `last_metric_step` were published before a crash or a pause."""
        self._polls_in_epoch = 0
        run = self._runs[member]
        if point["step"] <= run.claim.job.last_metric_step:
            return
        data = finite(point) | {"attempt": run.claim.job.attempt}
        if run.outbox.add(("metric", data), progress=self._progress(run, point), metrics=self._latest(data)):
            self._reporter.wake()
        if time.monotonic() - self._told_progress_at > PROGRESS_S:
            self._told_progress_at = time.monotonic()
            self._tell({"event": "progress", "samples_per_s": data["samples_per_s"]})

    def checkpoint(self, member: int, state: dict[str, np.ndarray], step: int, epoch: int) -> None:
        """Write a checkpoint, and have the store point at it after everything that happened before it.

        While an earlier one waits for a Redis that is away there is no use in another, except at a stop.
        """
        run = self._runs[member]
        if run.outbox.fenced or run.failure is not None:
            return
        if run.outbox.unsaved_checkpoint and run.told is Command.CONTINUE:
            return
        try:
            manifest = self._files.save_checkpoint(run.claim, state, step, epoch)
        except Exception as error:  # noqa: BLE001 - a full disk ends this member, not its neighbours
            run.failure = classify(error, self._backend.device)
            log.error("checkpoint_failed", error, job=run.id, code=run.failure.code)
            return
        event = {"step": step, "epoch": epoch, "bytes": manifest["bytes"], "sha256": manifest["sha256"]}
        run.outbox.add(("checkpoint", event), checkpoint=manifest)
        self._reporter.wake()

    def finished(self, member: int, outcome: Outcome) -> None:
        """This member is done: publish its result, or put it back."""
        run = self._runs[member]
        run.ended = True
        try:
            ending = self._ending(run, outcome)
        except Exception as error:  # noqa: BLE001 - a result that cannot be written is this job's failure
            run.failure = classify(error, self._backend.device)
            log.error("result_failed", error, job=run.id, code=run.failure.code)
            ending = failed(run.failure)
        run.outbox.end(ending)
        self._reporter.wake()

    def _ending(self, run: Run, outcome: Outcome) -> Ending:
        if run.failure is not None:
            return failed(run.failure)
        match outcome.kind:
            case OutcomeKind.CANCELLED:
                return Ending(Status.CANCELLED, "cancelled_by_user")
            case OutcomeKind.PAUSED if run.outbox.directive is Directive.PAUSE:
                return Ending(Status.PAUSED, "paused_by_user")
            case OutcomeKind.PAUSED:
                return Ending(Status.QUEUED, "given_back")
        assert run.member is not None
        result = self._files.save_result(run.claim, run.member, outcome)
        if outcome.kind is OutcomeKind.DIVERGED:
            message = str(outcome.error)
            error = {"code": "diverged", "message": message}
            return Ending(Status.FAILED, "diverged", result, error, finite(outcome.metrics))
        return Ending(Status.SUCCEEDED, outcome.kind.value, result, None, finite(outcome.metrics))

    def _progress(self, run: Run, point: Mapping[str, Any]) -> dict[str, Any]:
        assert run.member is not None
        epochs = run.member.spec.training.epochs
        steps = round(point["step"] * epochs / point["epoch"])
        rate = point["samples_per_s"] or 0.0
        samples = len(run.member.data.x_train) * (epochs - point["epoch"])
        eta = round(samples / rate, 1) if rate > 0 else None
        return {"epoch": point["epoch"], "epochs": epochs, "step": point["step"], "steps": steps, "eta_s": eta}

    @staticmethod
    def _latest(data: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in data.items() if key.startswith(("train_", "val_"))}


def failed(failure: Failure) -> Ending:
    """The ending of a job that failed."""
    return Ending(Status.FAILED, failure.code, error=failure.as_error())
