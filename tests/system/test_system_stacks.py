"""Queued jobs that fit together train as one stack: through HTTP, with real processes, and nobody can tell."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from mlpq import Client
from store.records import NewJob
from store.transitions import Status
from tests.history import assert_same_run, read_history
from tests.processes import wait_until
from tests.site import Site

BASE: dict[str, Any] = {
    "dataset": "iris",
    "net": {"hidden": [12]},
    "optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9},
    "training": {"epochs": 400, "batch_size": 8, "checkpoint_every_s": 0.2},
}
"""About a second by layers: long enough for company, which is looked for while it trains."""
WILD = {"name": "sgd", "learning_rate": 1.0, "l2": 5e4}


def spec(seed: int, **training: Any) -> dict[str, Any]:
    return BASE | {"training": BASE["training"] | {"seed": seed} | training}


LONG = {"epochs": 800}


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


@pytest.fixture
def deployed(site: Site) -> Iterator[Deployment]:
    with Client(site.processes.service().ready().url, patience_s=60) as client:
        yield Deployment(site, client)


def mixture(chance: random.Random, jobs: int) -> list[dict[str, Any]]:
    """Jobs that differ in whatever may differ, of two shapes."""
    found = []
    for _ in range(jobs):
        rate = 10 ** chance.uniform(-3, -1)
        one = spec(
            chance.randrange(1000),
            epochs=chance.choice([3, 40, 200, 400]),
            validation_fraction=chance.choice([0.2, 0.4]),
            early_stopping=chance.choice([None, None, {"patience": 20}]),
            class_weight=chance.choice([None, "balanced"]),
        )
        one["optimizer"] = chance.choice([WILD, *3 * [BASE["optimizer"] | {"learning_rate": rate, "l2": rate / 100}]])
        one["schedule"] = chance.choice(["constant", "cosine", {"name": "linear", "warmup_steps": 9}])
        one["dataset"] = chance.choice(["iris", "iris", "iris", "wine"])
        one["priority"] = chance.choice([0, 0, 3])
        one["tags"] = chance.choice([["a"], ["b"], []])
        found.append(one)
    return found


@pytest.mark.parametrize("compiled", ["0", "1"])
def test_a_random_mixture_is_its_jobs_alone(deployed: Deployment, compiled: str) -> None:
    specs = mixture(random.Random(f"mixture {compiled}"), 12)
    ids = deployed.submit(*specs)
    deployed.site.processes.worker(MLPQ_COMPILED=compiled).ready()
    endings = deployed.ended(ids)
    assert set(endings) == {Status.SUCCEEDED, Status.FAILED}, "some diverge"
    assert max(deployed.stacks(ids)) > 1
    deployed.assert_each_is_what_it_is_alone(ids, specs)
    deployed.site.check()


def test_a_killed_process_counts_one_attempt_each_and_changes_no_bit(deployed: Deployment) -> None:
    specs = [spec(seed, **LONG) for seed in range(4)]
    ids = deployed.submit(*specs)
    worker = deployed.site.processes.worker().ready()
    deployed.running(ids)
    wait_until(lambda: all(deployed.site.store.get(job_id).checkpoints for job_id in ids), what="all have checkpoints")
    os.kill(worker.trainer_pid(), signal.SIGKILL)
    assert set(deployed.ended(ids)) == {Status.SUCCEEDED}
    assert [deployed.site.store.get(job_id).attempt for job_id in ids] == [2] * 4
    assert max(deployed.stacks(ids)) > 1
    deployed.assert_each_is_what_it_is_alone(ids, specs)
    deployed.site.check()


def test_one_is_cancelled_one_paused_one_taken_over_and_the_others_do_not_notice(deployed: Deployment) -> None:
    specs = [spec(seed, **LONG) for seed in range(5)]
    ids = deployed.submit(*specs)
    deployed.site.processes.worker().ready()
    deployed.running(ids)
    store = deployed.site.store
    store.request(ids[0], "cancel")
    store.request(ids[1], "pause")
    store.crashed(ids[2], store.get(ids[2]).fence, "worker_lost", "as if the lease had run out")
    deployed.site.wait(ids[1], Status.PAUSED, timeout_s=5)
    assert deployed.ended(ids[:1]) == [Status.CANCELLED]
    store.request(ids[1], "resume")
    assert set(deployed.ended(ids[1:])) == {Status.SUCCEEDED}
    assert [store.get(job_id).attempt for job_id in ids] == [1, 1, 2, 1, 1]
    deployed.client.job(ids[0]).delete()
    deployed.site.accepted.remove(ids[0])
    deployed.assert_each_is_what_it_is_alone(ids[1:], specs[1:])
    deployed.site.check()


def test_a_job_that_cannot_start_fails_alone(deployed: Deployment) -> None:
    (first,) = deployed.submit(spec(0, **LONG))
    fits = deployed.site.store.get(first).stack
    bad, _ = deployed.site.store.create(NewJob(spec={"net": {"hidden": [0]}}, dataset="iris", stack=fits))
    strange, _ = deployed.site.store.create(NewJob(spec={"net": {"hidden": [5]}}, dataset="iris", stack=fits))
    (last,) = deployed.submit(spec(1, **LONG))
    ids = [first, bad.id, strange.id, last]
    deployed.site.processes.worker().ready()
    assert deployed.ended(ids) == [Status.SUCCEEDED, Status.FAILED, Status.SUCCEEDED, Status.SUCCEEDED]
    assert deployed.stacks([strange.id]) == [1], "its key lied; it goes back and trains alone"
    assert [deployed.site.store.get(job_id).attempt for job_id in ids] == [1] * 4
    deployed.site.accepted = ids
    deployed.site.check()


def test_a_stop_gives_the_whole_stack_back(deployed: Deployment) -> None:
    specs = [spec(seed, **LONG) for seed in range(3)]
    ids = deployed.submit(*specs)
    worker = deployed.site.processes.worker().ready()
    deployed.running(ids)
    assert worker.terminate() == 0
    jobs = [deployed.site.store.get(job_id) for job_id in ids]
    assert {(job.status, job.status_reason, job.attempt) for job in jobs} == {(Status.QUEUED, "given_back", 1)}
    assert all(job.checkpoints for job in jobs)
    deployed.site.processes.worker().ready()
    assert set(deployed.ended(ids)) == {Status.SUCCEEDED}
    deployed.assert_each_is_what_it_is_alone(ids, specs)


def test_short_of_memory_half_of_the_stack_goes_back(deployed: Deployment) -> None:
    ids = deployed.submit(*(spec(seed, **LONG) for seed in range(6)))
    worker = deployed.site.processes.worker(OUT_OF_MEMORY_ABOVE="2").ready()
    assert set(deployed.ended(ids)) == {Status.SUCCEEDED}
    assert "event=stack_broken code=out_of_memory" in worker.log
    assert [deployed.site.store.get(job_id).attempt for job_id in ids] == [1] * 6
    deployed.site.check()


def test_two_workers_share_the_queue_and_no_job_is_trained_twice(deployed: Deployment) -> None:
    ids = deployed.submit(*(spec(seed) for seed in range(16)))
    workers = [deployed.site.processes.worker() for _ in range(2)]
    assert set(deployed.ended(ids)) == {Status.SUCCEEDED}
    trained = [job_id for worker in workers for job_id in re.findall(r"event=training job=(\S+)", worker.log)]
    assert sorted(trained) == sorted(ids)
    assert [deployed.site.store.get(job_id).fence for job_id in ids] == [1] * 16
    deployed.site.check()


def test_jobs_that_end_before_company_comes_train_together_all_the_same(deployed: Deployment) -> None:
    ids = deployed.submit(*(spec(seed, epochs=2) for seed in range(30)))
    deployed.site.processes.worker(MLPQ_COMPILED="1").ready()
    assert set(deployed.ended(ids)) == {Status.SUCCEEDED}
    assert sorted(deployed.stacks(ids))[len(ids) // 2] > 1
    assert [deployed.site.store.get(job_id).fence for job_id in ids] == [1] * 30
    deployed.site.check()


def test_priority_is_kept_to(deployed: Deployment) -> None:
    other = {"net": {"hidden": [13]}}
    urgent, idle = {"priority": 5}, {"priority": -5}
    ids = deployed.submit(spec(0), spec(1) | other | urgent, spec(2), spec(3) | idle, spec(4) | other)
    deployed.site.processes.worker().ready()
    assert set(deployed.ended(ids)) == {Status.SUCCEEDED}
    started = [deployed.site.store.get(job_id).started_at_ms or 0 for job_id in ids]
    assert started[1] < min(started[0], started[2]), "the urgent one comes first"
    assert started[3] >= max(started), "the one that can wait comes in when nobody else waits, though it fits"


def test_few_jobs_of_one_key_find_places_among_many_of_another(site: Site) -> None:
    ours, theirs = "first-key-of-this-test", "second-key-of-this-test"
    service = site.processes.service(MLPQ_API_KEY=f"{ours},{theirs}").ready()
    with Client(service.url, api_key=ours) as client, Client(service.url, api_key=theirs) as other:
        many = [job.id for job in client.submit_many([spec(seed, epochs=10) for seed in range(120)])]
        few = [job.id for job in other.submit_many([spec(seed, epochs=10) for seed in range(3)])]
        shown = {client.job(job_id).record.raw["owner"] for job_id in (many[0], few[0])}
    site.accepted += many + few
    site.processes.worker().ready()
    jobs = [site.wait(job_id) for job_id in many + few]
    assert {job.status for job in jobs} == {Status.SUCCEEDED}
    owners = [{job.owner for job in jobs if (job.id in few) == is_few} for is_few in (False, True)]
    assert [len(owner) for owner in owners] == [1, 1]
    assert owners[0] != owners[1]
    assert set.union(*owners) == shown
    assert not any(key in owner for owner in shown for key in (ours, theirs))
    latest = max(job.started_at_ms or 0 for job in jobs if job.id in few)
    before = [job.id for job in jobs if (job.started_at_ms or 0) < latest]
    assert len(before) < 40, "theirs did not wait for all that was queued before them"
    site.check()


def test_workers_and_jobs_tell_who_trains_with_whom(deployed: Deployment) -> None:
    ids = deployed.submit(*(spec(seed, epochs=20_000) for seed in range(2)))
    deployed.site.processes.worker().ready()
    deployed.running(ids)

    def shown() -> dict[str, Any]:
        with urllib.request.urlopen(f"{deployed.client.url}/v1/workers", timeout=5) as answer:
            (worker,) = json.load(answer)["data"]
        return worker if worker["stack"] == 2 and worker["samples_per_s"] else {}

    worker = wait_until(shown, what="the worker is listed with its stack")
    assert sorted(worker["jobs"]) == sorted(ids)
    for job_id in ids:
        deployed.site.store.request(job_id, "cancel")
    deployed.ended(ids)
    assert sorted(deployed.stacks(ids)) == [1, 2]
