"""The thread of the training process that talks to the store while the main thread trains.

It renews every lease, sends events in batches, and brings back what the store asks for. While Redis is away
it keeps everything and tries again; training does not notice. Runs that are to end before training listens to anyone
(their data is read and prepared, code is compiled) it ends itself, and the process with them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from kernels.errors import DiskFull, Fenced, IllegalTransition, StoreUnavailable
from store.jobs import JobStore
from store.transitions import Directive
from worker import failpoints, log
from worker.outage import Outage
from worker.outbox import Batch, Closing, Outbox, stopped
from worker.publish import Files
from worker.settings import ABANDON_S, BATCH_S, GIVE_BACK_OUTAGE_S, HEARTBEAT_S, OUTAGE_RETRY_S


class Reporter:
    """Sends the outboxes of one run until each is closed.

    Args:
        jobs: the store; its connection is used by this thread alone while the run lasts.
        outboxes: one per claim.
        files: whose old checkpoints are removed when the store points at newer ones.
        stopping: set when the process was told to go: an outage is then waited for no longer than
            `GIVE_BACK_OUTAGE_S`.
        released: called with the job's id when its outbox is closed.
        leave: ends this process, whose main thread is still busy with runs that have ended.
    """

    def __init__(
        self,
        jobs: JobStore,
        outboxes: Sequence[Outbox],
        files: Files,
        stopping: threading.Event,
        released: Callable[[str], None],
        leave: Callable[[], None],
    ) -> None:
        self._jobs = jobs
        self._open = list(outboxes)
        self._files = files
        self._stopping = stopping
        self._released = released
        self._leave = leave
        self._unheard_since: float | None = None
        self._abandoned = False
        self._wake = threading.Event()
        self._renewed_at = {id(outbox): time.monotonic() for outbox in outboxes}
        self._told_at = {id(outbox): float("-inf") for outbox in outboxes}
        self._outage = Outage("reporter")
        self._leaving_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        """Begin renewing leases."""
        self._thread.start()

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    def join(self) -> None:
        """Wait until every outbox is closed; each must have been given its closing."""
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        self._serve()
        if self._abandoned:
            self._leave()

    def _serve(self) -> None:
        while self._open:
            self._wake.wait(max(0.0, min(map(self._due, self._open)) - time.monotonic()))
            self._wake.clear()
            try:
                for outbox in list(self._open):
                    if time.monotonic() >= self._due(outbox):
                        self._send(outbox)
                self._outage.over()
                if self._unheard():
                    self._abandon()
            except (StoreUnavailable, DiskFull) as error:
                self._outage.noticed(error)
                if self._out_of_patience():
                    return
                time.sleep(OUTAGE_RETRY_S)

    def _due(self, outbox: Outbox) -> float:
        """When `outbox` is next to be sent, on the monotonic clock: an ending at once, and so the first event."""
        if outbox.closing_waits:
            return 0.0
        renewal = self._renewed_at[id(outbox)] + HEARTBEAT_S
        return min(renewal, self._told_at[id(outbox)] + BATCH_S) if outbox.events_wait else renewal

    def _send(self, outbox: Outbox) -> None:
        """Send one batch or a heartbeat. Raises: StoreUnavailable, DiskFull; then the batch is sent again."""
        batch = outbox.next_batch()
        try:
            if batch.closing is not None:
                self._finish(outbox, batch, batch.closing)
            else:
                self._write(outbox, batch)
            outbox.acknowledge()
        except (Fenced, IllegalTransition) as error:
            log.warning("fenced", job=outbox.claim.job_id, fence=outbox.claim.fence, detail=str(error))
            outbox.abandon()
        except (StoreUnavailable, DiskFull):
            raise
        except Exception as error:  # noqa: BLE001 - silence would let the run go on unheard; the lease decides
            log.error("report_failed", error, job=outbox.claim.job_id, fence=outbox.claim.fence)
            outbox.abandon()
        self._renewed_at[id(outbox)] = time.monotonic()
        if batch.events:
            self._told_at[id(outbox)] = time.monotonic()
        if outbox.closed:
            self._open.remove(outbox)
            self._released(outbox.claim.job_id)

    def _write(self, outbox: Outbox, batch: Batch) -> None:
        if batch.checkpoint is not None:
            failpoints.reach("before_checkpoint_pointer")
        directive = self._jobs.write(
            outbox.claim, events=batch.events, checkpoint=batch.checkpoint, token=batch.token, **batch.fields
        )
        if directive is not outbox.directive:
            log.info("asked_to", job=outbox.claim.job_id, directive=directive)
            outbox.directive = directive
        if batch.checkpoint is not None:
            failpoints.reach("after_checkpoint")
            outbox.pointed_at(batch.checkpoint)
            self._files.prune(outbox.claim, outbox.checkpoints)

    def _finish(self, outbox: Outbox, batch: Batch, closing: Closing) -> None:
        failpoints.reach("before_publish")
        metrics = {} if closing.metrics is None else {"metrics": closing.metrics}
        job = self._jobs.finish(
            outbox.claim,
            closing.to,
            closing.reason,
            events=batch.events,
            result=closing.result,
            error=closing.error,
            token=batch.token,
            **(batch.fields | metrics),
        )
        failpoints.reach("after_publish")
        log.info("let_go", job=job.id, fence=outbox.claim.fence, status=job.status, reason=job.status_reason)

    def _unheard(self) -> bool:
        """Whether all runs are to end, for `ABANDON_S` already, and training does not listen yet."""
        ending = [self._stopping.is_set() or outbox.directive is not Directive.CONTINUE for outbox in self._open]
        busy = any(outbox.begun or outbox.closing_waits for outbox in self._open)
        if busy or not ending or not all(ending):
            self._unheard_since = None
            return False
        if self._unheard_since is None:
            self._unheard_since = time.monotonic()
        return time.monotonic() - self._unheard_since > ABANDON_S

    def _abandon(self) -> None:
        """Have every run end as it would have by itself, but for the checkpoint: no step was taken."""
        self._abandoned = True
        for outbox in self._open:
            log.info("abandoned", job=outbox.claim.job_id, fence=outbox.claim.fence)
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
