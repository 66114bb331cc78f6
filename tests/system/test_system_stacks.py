"""Queued jobs that fit together train as one stack: through HTTP, with real processes, and nobody can tell."""

from __future__ import annotations

import os
import random
import signal
from typing import Any

import pytest

from store.records import NewJob
from store.transitions import Status
from tests.processes import wait_until
from tests.system.stack_parts import BASE, LONG, Deployment, spec
from worker.settings import AHEAD_MOST, STACK_MOST

WILD = {"name": "sgd", "learning_rate": 1.0, "l2": 5e4}


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


def test_tiny_jobs_of_several_shapes_train_in_stacks_beside_a_single_thread(deployed: Deployment) -> None:
    """As with a worker for each processor: steps gain nothing, all that is beside them does."""
    specs = [spec(n, epochs=3) | {"net": {"hidden": [4 + n % 3]}} for n in range(36)]
    ids = deployed.submit(*specs)
    deployed.site.processes.worker(MLPQ_COMPILED="1", OPENBLAS_NUM_THREADS="1").ready()
    assert set(deployed.ended(ids)) == {Status.SUCCEEDED}
    assert sorted(deployed.stacks(ids))[len(ids) // 2] >= 8, "a dozen of each shape wait"
    deployed.assert_each_is_what_it_is_alone(ids[:6], specs[:6])
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


def test_a_crash_does_not_count_for_who_only_waited_for_a_seat(deployed: Deployment) -> None:
    site = deployed.site
    ids = deployed.submit(*[spec(seed) for seed in range(STACK_MOST + AHEAD_MOST)])
    worker = site.processes.worker(MLPQ_COMPILED="0").ready()
    wait_until(lambda: worker.log.count("event=training job=") >= STACK_MOST, what="all seats are taken")
    wait_until(lambda: worker.log.count("event=claimed job=") > STACK_MOST, what="somebody waits for one")
    os.kill(worker.trainer_pid(), signal.SIGKILL)
    before = worker.wait_for(r"[\s\S]*event=trainer_died").group()
    assert set(deployed.ended(ids)) == {Status.SUCCEEDED}
    waited = [one for one in ids if f"claimed job={one}" in before and f"training job={one}" not in before]
    again = [(job.fence, job.attempt) for job in map(site.store.get, waited)]
    assert again.count((2, 1)) >= max(1, len(waited) - 1), "one was perhaps being prepared"
    site.check()


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
    ids = deployed.submit(*(spec(seed) for seed in range(6)))
    worker = deployed.site.processes.worker(OUT_OF_MEMORY_ABOVE="2").ready()
    assert set(deployed.ended(ids)) == {Status.SUCCEEDED}
    assert "event=stack_broken code=out_of_memory" in worker.log
    assert [deployed.site.store.get(job_id).attempt for job_id in ids] == [1] * 6
    deployed.site.check()
