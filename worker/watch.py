"""What `fit` is told of the jobs of a stack, and what becomes of what it tells: events, checkpoints, results."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from nets.member import State
from nets.trainer import Command, Ending, Outcome
from store.transitions import Directive, Status
from worker import failpoints, log
from worker.boarding import Boarding
from worker.channel import Message
from worker.environment import environment_of
from worker.failures import Failure, classify
from worker.holdout import held_out_figures
from worker.outbox import Closing, finite, stopped
from worker.publish import Files
from worker.publisher import Publisher
from worker.reporter import Reporter
from worker.run import Extent, Run

RUNG = "rung"
"""Why a trial pauses that its sweep has wait; see `finish.lua`."""

PROGRESS_S = 1.0
"""Seconds between two messages about throughput to the worker registry."""


class _StoppedError(Exception):
    """The job is to stop while its result is measured; whoever goes on with it measures again."""


class Watch:
    """The `control` and the `report` of one `fit`, by index of the member.

    Files are written by the publisher, in the order in which they were asked for; training goes on meanwhile.

    Args:
        runs: in the order of the members.
        files: where checkpoints and results go.
        publisher: writes them.
        reporter: to be woken when there is something to send.
        stopping: set when the process was told to go: then every run is given back.
        tell: sends a message to the worker.
        boarding: to be told when a model leaves, if others may join.
        ended: called when nothing more is to be done about a run.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        files: Files,
        publisher: Publisher,
        reporter: Reporter,
        stopping: threading.Event,
        tell: Callable[[Message], None],
        boarding: Boarding | None,
        ended: Callable[[Run], None],
    ) -> None:
        self._runs = dict(enumerate(runs))
        self._seen = len(runs)
        self._files = files
        self._publisher = publisher
        self._boarding = boarding
        self._ended = ended
        self._reporter = reporter
        self._stopping = stopping
        self._tell = tell
        self._told_progress_at = time.monotonic()

    @property
    def aboard(self) -> list[Run]:
        """The runs that train."""
        return list(self._runs.values())

    def join(self, runs: Sequence[Run]) -> None:
        """Further members, in the order in which `fit` is given them."""
        self._runs |= {self._seen + place: run for place, run in enumerate(runs)}
        self._seen += len(runs)

    # ---- control --------------------------------------------------------------------------------------

    def command(self, member: int) -> Command:
        """What is wanted of this member now; a fenced or failed one leaves without another word."""
        run = self._runs[member]
        run.outbox.begun = True
        run.polls_since_point += 1
        run.told = self._wanted(run)
        if run.points > 0 and run.polls_since_point > 1:  # the first poll after a point is at the end of its epoch
            failpoints.reach("mid_epoch")
            self._hold(run)
        return run.told

    def _wanted(self, run: Run) -> Command:
        if run.unwanted or run.outbox.directive is Directive.CANCEL:
            return Command.CANCEL
        if self._stopping.is_set() or run.outbox.directive is Directive.PAUSE:
            return Command.PAUSE
        return Command.CONTINUE

    def _hold(self, run: Run) -> None:
        """Wait while a test holds runs; a job without a checkpoint goes on for a chunk when its first one is due."""
        since = time.monotonic()
        while run.told is Command.CONTINUE and failpoints.held():
            due = time.monotonic() - since > run.member.spec.training.checkpoint_every_s
            if due and not (run.outbox.checkpoints or run.outbox.unsaved_checkpoint):
                return
            time.sleep(0.01)
            run.told = self._wanted(run)

    # ---- report ---------------------------------------------------------------------------------------

    def started(self, member: int, info: dict[str, Any]) -> None:
        """Training begins or goes on."""
        run = self._runs[member]
        told = {**info, "stack": len(self._runs)}
        run.outbox.add(environment=environment_of(run.backend, told, run.subject.rows))
        size = {key: info[key] for key in ("steps", "parameters")}
        log.info("training", job=run.id, fence=run.claim.fence, device=run.backend.device, **size)

    def metric(self, member: int, point: dict[str, Any]) -> None:
        """One point of the curve. Points up to `last_metric_step` were published before a crash or a pause."""
        run = self._runs[member]
        run.polls_since_point = 0
        run.points += 1
        run.samples_per_s, run.step, run.last_point = point["samples_per_s"], point["step"], point
        if run.step <= run.told_step:
            return
        run.told_step = run.step
        data, extent = {**point, "attempt": run.claim.job.attempt}, run.extent
        if run.outbox.add_point(data, lambda: _latest(extent, data)):
            self._reporter.wake()
        if time.monotonic() - self._told_progress_at > PROGRESS_S:
            self._told_progress_at = time.monotonic()
            free = run.backend.free_bytes()
            together = sum(one.samples_per_s or 0.0 for one in self._runs.values())
            self._tell({"event": "progress", "samples_per_s": round(together, 1), "memory_free_bytes": free})

    def checkpoint(self, member: int, state: State, step: int, epoch: int) -> None:
        """Have a checkpoint written, and the store point at it after everything that happened before it.

        While an earlier one waits, for the disk or for a Redis that is away, there is no use in another but at a stop.
        """
        run = self._runs[member]
        goes_on = run.told is Command.CONTINUE and step != run.member.halt_step
        if run.unwanted or ((run.saving or run.outbox.unsaved_checkpoint) and goes_on):
            return
        run.step, run.saving = step, run.saving + 1
        self._publisher.do(run.id, lambda: self._save(run, state, step, epoch))

    def _save(self, run: Run, state: State, step: int, epoch: int) -> None:
        try:
            if run.unwanted:
                return
            manifest = self._files.save_checkpoint(run.claim, run.member, state, step, epoch)
        except Exception as error:  # noqa: BLE001 - a full disk ends this member, not its neighbours
            run.failure = self._failure(run, error)
            return
        finally:
            run.saving -= 1
        event = {key: manifest[key] for key in ("step", "epoch", "bytes", "sha256")}
        run.outbox.add(
            ("checkpoint", event), checkpoint=manifest, progress=run.extent.progress(step, epoch, run.samples_per_s)
        )
        self._reporter.wake()

    def finished(self, member: int, outcome: Outcome) -> None:
        """This member is done: have its result published, or put it back."""
        run = self._runs.pop(member)
        run.ended = True
        if self._boarding is not None:
            self._boarding.left()
        self._publisher.do(run.id, lambda: self._finish(run, outcome))

    def _finish(self, run: Run, outcome: Outcome) -> None:
        try:
            if run.failure is not None:
                run.fail(run.failure)
            else:
                run.end(self._closing(run, outcome))
        except Exception as error:  # noqa: BLE001 - a result that cannot be written is this job's failure
            run.fail(self._failure(run, error))
        self._ended(run)
        self._reporter.wake()

    def _closing(self, run: Run, outcome: Outcome) -> Closing:
        if outcome.kind is Ending.CANCELLED:
            return stopped(Directive.CANCEL)
        if outcome.kind is Ending.HALTED:
            return Closing(Status.PAUSED, RUNG, metrics=_at_rung(run, outcome))
        if outcome.kind is Ending.PAUSED:
            asked = run.outbox.directive is Directive.PAUSE
            return stopped(Directive.PAUSE if asked else Directive.CONTINUE)
        try:
            outcome = replace(outcome, metrics=finite(outcome.metrics | self._tested(run, outcome)))
        except _StoppedError:
            return stopped(run.outbox.directive)
        result = self._files.save_result(run.claim, run.member, run.subject.about, outcome)
        metrics = outcome.metrics
        if outcome.reason is not None:
            run.outbox.add(("log", {"level": "info", "message": outcome.reason}))
        if outcome.kind is Ending.DIVERGED:
            error = {"code": "diverged", "message": outcome.error or "a number became non-finite"}
            return Closing(Status.FAILED, "diverged", result, error, metrics)
        return Closing(Status.SUCCEEDED, outcome.kind.value, result, None, metrics)

    def _tested(self, run: Run, outcome: Outcome) -> dict[str, float | None]:
        """Figures on the rows that were held out, as `test_…`; looks between blocks whether the job is still wanted."""

        def goes_on() -> None:
            if self._wanted(run) is not Command.CONTINUE:
                raise _StoppedError

        return held_out_figures(run.subject, outcome.parameters, run.backend, goes_on)

    def _failure(self, run: Run, error: Exception) -> Failure:
        failure = classify(error, run.backend.device)
        trace = error if failure.code == "internal" else None
        log.error("write_failed", trace, job=run.id, fence=run.claim.fence, code=failure.code, detail=str(error)[:300])
        return failure


def _at_rung(run: Run, outcome: Outcome) -> dict[str, Any] | None:
    """What the record says of a trial that waits: its last point, with what its folds have measured; None: as it is."""
    if not outcome.metrics:
        return None
    before = _figures_of(run.last_point) if run.last_point else run.claim.job.metrics
    return before | finite(outcome.metrics)


def _latest(extent: Extent, point: dict[str, Any]) -> dict[str, Any]:
    """What the record says after a point."""
    progress = extent.progress(point["step"], point["epoch"], point["samples_per_s"])
    return {"progress": progress, "metrics": _figures_of(point)}


def _figures_of(point: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in finite(point).items() if key.startswith(("train_", "val_"))}
