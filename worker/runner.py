"""Runs claims as the members of one `fit`, which others may join: load, prepare, train, publish.

A single job is a stack of one. What befalls one member (a bad data set, a full disk, a cancel, a lost lease) ends that
member; the others train on. What breaks the whole stack leaves its first job to go on alone, or half of them where
memory was short; the others go back to the queue, and no attempt is counted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from kernels.backend import Backend, select
from kernels.errors import InvalidInput, OutOfMemory
from kernels.precisions import needs_gpu
from nets.engines import lanes_for
from nets.member import Member
from nets.resolve import MEMORY_SHARE, memory_estimate_bytes, stack_key
from nets.stacking import gains
from nets.threads import on_threads
from nets.trainer import fit, threads_of
from nets.training_spec import TrainingOptions
from store.clocks import LEASE_S
from store.jobs import JobStore
from store.records import Claim
from store.transitions import Directive
from worker import failpoints, log
from worker.boarding import Boarding, Gate, Overtaken
from worker.channel import Message
from worker.data import DataCache
from worker.failures import Failure, classify
from worker.outbox import stopped
from worker.planner import Room
from worker.publish import Files
from worker.publisher import Publisher
from worker.reporter import Reporter
from worker.run import Run
from worker.settings import RUN_MOST_JOBS, STACK_MOST, STACK_MOST_GPU
from worker.spare import Spare
from worker.watch import Watch


class Runner:
    """Trains claims on one device, for as long as the process lives.

    Args:
        jobs: the store.
        data: prepared data sets, kept between jobs.
        files: checkpoints and results.
        backend: the worker's device.
        stopping: set when the process was told to go.
        tell: sends a message to the worker.
        leave: ends the process; a run that is to end while it is still being prepared is not waited for.
        compiles: whether runs wait for code that is being compiled.
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
        compiles: Callable[[], bool],
    ) -> None:
        self._jobs = jobs
        self._data = data
        self._files = files
        self._publisher = Publisher()
        self._device = backend.device
        self._backends = {backend.device: backend, "auto": backend}
        self._stopping = stopping
        self._tell = tell
        self._leave = leave
        self._compiles = compiles
        self._spare = Spare()
        self._recycle = False
        self._taken = 0
        self._overtaken = Overtaken()
        self._alone: set[str] = set()
        """Jobs that must not be in a stack again in this process."""
        self._most = STACK_MOST if backend.device == "cpu" else STACK_MOST_GPU

    def run(self, claims: Sequence[Claim]) -> bool:
        """Train `claims` together, with whoever joins them, until each has ended, been given back or been fenced.

        Returns:
            Whether the process should be replaced (an error of the device or of memory).
        """
        self._taken, self._overtaken = 0, Overtaken()
        reporter = Reporter(self._jobs, self._files, self._stopping, self._released, self._leave, self._compiles)
        ready = [run for run in self._enter(claims, reporter) if self._prepare(run)]
        if ready:
            with self._as_trained(ready[0]):
                while ready:
                    ready = self._fit(ready, reporter)
                self._publisher.drain()
        reporter.join()
        return self._recycle

    def _as_trained(self, run: Run) -> AbstractContextManager[None]:
        """Results are measured, too, on the threads that the last bits of their products depend on."""
        return on_threads(threads_of([run.member])) if run.backend.device == "cpu" else nullcontext()

    def _enter(self, claims: Sequence[Claim], reporter: Reporter) -> list[Run]:
        """Runs whose leases are renewed from now on."""
        runs = [Run(claim) for claim in claims]
        self._tell({"event": "claimed", "jobs": [run.id for run in runs]})
        for run in runs:
            log.info("claimed", job=run.id, fence=run.claim.fence, attempt=run.claim.job.attempt)
            reporter.add(run.outbox)
        return runs

    def _waits(self, runs: Sequence[Run]) -> None:
        self._tell({"event": "waits", "jobs": [run.id for run in runs]})

    def _begins(self, runs: Sequence[Run]) -> None:
        self._tell({"event": "begins", "jobs": [run.id for run in runs]})

    def _released(self, job_id: str) -> None:
        self._tell({"event": "released", "job": job_id})

    # ---- before training

    def _prepare(self, run: Run) -> bool:
        """Make the member of `fit`; False when the job cannot even start, which is then its failure."""
        try:
            state = self._files.resume(run.claim, run.outbox)
            run.subject = self._data.subject(run.claim.job, state, self._files.origin(run.claim.job))
            run.backend = self._backend(run.member.spec.training)
            _check_memory(run, self._spare)
            if state is None:
                run.member.initial_parameters()  # drawn here, where no stack waits for them
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this job's failure and not the worker's
            self._fail(run, error, "auto")
            return False
        run.outbox.add(device=run.backend.device, backend=run.backend.name)
        return not run.outbox.given_up

    def _backend(self, training: TrainingOptions) -> Backend:
        """The worker's own device, or the CPU where a job asks for it. Raises: InvalidInput for any other."""
        device = training.device
        if device == "cpu" and device not in self._backends:
            self._backends[device] = select(device)
        if device not in self._backends:
            here = self._backends["auto"].device
            raise InvalidInput.at(
                "/training/device", f'is {device!r}; the worker trains on {here!r}; "auto" always works'
            )
        if needs_gpu(training.precision) and self._backends[device].device == "cpu":
            raise InvalidInput.at("/training/precision", f"is {training.precision}; the worker has no GPU")
        return self._backends[device]

    # ---- training

    def _fit(self, runs: Sequence[Run], reporter: Reporter) -> list[Run]:
        """Train these, as many at once as may be, and whoever joins them; returns those who have still to train."""
        backend, agreed = runs[0].backend, _agreed(runs[0])
        runs, waiting = runs[: self._most], runs[self._most :]
        self._begins(runs)
        boarding = self._boarding(runs, waiting, reporter)
        watch = Watch(runs, self._files, self._publisher, reporter, self._stopping, self._tell, boarding, self._over)
        broken: Exception | None = None
        try:
            failpoints.allocate(len(runs))
            boarders = partial(self._admit, watch, boarding, agreed)
            fit([run.member for run in runs], backend, watch, watch, boarders=boarders)  # lets go of who leaves
        except Exception as error:  # noqa: BLE001 - ends these jobs, not the worker
            broken = error
        late = waiting if boarding is None else boarding.close(further=broken is None)  # nobody prepares beside us now
        self._taken += 0 if boarding is None else boarding.taken
        if broken is None:
            return [run for run in late if not run.unwanted and self._fits(agreed, run)]
        _give_back(late)
        return self._broken(watch.aboard, broken, backend.device)

    def _boarding(self, runs: Sequence[Run], waiting: Sequence[Run], reporter: Reporter) -> Boarding | None:
        """What looks for company beside those who wait already; None where a stack gains nothing."""
        first = runs[0]
        stack, lanes = first.claim.job.stack, lanes_for(first.member, first.backend)
        if stack is None or first.id in self._alone or self._most <= 1 or not gains(stack.steps, stack.work, lanes):
            return None

        def room(aboard: Sequence[Run]) -> Room:
            unborn = sum(run.claim.job.stack.bytes for run in aboard if run.claim.job.stack and not run.outbox.begun)
            free = self._spare.bytes(first.backend, self._most * stack.bytes)
            return Room(self._most, MEMORY_SHARE * free - unborn, lanes)

        gate = Gate(
            self._jobs,
            first.claim.worker_id,
            self._device,
            LEASE_S,
            stack.key,
            room,
            self._alone,
            lambda claims: self._enter(claims, reporter),
            self._prepare,
            self._waits,
            self._begins,
        )
        return Boarding(gate, runs, waiting, self._overtaken, self._stopping, RUN_MOST_JOBS - self._taken)

    def _admit(self, watch: Watch, boarding: Boarding | None, agreed: Hashable) -> list[Member]:
        """The members that board now."""
        if boarding is None:
            return []
        found = boarding.ready(self._most - len(watch.aboard), gather=bool(watch.aboard))
        runs = [run for run in found if not run.unwanted and self._fits(agreed, run)]
        watch.join(runs)
        failpoints.allocate(len(watch.aboard))
        return [run.member for run in runs]

    def _fits(self, agreed: Hashable, run: Run) -> bool:
        """Whether it can train in a stack whose members agree so; if not it goes back, to train alone."""
        if _agreed(run) == agreed:
            return True
        log.warning("does_not_fit", job=run.id)
        self._alone.add(run.id)
        _give_back([run])
        return False

    def _over(self, run: Run) -> None:
        """Nothing more is done about a run; what it trained on is free."""
        if run.failure is not None:
            self._recycle |= run.failure.recycle
        del run.subject

    # ---- what goes wrong

    def _broken(self, aboard: Sequence[Run], error: Exception, device: str) -> list[Run]:
        """A stack cannot go on: who goes on without the others, from the last checkpoints."""
        self._publisher.drain()
        left = [run for run in aboard if not run.ended]
        failure = self._classified(error, device, left)
        self._recycle |= failure.recycle
        if len(left) <= 1:
            for run in left:
                run.fail(failure)
            return []
        short = failure.code in {"gpu_oom", "out_of_memory"}
        stay = left[: len(left) // 2] if short else left[:1]
        if short:
            self._most = len(stay)
        else:
            self._alone.update(run.id for run in left)
        _give_back([run for run in left if run not in stay])
        log.warning("stack_broken", code=failure.code, models=len(left), go_on=len(stay))
        return [run for run in stay if self._prepare(run)]

    def _fail(self, run: Run, error: Exception, device: str) -> None:
        run.fail(self._classified(error, device, [run]))

    def _classified(self, error: Exception, device: str, runs: Sequence[Run]) -> Failure:
        failure = classify(error, self._backends[device].device)
        trace = error if failure.code == "internal" else None
        for run in runs:
            detail = {"code": failure.code, "detail": str(error)[:300]}
            log.error("run_failed", trace, job=run.id, fence=run.claim.fence, **detail)
        return failure


def _give_back(runs: Sequence[Run]) -> None:
    """Put them back into the queue; no attempt is counted."""
    for run in runs:
        run.end(stopped(Directive.CONTINUE))


def _agreed(run: Run) -> Hashable:
    """Equal for runs that `fit` takes together; threads of BLAS are those that a checkpoint names."""
    member, data = run.member, run.member.data
    key = stack_key(member.spec, data.n_inputs, data.n_outputs, data.task)
    return key, len(data.x_val) > 0, threads_of([member]), run.backend.device


def _check_memory(run: Run, spare: Spare) -> None:
    """Refuse what cannot fit before more than the data is allocated. Raises: OutOfMemory."""
    data = run.member.data
    needed = memory_estimate_bytes(run.member.spec, run.subject.about, len(data.x_train) + len(data.x_val))
    free = spare.bytes(run.backend, needed)
    if run.backend.device == "cpu":
        needed -= sum(one.nbytes for one in (data, *run.member.folds))  # no longer free
    if needed > MEMORY_SHARE * free:
        raise OutOfMemory(
            f"the run needs about {needed / 2**30:.1f} GiB; {free / 2**30:.1f} GiB are free,"
            f" of which {MEMORY_SHARE:.0%} may be taken"
        )
