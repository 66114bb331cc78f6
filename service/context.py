"""The parts of one running application, made at its start and found on `app.state.services`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from kernels.errors import ForeignStore, StoreUnavailable
from service.ends import Ends
from service.explanations import Explanations
from service.feed import Feed
from service.metrics import Metrics
from service.predictors import Predictors
from service.settings import Settings
from service.tables import Tables
from store.curves import Curves
from store.datasets import DatasetStore
from store.events import EventLog
from store.files import LocalArtifacts
from store.idempotency import Idempotency
from store.identity import Ownership
from store.jobs import JobStore
from store.sweeps import SweepStore
from store.transitions import Status
from store.workers import WorkerInfo, Workers

AWAY_S = 0.25
"""After a failure the store counts as away for this long: requests fail at once instead of waiting one by one."""

COUNTS_AGE_S = 1.0
"""How old the job counts may be that the limit on queued jobs looks at."""


class StillAway(StoreUnavailable):
    """The store was not asked again: it failed somebody a moment ago."""


@dataclass
class Services:
    """What routes call. Everything here may be used from several threads, except `feed` and `ends`: event loop only."""

    settings: Settings
    jobs: JobStore
    sweeps: SweepStore
    log: EventLog
    curves: Curves
    workers: Workers
    idempotency: Idempotency
    datasets: DatasetStore
    artifacts: LocalArtifacts
    tables: Tables
    predictors: Predictors
    explanations: Explanations
    feed: Feed
    ends: Ends
    metrics: Metrics
    ownership: Ownership
    _foreign: str | None = None
    _counts: dict[Status, int] = field(default_factory=dict)
    _counted_at: float = 0.0
    _present: list[WorkerInfo] = field(default_factory=list)
    _listed_at: float = 0.0
    _away_until: float = 0.0

    def check_store(self) -> None:
        """Raise StillAway if the store failed somebody a moment ago, ForeignStore while it is another directory's."""
        if self._foreign is not None:
            raise ForeignStore(self._foreign)
        if time.monotonic() < self._away_until:
            raise StillAway

    def check_ownership(self) -> None:
        """Look whether the store is still ours, and remember it for every request. Raises as `Ownership.check`."""
        try:
            self.ownership.check()
            self._foreign = None
        except ForeignStore as error:
            self._foreign = str(error)
            raise

    def store_failed(self) -> None:
        """The store did not answer a request."""
        self._away_until = time.monotonic() + AWAY_S

    def queued(self) -> int:
        """Jobs that wait, counted at most `COUNTS_AGE_S` ago. Raises StoreUnavailable."""
        now = time.monotonic()
        if now - self._counted_at > COUNTS_AGE_S:
            self._counts, self._counted_at = self.jobs.counts(), now
        return self._counts.get(Status.QUEUED, 0)

    def capacity(self, device: str) -> int | None:
        """Bytes of the largest living worker that would train on `device` (`cuda`: any GPU); None if unknown.

        The list of workers is at most `COUNTS_AGE_S` old. Raises StoreUnavailable.
        """
        suited = [one for one in self._workers(COUNTS_AGE_S) if device in ("auto", "cpu") or _is(one, device)]
        sizes = [one.memory_total_bytes if device == "auto" or _is(one, device) else None for one in suited]
        known = [size for size in sizes if size is not None]
        return max(known) if known and len(known) == len(sizes) else None

    def offered(self, age_s: float = COUNTS_AGE_S) -> frozenset[str] | None:
        """What `training.device` may be so that a living worker takes the job; None where that cannot be told.

        That is so while there is no worker, or one that does not yet know its device. Raises StoreUnavailable.
        """
        present = self._workers(age_s)
        if not present or any(one.device == "auto" for one in present):
            return None
        return frozenset({"auto", "cpu", *(one.device for one in present)})

    def nobody_takes(self, device: str) -> bool:
        """Whether a job that asks for `device` (`cuda`: any GPU) waits for a worker that is not there.

        Raises StoreUnavailable.
        """
        present = self._workers(COUNTS_AGE_S)
        return device.startswith("cuda") and not any(one.device == "auto" or _is(one, device) for one in present)

    def _workers(self, age_s: float) -> list[WorkerInfo]:
        """The living workers, as they were at most `age_s` ago."""
        now = time.monotonic()
        if now - self._listed_at > age_s:
            self._present, self._listed_at = self.workers.list(), now
        return self._present


def _is(worker: WorkerInfo, device: str) -> bool:
    """Whether a worker trains on this device, or on a GPU where any will do."""
    return worker.device == device or (device == "cuda" and worker.device.startswith("cuda"))
