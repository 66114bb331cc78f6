"""Puts a worker together from its parts: connections, store, reaper, registry, supervisor."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from redis.exceptions import RedisError

from kernels.errors import DiskFull, ForeignStore, StoreUnavailable
from store.connection import connect
from store.files import sweep
from store.identity import Ownership
from store.jobs import JobStore
from store.reaper import Reaper
from store.workers import Workers
from worker import log
from worker.outage import Outage
from worker.registry import Presence
from worker.settings import EXIT_UNUSABLE, OUTAGE_RETRY_S, Settings
from worker.supervisor import Supervisor, UnusableError


def run(settings: Settings) -> int:
    """Run one worker until it is told to stop; returns the exit status of the process."""
    log.setup(settings.name, "worker")
    try:
        ownership = Ownership(connect(settings.redis_url), settings.data_dir)
        supervisor = _build(settings, ownership)
        _serve(settings, supervisor, ownership)
    except (UnusableError, ForeignStore, OSError) as error:
        log.error("unusable", detail=str(error))
        return EXIT_UNUSABLE
    log.info("stopped")
    return 0


def _serve(settings: Settings, supervisor: Supervisor, ownership: Ownership) -> None:
    reaper = Reaper(JobStore(connect(settings.redis_url)), guard=ownership.check)
    reaper.start()
    threading.Thread(target=_sweep, args=(settings.data_dir,), name="sweep", daemon=True).start()
    try:
        supervisor.work()
    finally:
        reaper.stop()


def _sweep(data_dir: Path) -> None:
    """Remove what dead processes left half-written; what a living one writes is locked and stays."""
    removed = sum(sweep(data_dir / folder) for folder in ("artifacts", "datasets"))
    if removed:
        log.info("swept", temporaries=removed)


def _build(settings: Settings, ownership: Ownership) -> Supervisor:
    """The supervisor, as soon as Redis answers for the first time. Raises: ForeignStore."""
    jobs = JobStore(connect(settings.redis_url))
    outage = Outage("start")
    while True:
        try:
            ownership.check()
            presence = Presence(settings.name, settings.device, Workers(connect(settings.redis_url)))
            return Supervisor(settings, connect(settings.redis_url), jobs, presence, ownership)
        except (RedisError, StoreUnavailable, DiskFull) as error:
            outage.noticed(error)
            time.sleep(OUTAGE_RETRY_S)
