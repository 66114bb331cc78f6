"""Who trains with whom, and who first: priority, keys, workers, all through HTTP and real processes."""

from __future__ import annotations

import json
import re
import urllib.request
from typing import Any

from mlpq import Client
from store.transitions import Status
from tests.processes import wait_until
from tests.site import Site
from tests.system.stack_parts import Deployment, spec


def test_two_workers_share_the_queue_and_no_job_is_trained_twice(deployed: Deployment) -> None:
    ids = deployed.submit(*(spec(seed, epochs=150) for seed in range(16)))
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


def test_a_job_does_not_wait_for_all_that_another_key_has_queued(site: Site) -> None:
    ours, theirs = "first-key-of-this-test", "second-key-of-this-test"
    service = site.processes.service(MLPQ_API_KEY=f"{ours},{theirs}").ready()
    with Client(service.url, api_key=ours) as client, Client(service.url, api_key=theirs) as other:
        shapes = [spec(0, epochs=5) | {"net": {"hidden": [width]}} for width in range(2, 18)]
        many = [job.id for job in client.submit_many(shapes)]
        one = other.submit(spec(0, epochs=5) | {"net": {"hidden": [40]}})
        assert one.record.raw["queue_position"] == 1
    site.accepted += [*many, one.id]
    site.processes.worker().ready()
    jobs = [site.wait(job_id) for job_id in site.accepted]
    assert {job.status for job in jobs} == {Status.SUCCEEDED}
    started = [job.started_at_ms or 0 for job in jobs]
    assert started[0] <= started[-1] <= started[1]
    assert started[:-1] == sorted(started[:-1]), "of one key the oldest comes first"
    site.check()


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
