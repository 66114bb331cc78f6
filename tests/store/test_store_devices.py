"""Jobs that name a GPU wait for its workers, in the order of the queue, and hold nobody else up."""

from __future__ import annotations

import pytest
from redis import Redis

from store import keys, wakeups
from store.jobs import JobStore
from store.records import Claim
from store.transitions import Status
from tests.store.store_parts import check_laws, new_job, on_device


@pytest.fixture
def store(redis: Redis) -> JobStore:
    return JobStore(redis)


def submit(store: JobStore, device: str, precision: str = "float32", **changes: int) -> str:
    return store.create(on_device(device, precision, **changes))[0].id


def taken(store: JobStore, device: str) -> list[str]:
    """What a worker on `device` takes until nothing is left for it."""
    ids = []
    while (claim := store.claim("w", device=device)) is not None:
        ids.append(claim.job_id)
    return ids


def test_a_job_that_names_a_gpu_is_left_to_the_workers_of_that_gpu(store: JobStore, redis: Redis) -> None:
    pinned, free, cpu = submit(store, "cuda:1"), store.create(new_job())[0].id, submit(store, "cpu")
    assert taken(store, "cuda:0") == [free, cpu]
    assert taken(store, "cpu") == []
    job = store.get(pinned)
    assert (job.status, job.attempt, job.fence) == (Status.QUEUED, 1, 0)
    check_laws(redis, store)
    assert taken(store, "cuda:1") == [pinned]
    check_laws(redis, store)


def test_priority_then_age_decide_among_both_queues_of_a_worker(store: JobStore) -> None:
    names = [("auto", 0), ("cuda:0", 0), ("auto", 5), ("cuda:0", 5), ("cuda:0", -5), ("auto", -5), ("cuda:1", 9)]
    ids = [submit(store, device, priority=priority) for device, priority in names]
    assert taken(store, "cuda:0") == [ids[index] for index in (2, 3, 0, 1, 4, 5)]


def test_the_position_counts_what_the_same_workers_take_before(store: JobStore) -> None:
    first, pinned, second, late = (submit(store, device) for device in ("auto", "cuda:0", "auto", "cuda:0"))
    positions = {job_id: store.queue_position(job_id) for job_id in (first, pinned, second, late)}
    assert positions == {first: 0, pinned: 1, second: 1, late: 3}


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_a_job_whose_precision_needs_a_gpu_is_left_to_the_workers_of_any(
    store: JobStore, redis: Redis, precision: str
) -> None:
    free, anywhere, pinned = submit(store, "auto"), submit(store, "auto", precision), submit(store, "cuda:1", precision)
    urgent = submit(store, "auto", precision, priority=3)
    assert [store.queue_position(job_id) for job_id in (free, anywhere, pinned, urgent)] == [0, 2, 3, 0]
    assert store.waits_for("cuda:7")
    assert taken(store, "cpu") == [free]
    check_laws(redis, store)
    assert taken(store, "cuda:0") == [urgent, anywhere]
    assert not store.waits_for("cuda:0")
    assert taken(store, "cuda:1") == [pinned]
    check_laws(redis, store)


@pytest.mark.parametrize("how", ["pause", "give back", "crash", "patch"])
def test_a_job_that_comes_back_waits_for_its_gpu_again(store: JobStore, redis: Redis, how: str) -> None:
    job_id = submit(store, "cuda:0")
    if how == "pause":
        store.request(job_id, "pause")
        store.request(job_id, "resume")
    elif how == "patch":
        store.patch(job_id, priority=7)
    else:
        claim = claimed(store)
        if how == "crash":
            store.crashed(job_id, claim.fence, "crashed", "gone")
        else:
            store.finish(claim, Status.QUEUED, "given_back")
    check_laws(redis, store)
    assert taken(store, "cpu") == []
    assert store.waits_for("cuda:0")
    assert taken(store, "cuda:0") == [job_id]
    assert not store.waits_for("cuda:0")


def claimed(store: JobStore) -> Claim:
    claim = store.claim("w", device="cuda:0")
    assert claim is not None
    return claim


def test_jobs_that_nobody_can_take_do_not_keep_the_reaper_pushing_wake_ups(store: JobStore, redis: Redis) -> None:
    for _ in range(3):
        submit(store, "cuda:0")
    assert redis.llen(wakeups.LIST_KEY) == 1
    for entry in redis.lrange(wakeups.LIST_KEY, 0, -1):
        redis.delete(f"rq:job:{entry.decode()}")
    redis.delete(wakeups.LIST_KEY)
    assert store.reap().wakeups == 0
    submit(store, "auto")
    assert redis.llen(wakeups.LIST_KEY) == 1


def test_a_record_from_before_there_were_device_queues_is_put_right_by_the_next_claim(
    store: JobStore, redis: Redis
) -> None:
    job_id = submit(store, "cuda:0")
    redis.hdel(keys.job(job_id), "wanted")
    redis.rename(keys.device_queue("cuda:0"), keys.QUEUE)
    later = submit(store, "auto")
    assert taken(store, "cpu") == [later]
    assert taken(store, "cuda:0") == [job_id]
