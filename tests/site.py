"""What tests with real workers share: jobs of known cost, processes that are cleaned up, one uninterrupted run.

A conftest imports the fixtures it wants: `from tests.site import builtin_sets, own_site, reference, site`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from mlpq.embedded import EmbeddedServer
from store.jobs import JobStore
from store.records import Job, NewJob, Stackable
from store.transitions import Status
from tests.history import History, check
from tests.processes import Processes, wait_until

QUICK: dict[str, Any] = {
    "net": {"hidden": [16]},
    "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
    "training": {"epochs": 5, "batch_size": 64},
}
"""Milliseconds."""

STEADY: dict[str, Any] = {
    "net": {"hidden": [256, 256]},
    "optimizer": {"name": "sgd", "learning_rate": 0.005, "momentum": 0.9},
    "training": {"epochs": 8, "batch_size": 2, "seed": 3, "checkpoint_every_s": 0.15},
}
"""About a second on one BLAS thread; more steps in an epoch (719) than in a chunk. A test that must meddle with it
before it ends holds it (`Site.hold`)."""

ENDLESS: dict[str, Any] = STEADY | {"training": STEADY["training"] | {"epochs": 2_000}}
"""Minutes: ends only when told to. (Up to 2 000 epochs each has its metric point.)"""


class Site:
    """One Redis, one data directory, the store over them, and whatever processes a test starts."""

    def __init__(self, server: EmbeddedServer, folder: Path, data_dir: Path) -> None:
        self.server = server
        self.data_dir = data_dir
        self.store = JobStore(Redis.from_url(server.url))
        self.processes = Processes(folder, server.url, self.data_dir)
        self.accepted: list[str] = []
        self._hold = folder / "hold"

    def hold(self) -> str:
        """No run of a worker started with HOLD_WHILE=site.hold() ends by itself until `release`: it waits mid-epoch."""
        self._hold.touch()
        return str(self._hold)

    def release(self) -> None:
        """Let held runs go on to their ends."""
        self._hold.unlink()

    def submit(self, spec: dict[str, Any], dataset: str = "digits", stack: Stackable | None = None) -> str:
        """Accept a job, which trains alone unless it is told with whom it may; returns its id."""
        job, _ = self.store.create(NewJob(spec=spec, dataset=dataset, stack=stack))
        self.accepted.append(job.id)
        return job.id

    def wait(self, job_id: str, *statuses: Status, timeout_s: float = 60) -> Job:
        """Wait until the job has one of `statuses` (none given: until it has ended)."""

        def reached() -> Job | None:
            job = self.store.get(job_id)
            return job if (job.status in statuses if statuses else job.terminal) else None

        return wait_until(reached, timeout_s, f"{job_id} reaches {statuses or 'an end'}")

    def wait_for_step(self, job_id: str, step: int = 1, timeout_s: float = 60) -> Job:
        """Wait until a metric of at least `step` was published."""
        reached: Callable[[], Job | None] = lambda: (  # noqa: E731
            job if (job := self.store.get(job_id)).last_metric_step >= step else None
        )
        return wait_until(reached, timeout_s, f"{job_id} reaches step {step}")

    def check(self) -> list[History]:
        """The history checker over every accepted job."""
        return check(self.store, self.data_dir, self.accepted)


def data_dir_of(folder: Path, builtin_sets: Path) -> Path:
    """A data directory below `folder` that has its data sets there."""
    data_dir = folder / "data"
    data_dir.mkdir()
    (data_dir / "datasets").symlink_to(builtin_sets)
    return data_dir


@pytest.fixture(scope="session")
def builtin_sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of data sets that all sites share, so that built-in ones are made once."""
    return tmp_path_factory.mktemp("datasets")


@pytest.fixture
def site(redis: Redis, valkey: EmbeddedServer, tmp_path: Path, builtin_sets: Path) -> Iterator[Site]:
    """A site on the session's server; its processes end with the test."""
    site = Site(valkey, tmp_path, data_dir_of(tmp_path, builtin_sets))
    with site.processes:
        yield site
    site.store.redis.close()


@pytest.fixture
def own_site(tmp_path: Path, builtin_sets: Path) -> Iterator[Site]:
    """A site with a server of its own, which the test may kill."""
    server = EmbeddedServer(tmp_path / "valkey")
    server.start()
    site = Site(server, tmp_path, data_dir_of(tmp_path, builtin_sets))
    try:
        with site.processes:
            yield site
    finally:
        site.store.redis.close()
        server.kill()


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory, builtin_sets: Path) -> Iterator[tuple[History, Path]]:
    """`STEADY` run without any interruption, and where its files lie."""
    folder = tmp_path_factory.mktemp("reference")
    server = EmbeddedServer(folder / "valkey")
    server.start()
    site = Site(server, folder, data_dir_of(folder, builtin_sets))
    with site.processes:
        site.processes.worker(MLPQ_COMPILED="0").ready()  # as in every test that compares: layer by layer
        site.wait(site.submit(STEADY), timeout_s=90)
        (history,) = site.check()
    assert history.job.status is Status.SUCCEEDED
    yield history, site.data_dir
    site.store.redis.close()
    server.stop()
