"""The thread of the training process that talks to the store while the main thread trains.

It renews every lease, sends events in batches, and brings back what the store asks for. While Redis is away
it keeps everything and tries again; training does not notice. Runs that are to end before training listens to anyone
(their data is read and prepared, code is compiled) it ends itself, and the process with them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from kernels.errors import DiskFull, Fenced, IllegalTransition, StoreUnavailable
from store.claims import Farewell, Report
from store.curves import KEPT_POINTS, Curves
from store.jobs import JobStore
from store.records import Job
from store.transitions import TERMINAL, Directive
from worker import failpoints, log
from worker.compiler import WAITS
from worker.outage import Outage
from worker.outbox import Batch, Closing, Outbox, stopped
from worker.publish import Files
from worker.settings import (
    ABANDON_S,
    BATCH_EACH_S,
    BATCH_S,
    EXPLAIN_S,
    GIVE_BACK_OUTAGE_S,
    HEARTBEAT_S,
    OUTAGE_RETRY_S,
)

TOGETHER = 16
"""Most outboxes that share a round trip: it must end within the patience of a connection."""


class Reporter:
    """Sends the outboxes of one run until each is closed; those that are due together share a round trip.

    Args:
        jobs: the store.
        files: whose old checkpoints are removed when the store points at newer ones.
        stopping: set when the process was told to go: an outage is then waited for no longer than
            `GIVE_BACK_OUTAGE_S`.
        released: called with the job's id when its outbox is closed.
        leave: ends this process, whose main thread is still busy with runs that have ended.
        compiles: whether runs wait for code that is being compiled, of which they are told.
    """

    def __init__(
        self,
        jobs: JobStore,
        files: Files,
        stopping: threading.Event,
        released: Callable[[str], None],
        leave: Callable[[], None],
        compiles: Callable[[], bool],
    ) -> None:
        self._jobs = jobs
        self._open: list[Outbox] = []
        self._adding = threading.Lock()
        self._files = files
        self._stopping = stopping
        self._released = released
        self._leave = leave
        self._compiles = compiles
        self._unheard_since: dict[Outbox, float] = {}
        self._abandoned = False
        self._joining = False
        self._wake = threading.Event()
        self._renewed_at: dict[Outbox, float] = {}
        self._told_at: dict[Outbox, float] = {}
        self._outage = Outage("reporter")
        self._leaving_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def add(self, outbox: Outbox) -> None:
        """Renew this claim's lease from now on, and send what there is."""
        self._renewed_at[outbox], self._told_at[outbox] = time.monotonic(), float("-inf")
        with self._adding:
            self._open = [*self._open, outbox]  # a new list: the thread may be going through the old one
        if not self._thread.is_alive():
            self._thread.start()

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    def join(self) -> None:
        """Wait until every outbox is closed, and give back whatever has no closing; none is added any more."""
        for outbox in self._open:
            outbox.close(stopped(outbox.directive))
        self._joining = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            self._serve()
        except Exception as error:  # noqa: BLE001 - nobody would hear of these runs; their leases run out
            log.error("reporter_failed", error, jobs=",".join(outbox.claim.job_id for outbox in self._open))
            for outbox in self._open:
                outbox.abandon()
        if self._abandoned:
            self._leave()

    def _serve(self) -> None:
        while self._open or not self._joining:
            due = min(map(self._due, self._open), default=time.monotonic() + HEARTBEAT_S)
            self._wake.wait(max(0.0, due - time.monotonic()))
            self._wake.clear()
            try:
                self._explain()
                now = time.monotonic()
                due_now = [outbox for outbox in self._open if now >= self._due(outbox)]
                for start in range(0, len(due_now), TOGETHER):
                    self._send(due_now[start : start + TOGETHER])
                self._outage.over()
                self._abandon(self._unheard())
            except (StoreUnavailable, DiskFull) as error:
                self._outage.noticed(error)
                if self._out_of_patience():
                    return
                time.sleep(OUTAGE_RETRY_S)
            if self._abandoned and not self._open:
                return

    def _explain(self) -> None:
        """Tell runs that have not begun for `EXPLAIN_S` what they wait for, once each."""
        late = time.monotonic() - EXPLAIN_S
        for outbox in self._open if self._compiles() else ():
            if outbox.since < late and not (outbox.begun or outbox.told_why or outbox.closing_waits):
                outbox.told_why = True
                outbox.add(("log", {"level": "info", "message": WAITS}))

    def _due(self, outbox: Outbox) -> float:
        """When `outbox` is next to be sent, on the monotonic clock: an ending at once, and so the first event."""
        if outbox.closing_waits:
            return 0.0
        renewal = self._renewed_at[outbox] + HEARTBEAT_S
        pause = BATCH_S + (len(self._open) - 1) * BATCH_EACH_S
        return min(renewal, self._told_at[outbox] + pause) if outbox.events_wait else renewal

    def _send(self, outboxes: Sequence[Outbox]) -> None:
        """Send a batch or a heartbeat of each. Raises: StoreUnavailable, DiskFull; then all are sent again."""
        batches = [(outbox, outbox.next_batch()) for outbox in outboxes]
        ending = [(outbox, batch, batch.closing) for outbox, batch in batches if batch.closing is not None]
        going_on = [(outbox, batch) for outbox, batch in batches if batch.closing is None]
        if going_on:
            self._write(going_on)
        if ending:
            self._finish(ending)

    def _write(self, batches: Sequence[tuple[Outbox, Batch]]) -> None:
        if any(batch.checkpoint is not None for _, batch in batches):
            failpoints.reach("before_checkpoint_pointer")
        reports = [Report(outbox.claim, batch.events, _fields(batch), batch.token) for outbox, batch in batches]
        for (outbox, batch), answer in zip(batches, self._jobs.write_many(reports), strict=True):
            if isinstance(answer, Exception):
                self._refused(outbox, answer)
            else:
                self._written(outbox, batch, answer)
            self._sent(outbox, batch)

    def _written(self, outbox: Outbox, batch: Batch, directive: Directive) -> None:
        if directive is not outbox.directive:
            log.info("asked_to", job=outbox.claim.job_id, directive=directive)
            outbox.directive = directive
        if batch.checkpoint is not None:
            failpoints.reach("after_checkpoint")
            outbox.pointed_at(batch.checkpoint)
            self._files.prune(outbox.claim, outbox.checkpoints)
        outbox.acknowledge()

    def _finish(self, batches: Sequence[tuple[Outbox, Batch, Closing]]) -> None:
        failpoints.reach("before_publish")
        farewells = [_farewell(outbox, batch, closing) for outbox, batch, closing in batches]
        answers = self._jobs.finish_many(farewells)
        failpoints.reach("after_publish")
        for (outbox, batch, _), job in zip(batches, answers, strict=True):
            if isinstance(job, Exception):
                self._refused(outbox, job)
            else:
                log.info("let_go", job=job.id, fence=outbox.claim.fence, status=job.status, reason=job.status_reason)
                outbox.acknowledge()
                if job.status in TERMINAL and job.last_event >= KEPT_POINTS:
                    threading.Thread(target=self._keep_curve, args=[job], daemon=True).start()
            self._sent(outbox, batch)

    def _keep_curve(self, job: Job) -> None:
        """For its readers, who do without where this fails."""
        try:
            Curves(self._jobs.redis).keep(job.id)
        except StoreUnavailable as error:
            log.warning("curve_not_kept", job=job.id, detail=str(error))

    def _refused(self, outbox: Outbox, error: Exception) -> None:
        """The store wants no more of it; silence about a mistake of ours would let the run go on unheard."""
        about = {"job": outbox.claim.job_id, "fence": outbox.claim.fence}
        if isinstance(error, Fenced | IllegalTransition):
            log.warning("fenced", detail=str(error), **about)
        else:
            log.error("report_failed", error, **about)
        outbox.abandon()

    def _sent(self, outbox: Outbox, batch: Batch) -> None:
        self._renewed_at[outbox] = time.monotonic()
        if batch.events:
            self._told_at[outbox] = time.monotonic()
        if outbox.closed:
            self._forget(outbox)
            self._released(outbox.claim.job_id)

    def _forget(self, closed: Outbox) -> None:
        with self._adding:
            self._open = [outbox for outbox in self._open if outbox is not closed]
        del self._renewed_at[closed], self._told_at[closed]
        self._unheard_since.pop(closed, None)

    def _unheard(self) -> list[Outbox]:
        """Those that are to end, for `ABANDON_S` already, and training does not listen to them yet."""
        now, found = time.monotonic(), []
        for outbox in self._open:
            wanted = self._stopping.is_set() or outbox.directive is not Directive.CONTINUE
            if not wanted or outbox.begun or outbox.closing_waits:
                self._unheard_since.pop(outbox, None)
            elif now - self._unheard_since.setdefault(outbox, now) > ABANDON_S:
                found.append(outbox)
        return found

    def _abandon(self, unheard: Sequence[Outbox]) -> None:
        """Have these end as they would have by themselves, but for the checkpoint: no step was taken.

        Where they are all there is, the process ends with them; else it goes on, and prepares them in vain.
        """
        self._abandoned |= bool(unheard) and len(unheard) == len(self._open)
        for outbox in unheard:
            log.info("abandoned", job=outbox.claim.job_id, fence=outbox.claim.fence)
            outbox.given_up = True
            outbox.close(stopped(outbox.directive))

    def _out_of_patience(self) -> bool:
        """Whether we were told to go and Redis stays away: the leases then run out by themselves."""
        if not self._stopping.is_set() or not all(outbox.closing_waits for outbox in self._open):
            return False
        if self._leaving_since is None:
            self._leaving_since = time.monotonic()
        if time.monotonic() - self._leaving_since < GIVE_BACK_OUTAGE_S:
            return False
        log.error("left_without_giving_back", jobs=",".join(outbox.claim.job_id for outbox in self._open))
        return True


def _fields(batch: Batch) -> dict[str, Any]:
    return batch.fields if batch.checkpoint is None else {**batch.fields, "checkpoint": batch.checkpoint}


def _farewell(outbox: Outbox, batch: Batch, closing: Closing) -> Farewell:
    fields = _fields(batch) | ({} if closing.metrics is None else {"metrics": closing.metrics})
    return Farewell(
        outbox.claim, batch.events, fields, batch.token, closing.to, closing.reason, closing.result, closing.error
    )
