"""The list of living workers and the state of the queue."""

from __future__ import annotations

import time
from dataclasses import replace

from redis import Redis

from store.jobs import JobStore
from store.transitions import Status
from store.workers import WorkerInfo, Workers
from tests.store.store_parts import bring_to

INFO = WorkerInfo("w1", "host", 42, "cuda:0", "cupy", 80 * 2**30, 70 * 2**30, ("job_1",), 1e6, 1234)


def test_a_worker_is_listed_as_it_last_described_itself(redis: Redis) -> None:
    workers = Workers(redis)
    assert workers.list() == []
    workers.heartbeat(INFO)
    workers.heartbeat(WorkerInfo("w0", "host", 1, "cpu", "numpy"))
    changed = replace(INFO, jobs=(), samples_per_s=None)
    workers.heartbeat(changed)
    assert workers.list() == [WorkerInfo("w0", "host", 1, "cpu", "numpy"), changed]
    workers.forget("w1")
    assert [worker.id for worker in workers.list()] == ["w0"]


def test_a_silent_worker_vanishes(redis: Redis) -> None:
    workers = Workers(redis)
    workers.heartbeat(INFO)
    assert workers.list() == [INFO]
    workers.heartbeat(INFO, ttl_s=0.05)
    time.sleep(0.1)
    assert workers.list() == []
    assert redis.keys("mlpq:worker*") == []


def test_statistics_count_what_is_there(redis: Redis) -> None:
    store, workers = JobStore(redis), Workers(redis)
    assert store.statistics().oldest_wait_s is None
    for status in Status:
        bring_to(store, status)
    workers.heartbeat(INFO)
    found = store.statistics()
    assert (found.queued, found.held, found.workers) == (1, 3, 1)
    assert found.counts == dict.fromkeys(Status, 1)
    assert found.oldest_wait_s is not None
    assert 0 <= found.oldest_wait_s < 30
