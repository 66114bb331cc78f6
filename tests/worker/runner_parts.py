"""A runner in the very process of a test, with its parts in reach."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from kernels.backend import select
from store.datasets import DatasetStore
from store.records import Claim, Job
from store.transitions import Status
from tests.site import Site
from worker.channel import Message
from worker.data import DataCache
from worker.publish import Files
from worker.runner import Runner


class Bench:
    """A runner, and what it was told and says."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.stopping = threading.Event()
        self.left = threading.Event()
        self.told: list[Message] = []
        self.data = DataCache(DatasetStore(site.store.redis, site.data_dir), limit_bytes=1 << 28)
        files = Files(site.data_dir)
        backend = select("cpu")
        self.runner = Runner(
            site.store, self.data, files, backend, self.stopping, self.told.append, self.left.set, lambda: False
        )

    def claim(self, n: int) -> list[Claim]:
        """The next `n` queued jobs."""
        claims = [self.site.store.claim("here") for _ in range(n)]
        return [claim for claim in claims if claim is not None]

    def run(self, *specs: dict[str, Any], dataset: str = "iris") -> list[Job]:
        """Submit, claim and run all of `specs` together."""
        ids = [self.site.submit(spec, dataset) for spec in specs]
        self.runner.run(self.claim(len(ids)))
        return [self.site.store.get(job_id) for job_id in ids]

    def during(self, action: Callable[[], None]) -> threading.Thread:
        """Do something while the runner runs."""
        thread = threading.Thread(target=action)
        thread.start()
        return thread


def pause_after_a_point(bench: Bench, job_id: str) -> Job:
    """Claim and run the job, and pause it behind its next metric point."""
    seen = bench.site.store.get(job_id).last_metric_step

    def pause() -> None:
        bench.site.wait_for_step(job_id, seen + 1)
        bench.site.store.request(job_id, "pause")

    thread = bench.during(pause)
    bench.runner.run(bench.claim(1))
    thread.join()
    job = bench.site.store.get(job_id)
    assert job.status is Status.PAUSED
    return job
