"""Runs a list of claims as the members of one `fit`: load, prepare, train, publish.

A single job is a list of one. What befalls one member (a bad data set, a full disk, a cancel, a lost lease) ends that
member; the others train on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from kernels.backend import Backend, select
from kernels.errors import InvalidInput, OutOfMemory
from nets.resolve import MEMORY_SHARE, memory_estimate_bytes
from nets.trainer import fit
from store.jobs import JobStore
from store.records import Claim
from worker import log
from worker.channel import Message
from worker.data import DataCache
from worker.failures import classify
from worker.publish import Files
from worker.reporter import Reporter
from worker.run import Run, Watch


class Runner:
    """Trains claims on one device, for as long as the process lives.

    Args:
        jobs: the store; used by the reporter thread while a run lasts.
        data: prepared data sets, kept between jobs.
        files: checkpoints and results.
        backend: the worker's device.
        stopping: set when the process was told to go.
        tell: sends a message to the worker.
        leave: ends the process; a run that is to end while it is still being prepared is not waited for.
    """

    def __init__(
        self,
        jobs: JobStore,
        data: DataCache,
        files: Files,
        backend: Backend,
        stopping: threading.Event,
        tell: Callable[[Message], None],
        leave: Callable[[], None],
    ) -> None:
        self._jobs = jobs
        self._data = data
        self._files = files
        self._backends = {backend.device: backend, "auto": backend}
        self._stopping = stopping
        self._tell = tell
        self._leave = leave

    def run(self, claims: Sequence[Claim]) -> bool:
        """Train `claims` together until each has ended, been given back or been fenced.

        Returns:
            Whether the process should be replaced (an error of the device or of memory).
        """
        runs = [Run(claim) for claim in claims]
        outboxes = [run.outbox for run in runs]
        reporter = Reporter(self._jobs, outboxes, self._files, self._stopping, self._released, self._leave)
        reporter.start()
        ready = [run for run in runs if self._prepare(run)]
        if ready:
            self._fit(ready, reporter)
        reporter.join()
        return any(run.failure is not None and run.failure.recycle for run in runs)

    def _released(self, job_id: str) -> None:
        self._tell({"event": "released", "job": job_id})

    def _prepare(self, run: Run) -> bool:
        """Make the member of `fit`; False when the job cannot even start, which is then its failure."""
        try:
            state = self._files.resume(run.claim, run.outbox)
            run.subject = self._data.subject(run.claim.job, state, self._files.origin(run.claim.job))
            run.backend = self._backend(run.member.spec.training.device)
            _check_memory(run)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this job's failure and not the worker's
            self._fail(run, error, "auto")
            return False
        run.outbox.add(device=run.backend.device, backend=run.backend.name)
        return True

    def _backend(self, device: str) -> Backend:
        """The worker's own device, or the CPU where a job asks for it. Raises: InvalidInput for any other."""
        if device == "cpu" and device not in self._backends:
            self._backends[device] = select(device)
        if device not in self._backends:
            here = self._backends["auto"].device
            raise InvalidInput.at(
                "/training/device", f'is {device!r}; the worker trains on {here!r}; "auto" always works'
            )
        return self._backends[device]

    def _fit(self, runs: Sequence[Run], reporter: Reporter) -> None:
        backend = runs[0].backend
        watch = Watch(runs, self._files, reporter, self._stopping, self._tell)
        try:
            fit([run.member for run in runs], backend, watch, watch)
        except Exception as error:  # noqa: BLE001 - ends these jobs, not the worker
            for run in runs:
                if not run.ended:
                    self._fail(run, error, backend.device)

    def _fail(self, run: Run, error: Exception, device: str) -> None:
        failure = classify(error, self._backends[device].device)
        trace = error if failure.code == "internal" else None
        log.error("run_failed", trace, job=run.id, fence=run.claim.fence, code=failure.code, detail=str(error)[:300])
        run.fail(failure)


def _check_memory(run: Run) -> None:
    """Refuse what cannot fit before more than the data is allocated. Raises: OutOfMemory."""
    data, free = run.member.data, run.backend.free_bytes()
    needed = memory_estimate_bytes(run.member.spec, run.subject.about, len(data.x_train) + len(data.x_val))
    if run.backend.device == "cpu":
        needed -= sum(one.nbytes for one in (data, *run.member.folds))  # no longer free
    if needed > MEMORY_SHARE * free:
        raise OutOfMemory(
            f"the run needs about {needed / 2**30:.1f} GiB; {free / 2**30:.1f} GiB are free,"
            f" of which {MEMORY_SHARE:.0%} may be taken"
        )
