"""A site with a service, and jobs that fit together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlpq import Client
from store.transitions import Status
from tests.history import assert_same_run, read_history
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

    def __init__(self, site: Site, client: Client) -> None:
        self.site, self.client = site, client

    def submit(self, *specs: dict[str, Any]) -> list[str]:
        ids = [self.client.submit(one).id for one in specs]
        self.site.accepted += ids
        return ids

    def ended(self, ids: Sequence[str], timeout_s: float = 120) -> list[Status]:
        return [self.site.wait(job_id, timeout_s=timeout_s).status for job_id in ids]

    def alone(self, *specs: dict[str, Any]) -> list[str]:
        """Each submitted when the one before has ended: no stack is possible."""
        found = []
        for one in specs:
            found += self.submit(one)
            self.ended(found[-1:])
            assert self.site.store.get(found[-1]).environment["stack"] == 1
        return found

    def assert_each_is_what_it_is_alone(self, ids: Sequence[str], specs: Sequence[dict[str, Any]]) -> None:
        store, folder = self.site.store, self.site.data_dir
        for together, alone in zip(ids, self.alone(*specs), strict=True):
            assert_same_run(read_history(store, together), folder, read_history(store, alone), folder)
            assert store.get(together).metrics == store.get(alone).metrics

    def stacks(self, ids: Sequence[str]) -> list[int]:
        return [self.site.store.get(job_id).environment["stack"] for job_id in ids]

    def running(self, ids: Sequence[str]) -> None:
        """Wait until all train, side by side."""
        for job_id in ids:
            self.site.wait_for_step(job_id)
        assert {self.site.store.get(job_id).status for job_id in ids} == {Status.RUNNING}
