"""The worker proper: pops wake-ups from RQ's queue and has the warm training process act on them.

It never executes what an entry names, imports no numerics, and stays small and quick to start. RQ's own work
loop ends with the first lost connection, keeps a registry per execution and imports what an entry names; of
RQ this class keeps the pop (BLMOVE into the intermediate list), the job class and the worker's own record.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, cast

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from rq import Worker, worker_registration
from rq.exceptions import DequeueTimeout
from rq.job import Job
from rq.queue import Queue
from rq.worker import WorkerStatus

from kernels.errors import DiskFull, Fenced, StoreUnavailable
from store.identity import Ownership
from store.jobs import JobStore
from store.records import Claim
from store.transitions import Status
from store.wakeups import QUEUE_NAME, WakeUp, WakeUpQueue
from worker import failpoints, log
from worker.channel import ChannelClosedError, Message
from worker.outage import Outage
from worker.process import TrainingProcess, describe_exit
from worker.registry import Presence
from worker.settings import (
    DEQUEUE_S,
    EXIT_UNUSABLE,
    GIVE_BACK_S,
    INTERMEDIATE_SWEEP_S,
    OUTAGE_RETRY_S,
    RESTART_PAUSE_S,
    Settings,
)

_REFUSED_TTL_S = 3600
"""Seconds that a refused entry's record stays for a person to look at."""


class UnusableError(RuntimeError):
    """The training process can never work as it was told to."""


@dataclass(frozen=True)
class Crash:
    """What ended the training process, and the jobs that waited in it and had no part in that."""

    message: str
    waited: frozenset[str]


class Supervisor(Worker):
    """An RQ worker on one queue whose work-horse is a long-lived spawned process.

    Args:
        settings: the command line.
        connection: a client that fails within seconds; outages are ridden out here.
        jobs: the job store, over the same server.
        presence: what the worker registry shows of this worker.
        ownership: of the data directory and the server, looked at before each pop.
    """

    queue_class: type[Queue] = WakeUpQueue
    job_class: type[Job] = WakeUp
    dequeue_timeout = DEQUEUE_S  # RQ blocks for minutes, deaf to signals

    def __init__(
        self, settings: Settings, connection: Redis, jobs: JobStore, presence: Presence, ownership: Ownership
    ) -> None:
        super().__init__([QUEUE_NAME], name=presence.worker_id, connection=connection, serializer="json")
        self.settings = settings
        self.jobs = jobs
        self.presence = presence
        self.ownership = ownership
        self.stopping = False
        self._stopping_since = 0.0
        self._environment = dict(os.environ)
        self._trainer: TrainingProcess | None = None
        self._failed_starts = 0
        self._held: list[str] = []
        self._waiting = set[str]()
        """Those of the held jobs that do nothing yet."""
        self._crash: Crash | None = None
        self._seen_intermediate: set[bytes | str] = set()
        self._swept_intermediate = time.monotonic()

    # ---- the loop -------------------------------------------------------------------------------------

    def work(self, *_arguments: Any, **_options: Any) -> bool:
        """Serve until SIGTERM or SIGINT. Returns True. Raises: UnusableError, ForeignStore."""
        signal.signal(signal.SIGINT, self.request_stop)
        signal.signal(signal.SIGTERM, self.request_stop)
        self._start_trainer()
        self.presence.start(also=self.heartbeat)
        registered = False
        outage = Outage("queue")
        try:
            while not self.stopping:
                try:
                    if not registered:
                        self.bootstrap()
                        registered = True
                    self._serve_once()
                    outage.over()
                except (RedisError, StoreUnavailable, DiskFull) as error:
                    outage.noticed(error)
                    time.sleep(OUTAGE_RETRY_S)
        finally:
            self._end_trainer()
            if registered:
                self._leave()
        return True

    def bootstrap(self, *_arguments: Any, **_options: Any) -> None:
        """Write RQ's record of this worker. (No command channel: whoever can publish must not stop workers.)"""
        self.register_birth()  # type: ignore[no-untyped-call]
        self.set_state(WorkerStatus.STARTED)
        log.info("listening", queue=QUEUE_NAME, pid=os.getpid(), device=self.settings.device)

    def _serve_once(self) -> None:
        """Report crashes, keep the training process warm, then act on what waits for our GPU or on a wake-up.

        A wake-up is waited for for a second.
        """
        self._report_crash()
        self._sweep_intermediate()
        if self._trainer is not None and self._trainer.has_ended:
            self._bury(self._trainer)  # killed while it was idle: by the kernel short of memory, or by hand
        self._catch_up()
        self._await_ready()
        if self.stopping:
            return
        self.ownership.check()
        if self.presence.device.startswith("cuda") and self.jobs.waits_for(self.presence.device):
            self._run_next()
            return
        wakeup = self._pop()
        if wakeup is not None:
            self.execute_job(wakeup, self.queues[0])

    def _pop(self) -> Job | None:
        """The next wake-up, or None after `DEQUEUE_S`. An entry that is no wake-up is refused here."""
        try:
            _, entry = self.queue_class.lmove(self.connection, self.queues[0].key, DEQUEUE_S)
        except DequeueTimeout:
            return None
        try:
            return self.job_class.fetch(entry.decode(), self.connection)
        except (RedisConnectionError, RedisTimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 - a foreign entry may fail to load in any way, and must not end us
            self._refuse(entry, error)
            return None

    def _refuse(self, entry: bytes, error: Exception) -> None:
        """Drop an entry that is not ours: neither imported nor called, and kept for an hour to be looked at."""
        log.warning("entry_refused", entry=repr(entry[:100]), error=type(error).__name__, detail=str(error)[:200])
        pipeline = self.connection.pipeline()
        pipeline.lrem(self._intermediate_key, 1, cast("str", entry))
        pipeline.expire(Job.redis_job_namespace_prefix.encode() + entry, _REFUSED_TTL_S)
        pipeline.execute()

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Have the training process claim and run whatever is next; returns when it is idle again, or dead.

        The wake-up itself is used up: it named no job, and the reaper makes another if one is missing.
        """
        self._run_next(lambda: self._consume(job, queue))

    def _run_next(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        trainer = self._trainer
        if trainer is None:
            return
        trainer.send({"do": "run"})
        trainer.runs += 1
        meanwhile()
        try:
            self._follow(trainer)
        except ChannelClosedError:
            self._bury(trainer)

    def _consume(self, job: Job, queue: Queue) -> None:
        try:
            pipeline = self.connection.pipeline(transaction=False)
            pipeline.lrem(queue.intermediate_queue_key, 1, job.id)
            pipeline.delete(job.key)
            pipeline.execute()
        except RedisError as error:
            log.warning("wakeup_not_removed", entry=job.id, error=type(error).__name__)

    def _follow(self, trainer: TrainingProcess) -> None:
        """Listen to the training process until it is idle. Raises: ChannelClosedError."""
        told_to_stop_at: float | None = None
        while True:
            if self.stopping and told_to_stop_at is None:
                trainer.send({"do": "stop"})
                told_to_stop_at = time.monotonic()
            if told_to_stop_at is not None and time.monotonic() - told_to_stop_at > GIVE_BACK_S:
                log.error("give_back_timed_out", pid=trainer.pid, after_s=GIVE_BACK_S)
                trainer.kill()
            message = trainer.receive(timeout_s=0.2)
            if message is not None and self._heard(message):
                break
        if message["recycle"] or trainer.runs >= self.settings.recycle_after:
            self._recycle(trainer)

    def _catch_up(self) -> None:
        """Take note of what an idle training process has said."""
        trainer = self._trainer
        if trainer is None or not self.presence.ready:
            return
        try:
            while (message := trainer.receive(timeout_s=0)) is not None:
                self._heard(message)
        except ChannelClosedError:
            self._bury(trainer)

    def _heard(self, message: Message) -> bool:
        """Take note of one message; whether the training process is idle now."""
        match message["event"]:
            case "claimed":
                self._held += message["jobs"]
            case "released":
                self._held = [job for job in self._held if job != message["job"]]
                self._waiting.discard(message["job"])
            case "waits":
                self._waiting.update(message["jobs"])
            case "begins":
                self._waiting.difference_update(message["jobs"])
            case "kernels":
                self.presence.kernels(message["state"])
            case "progress":
                self.presence.progress(message["samples_per_s"], message["memory_free_bytes"])
            case "idle":
                self._held.clear()
                self._waiting.clear()
        self.presence.busy_with(self._held)
        return bool(message["event"] == "idle")

    # ---- the training process -------------------------------------------------------------------------

    def _start_trainer(self) -> TrainingProcess:
        self._trainer = TrainingProcess(self.settings, self.presence.worker_id, self._environment)
        log.info("trainer_started", pid=self._trainer.pid)
        return self._trainer

    def _restart_trainer(self) -> TrainingProcess:
        time.sleep(RESTART_PAUSE_S[min(self._failed_starts, len(RESTART_PAUSE_S) - 1)])
        return self._start_trainer()

    def _await_ready(self) -> None:
        """Have a training process that is ready to run. Raises: UnusableError."""
        while not self.stopping and not self.presence.ready:
            trainer = self._trainer or self._restart_trainer()
            try:
                message = trainer.receive(timeout_s=0.2)
            except ChannelClosedError:
                self._failed_starts += 1
                self._bury(trainer)
                continue
            if message is None:
                continue
            if message["event"] == "unusable":
                raise UnusableError(message["message"])
            self._failed_starts = 0
            self.presence.became_ready(message)
            log.info("trainer_ready", pid=trainer.pid, after_s=round(time.monotonic() - trainer.started, 3))

    def _bury(self, trainer: TrainingProcess) -> None:
        """The training process is gone, and every job it held with it; a fresh one starts at once."""
        status = trainer.wait()
        if status == EXIT_UNUSABLE:
            raise UnusableError("the training process refused its settings")
        how = describe_exit(status)
        if self.stopping and status == 0:
            log.info("trainer_ended", pid=trainer.pid)
        else:
            log.error("trainer_died", pid=trainer.pid, how=how, jobs=",".join(self._held) or None)
            self._crash = Crash(f"the training process died ({how})", frozenset(self._waiting))
        self._held.clear()
        self._waiting.clear()
        self._replace()

    def _recycle(self, trainer: TrainingProcess) -> None:
        trainer.send({"do": "stop"})
        log.info("trainer_recycled", pid=trainer.pid, runs=trainer.runs, how=describe_exit(trainer.wait()))
        self._replace()

    def _replace(self) -> None:
        self._trainer = None
        self.presence.became_cold()
        failpoints.after_a_crash(self._environment)
        if not self.stopping and self._failed_starts == 0:
            self._start_trainer()

    def _end_trainer(self) -> None:
        if self._trainer is not None:
            self._trainer.send({"do": "stop"})
            log.info("trainer_ended", pid=self._trainer.pid, how=describe_exit(self._trainer.wait()))
            self._trainer = None

    def _report_crash(self) -> None:
        """Tell the store what a dead training process held. Raises: StoreUnavailable (and is tried again later).

        The store knows best: the process may have died between its claim and telling us of it. Those of whom we know
        that they only waited are given back.
        """
        if self._crash is None:
            return
        for claim in self.jobs.held_by(self.presence.worker_id):
            if claim.job_id in self._crash.waited:
                self._give_back(claim)
                continue
            job = self.jobs.crashed(claim.job_id, claim.fence, "crashed", self._crash.message)
            log.info("crash_reported", job=claim.job_id, fence=claim.fence, status=job and job.status)
        self._crash = None

    def _give_back(self, claim: Claim) -> None:
        with suppress(Fenced):
            job = self.jobs.finish(claim, Status.QUEUED, "given_back")
            log.info("given_back", job=claim.job_id, fence=claim.fence, status=job.status)

    # ---- RQ's keys ------------------------------------------------------------------------------------

    @property
    def _intermediate_key(self) -> str:
        return str(self.queues[0].intermediate_queue_key)

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:  # noqa: ARG002 - RQ's signature
        """Renew RQ's record of this worker, whole: an outage may have outlived it."""
        if self.birth_date is None:
            return
        with self.connection.pipeline(transaction=False) as batch:
            super().heartbeat(timeout, batch)
            batch.hset(self.key, mapping=self.serialize())
            worker_registration.register(self, batch)
            batch.execute()

    def _sweep_intermediate(self) -> None:
        """Drop what stayed in RQ's intermediate list over a whole interval: its worker died after the pop."""
        if time.monotonic() - self._swept_intermediate < INTERMEDIATE_SWEEP_S:
            return
        self._swept_intermediate = time.monotonic()
        present = set(self.connection.lrange(self._intermediate_key, 0, 999))
        for entry in present & self._seen_intermediate:
            self.connection.lrem(self._intermediate_key, 0, cast("str", entry))
        self._seen_intermediate = present

    def _leave(self) -> None:
        try:
            self._report_crash()
            self.register_death()  # type: ignore[no-untyped-call]
            self.presence.leave()
        except (RedisError, StoreUnavailable, DiskFull) as error:
            log.warning("left_without_goodbye", error=type(error).__name__)

    # ---- signals --------------------------------------------------------------------------------------

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """First SIGTERM or SIGINT: checkpoint, give the job back, leave. The second ends everything at once."""
        del frame
        if self.stopping:
            if time.monotonic() - self._stopping_since < 1.0:
                return  # Ctrl-C reaches a whole terminal, and our own supervisor passes it on
            if self._trainer is not None:
                self._trainer.kill()
            os._exit(128 + signum)
        self.stopping = True
        self._stopping_since = time.monotonic()
        log.info("stopping", signal=signal.Signals(signum).name)
