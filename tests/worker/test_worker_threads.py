"""What the threads of the training process make of an error that nobody foresaw: the others are served all the same."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from store import keys
from store.claims import Farewell
from store.jobs import JobStore
from store.records import Claim
from store.transitions import Status
from tests.processes import wait_until
from tests.store.store_parts import new_job
from tests.worker.runner_parts import Bench
from tests.worker.test_worker_runner import SMALL
from worker.outbox import Closing, Outbox
from worker.publish import Files
from worker.publisher import Publisher
from worker.reporter import Reporter


def claims_of(store: JobStore, count: int) -> list[Claim]:
    jobs, _ = store.create_many([new_job() for _ in range(count)])
    return store.claim_also("w", [job.id for job in jobs])


def test_what_is_published_after_a_failure_is_published(capfd: pytest.CaptureFixture[str]) -> None:
    publisher, done = Publisher(), list[str]()

    def fail() -> None:
        raise ValueError("unforeseen")

    publisher.do("job_a", fail)
    publisher.do("job_a", lambda: done.append("job_a"))
    draining = threading.Thread(target=publisher.drain, daemon=True)
    draining.start()
    draining.join(5)
    assert not draining.is_alive()
    assert done == ["job_a"]


def test_runs_that_nobody_reports_any_more_stop(redis: Redis, data_dir: Path) -> None:
    store = JobStore(redis)

    def fail(job_id: str) -> None:
        raise ValueError(f"unforeseen, about {job_id}")

    reporter = Reporter(store, Files(data_dir), threading.Event(), fail, lambda: None, lambda: False)
    ending, training = (Outbox(claim) for claim in claims_of(store, 2))
    for outbox in (ending, training):
        reporter.add(outbox)
    ending.close(Closing(Status.QUEUED, "given_back"))
    reporter.wake()
    wait_until(lambda: training.fenced, 5, "it is told to stop")
    reporter.join()


def test_a_refusal_of_one_is_an_answer_as_those_of_many_are(redis: Redis) -> None:
    store = JobStore(redis)
    claims = claims_of(store, 3)
    for claim in claims[:2]:
        redis.hset(keys.job(claim.job_id), "last_event", "no number")
    farewells = [Farewell(claim, (), {}, None, Status.SUCCEEDED, "completed") for claim in claims]
    assert isinstance(store.finish_many(farewells[:1])[0], ResponseError)
    kinds = [type(answer).__name__ for answer in store.finish_many(farewells[1:])]
    assert kinds == ["ResponseError", "Job"]


def test_a_run_whose_record_is_damaged_ends_and_lets_go(bench: Bench) -> None:
    job_id = bench.site.submit(SMALL, "iris")
    claims = bench.claim(1)
    bench.site.store.redis.hset(keys.job(job_id), "last_event", "no number")
    bench.runner.run(claims)
    assert {"event": "released", "job": job_id} in bench.told
