"""At equal priority owners take turns, however many jobs of however many shapes one of them has queued."""

from __future__ import annotations

import pytest
from redis import Redis

from store import keys
from store.jobs import JobStore
from tests.store.store_parts import check_laws, new_job, on_device, stackable


@pytest.fixture
def store(redis: Redis) -> JobStore:
    return JobStore(redis)


def submit(store: JobStore, owner: str, count: int = 1, **changes: int) -> list[str]:
    """So many jobs of different shapes."""
    news = [new_job(owner=owner, stack=stackable(f"{owner}{place}"), **changes) for place in range(count)]
    return [job.id for job in store.create_many(news)[0]]


def claimed(store: JobStore, count: int, device: str = "cpu") -> list[str]:
    claims = [store.claim("w", device=device) for _ in range(count)]
    return [claim.job_id for claim in claims if claim is not None]


def test_one_job_waits_for_one_of_a_thousand(store: JobStore, redis: Redis) -> None:
    many = submit(store, "key_1", 1000)
    (one,) = submit(store, "key_2")
    few = submit(store, "key_3", 2)
    assert [store.queue_position(job_id) for job_id in (many[0], one, *few, many[1], many[9])] == [0, 1, 2, 4, 3, 12]
    assert claimed(store, 6) == [many[0], one, few[0], many[1], few[1], many[2]]


def test_without_owners_jobs_come_as_they_arrived(store: JobStore) -> None:
    ids = [submit(store, "")[0] for _ in range(5)]
    assert claimed(store, 5) == ids


def test_whoever_queues_again_at_once_is_behind_those_who_wait(store: JobStore, redis: Redis) -> None:
    waiting = submit(store, "key_1", 3)
    order = []
    for _ in range(6):
        submit(store, "key_2")
        order += [store.get(job_id).owner for job_id in claimed(store, 1)]
    assert order == ["key_1", "key_2"] * 3
    assert {store.get(job_id).status for job_id in waiting} == {"running"}
    check_laws(redis, store)


def test_priority_is_before_turns_and_has_turns_of_its_own(store: JobStore) -> None:
    plain = submit(store, "key_1", 2)
    urgent = submit(store, "key_2", 2, priority=1)
    (other,) = submit(store, "key_2")
    assert claimed(store, 5) == [*urgent, plain[0], other, plain[1]]


def test_a_gpu_takes_turns_over_all_of_its_queues(store: JobStore) -> None:
    ids = [store.create(on_device(device, owner="key_1"))[0].id for device in ("auto", "cuda:0", "auto")]
    other = store.create(on_device("cuda:0", owner="key_2"))[0].id
    assert [store.queue_position(job_id) for job_id in (ids[1], other)] == [2, 1]
    assert claimed(store, 4, "cuda:0") == [ids[0], other, ids[1], ids[2]]


def test_jobs_that_were_queued_before_there_were_lines_are_claimed(store: JobStore, redis: Redis) -> None:
    ids = submit(store, "key_1", 3)
    redis.delete(keys.line(keys.QUEUE, "key_1"), keys.owners(keys.QUEUE), keys.turns(0))
    (new,) = submit(store, "key_2")
    assert sorted(claimed(store, 5)) == sorted([*ids, new])
    check_laws(redis, store)


def test_stray_entries_keep_nobody_out(store: JobStore, redis: Redis) -> None:
    gone, waiting = submit(store, "key_1", 2)
    score = redis.zscore(keys.QUEUE, gone)
    store.request(gone, "cancel")
    redis.zadd(keys.line(keys.QUEUE, "key_1"), {gone: score})
    redis.zadd(keys.owners(keys.QUEUE), {"key_1": -5e13, "nobody": -5e13})
    redis.hset(keys.turns(0), "nobody", -1e15)
    assert claimed(store, 2) == [waiting]
    check_laws(redis, store)
