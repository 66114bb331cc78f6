"""A site with a service, and jobs that fit together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mlpq import Client
from store.transitions import Status
from tests.history import History, assert_same_run, read_history
from tests.site import Site

BASE: dict[str, Any] = {
    "dataset": "iris",
    "net": {"hidden": [12]},
    "optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9},
    "training": {"epochs": 400, "batch_size": 8, "checkpoint_every_s": 0.2},
}
"""About a second by layers: long enough for company, which is looked for while it trains."""
LONG = {"epochs": 800}


def spec(seed: int, **training: Any) -> dict[str, Any]:
    return BASE | {"training": BASE["training"] | {"seed": seed} | training}


class Deployment:
    """A site with a service, and the jobs that were submitted to it."""

    def __init__(self, site: Site, client: Client, alone: dict[tuple[str, str], History]) -> None:
        self.site, self.client, self._alone = site, client, alone

    def submit(self, *specs: dict[str, Any]) -> list[str]:
        ids = [self.client.submit(one).id for one in specs]
        self.site.accepted += ids
        return ids

    def ended(self, ids: Sequence[str], timeout_s: float = 120) -> list[Status]:
        return [self.site.wait(job_id, timeout_s=timeout_s).status for job_id in ids]

    def alone(self, spec: dict[str, Any], engine: str) -> History:
        """A job submitted when nobody else trains, so that no stack is possible."""
        key = engine, json.dumps(spec, sort_keys=True)
        if key not in self._alone:
            ids = self.submit(spec)
            self.ended(ids)
            history = read_history(self.site.store, ids[0])
            assert (history.job.environment["stack"], history.job.environment["engine"]) == (1, engine)
            self._alone[key] = history
        return self._alone[key]

    def assert_each_is_what_it_is_alone(self, ids: Sequence[str], specs: Sequence[dict[str, Any]]) -> None:
        folder = self.site.data_dir
        for job_id, one in zip(ids, specs, strict=True):
            together = read_history(self.site.store, job_id)
            alone = self.alone(one, together.job.environment["engine"])
            assert_same_run(together, folder, alone, folder)
            assert together.job.metrics == alone.job.metrics

    def stacks(self, ids: Sequence[str]) -> list[int]:
        return [self.site.store.get(job_id).environment["stack"] for job_id in ids]

    def running(self, ids: Sequence[str]) -> None:
        """Wait until all train, side by side."""
        for job_id in ids:
            self.site.wait_for_step(job_id)
        assert {self.site.store.get(job_id).status for job_id in ids} == {Status.RUNNING}
