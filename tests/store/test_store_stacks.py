"""Queued jobs that may train together: found at once, taken together, told about together, each for itself."""

from __future__ import annotations

import time

import pytest
from redis import Redis

from kernels.errors import Fenced, IllegalTransition
from store import keys, wakeups
from store.claims import Farewell, Report
from store.jobs import JobStore
from store.transitions import Directive, Status
from tests.store.store_parts import check_laws, new_job, on_device, stackable


@pytest.fixture
def store(redis: Redis) -> JobStore:
    return JobStore(redis)


def submit(store: JobStore, key: str | None = "s", **changes: object) -> str:
    return store.create(new_job(stack=None if key is None else stackable(key), **changes))[0].id


def test_companions_come_with_what_a_planner_needs(store: JobStore) -> None:
    late, other, urgent = submit(store), submit(store, "t"), submit(store, priority=3, tags=("a", "b"), owner="key_1")
    found = store.companions("s", "cpu", 10)
    assert [one.id for one in found.waiting] == [urgent, late]
    first = found.waiting[0]
    assert (first.tags, first.priority, first.stack, first.owner) == (("a", "b"), 3, stackable(), "key_1")
    assert [one.place for one in found.waiting] == [-3e13, 0]
    assert found.head == 1
    assert store.get(other).queue_position == 2
    assert store.companions("nothing", "cpu", 10).waiting == ()


def test_few_jobs_behind_a_thousand_of_another_key_are_found(store: JobStore, redis: Redis) -> None:
    many = store.create_many([new_job(stack=stackable(), owner="key_1") for _ in range(1000)])[0]
    few = store.create_many([new_job(stack=stackable(), owner="key_2") for _ in range(3)])[0]
    tagged = submit(store, owner="key_1", tags=("mine",))
    stranger = submit(store, "t", owner="key_3")
    found = store.companions("s", "cpu", 8)
    expected = [many[0], few[0], few[1], store.get(tagged), many[1], few[2], many[2], many[3]]
    assert [one.id for one in found.waiting] == [job.id for job in expected]
    assert found.head == 2, "however many of the same key are before it: it is a third owner's first"
    assert store.get(stranger).queue_position == 2
    aboard = [("key_2", "")] * 2 + [("key_1", "")] * 3
    assert [one.id for one in store.companions("s", "cpu", 3, aboard).waiting] == [few[0].id, few[1].id, tagged]
    check_laws(redis, store)


def test_the_head_is_whom_this_device_may_take(store: JobStore) -> None:
    submit(store)
    assert store.companions("s", "cpu", 10).head is None
    pinned = store.create(on_device("cuda:0", priority=2))[0]
    assert store.companions("s", "cpu", 10).head is None
    assert store.companions("s", "cuda:0", 10).head == -2e13
    assert store.get(pinned.id).queue_position == 0
    store.create(new_job(priority=5))
    assert store.companions("s", "cuda:0", 10).head == -5e13


def test_a_job_whose_tags_were_damaged_leaves_its_former_share(store: JobStore, redis: Redis) -> None:
    waiting, moved, patched, ended, gone, sound = (submit(store, tags=("a",)) for _ in range(6))
    for one in (waiting, moved, patched, ended, gone):
        redis.hset(keys.job(one), "tags", "[")
    store.claim_also("w", [moved])
    store.patch(patched, tags=["b"])
    for one in (ended, gone):
        store.request(one, "cancel")
    store.delete(gone)
    assert [one.id for one in store.companions("s", "cpu", 10).waiting] == [patched, sound]
    assert [one.id for one in store.companions("s", "cpu", 10).waiting] == [waiting, patched, sound]
    shares = {name: redis.zrange(keys.stack_share("s", "", name), 0, -1) for name in ("a", "b", "")}
    assert shares == {"a": [sound.encode()], "b": [patched.encode()], "": [waiting.encode()]}
    store.patch(waiting, tags=["c"])
    assert [one.id for one in store.companions("s", "cpu", 10).waiting] == [waiting, patched, sound]


def test_a_stray_entry_keeps_nobody_out(store: JobStore, redis: Redis) -> None:
    stray, waiting = submit(store), submit(store)
    entry = {stray: redis.zscore(keys.stack("s", ""), stray)}
    store.claim_also("w", [stray])
    redis.zadd(keys.stack("s", ""), entry)
    redis.zadd(keys.stack_share("s", "", ""), entry)
    assert store.companions("s", "cpu", 1).waiting == ()
    assert [one.id for one in store.companions("s", "cpu", 1).waiting] == [waiting]
    check_laws(redis, store)


@pytest.mark.parametrize("how", ["pause", "cancel", "crash", "give back", "patch"])
def test_a_job_that_leaves_or_returns_to_the_queue_does_so_in_its_stack(
    store: JobStore, redis: Redis, how: str
) -> None:
    job_id = submit(store)
    if how in {"pause", "cancel"}:
        store.request(job_id, how)
    elif how == "patch":
        store.patch(job_id, priority=7)
    else:
        [claim] = store.claim_also("w", [job_id])
        assert store.companions("s", "cpu", 5).waiting == ()
        if how == "crash":
            store.crashed(job_id, claim.fence, "crashed", "gone")
        else:
            store.finish(claim, Status.QUEUED, "given_back")
    check_laws(redis, store)
    waiting = store.companions("s", "cpu", 5).waiting
    assert [one.id for one in waiting] == ([] if how in {"pause", "cancel"} else [job_id])
    if how == "crash":
        assert waiting[0].crashes == 1


def test_a_stack_uses_up_the_wake_ups_of_its_jobs_and_no_more(store: JobStore, redis: Redis) -> None:
    ids = [submit(store) for _ in range(5)] + [submit(store, None)]
    redis.delete(wakeups.ENTRY_TEMPLATE % redis.lpop(wakeups.LIST_KEY).decode())
    assert store.claim("w") is not None
    assert len(store.claim_also("w", ids[1:4])) == 3
    assert redis.llen(wakeups.LIST_KEY) == 2 == redis.zcard(keys.QUEUE)
    check_laws(redis, store)
    assert store.claim_also("w", ids[1:4]) == []
    assert redis.llen(wakeups.LIST_KEY) == 2


def test_many_reports_are_told_and_refused_one_by_one(store: JobStore, redis: Redis) -> None:
    claims = [store.claim_also("w", [submit(store)])[0] for _ in range(4)]
    store.request(claims[1].job_id, "pause")
    store.crashed(claims[2].job_id, claims[2].fence, "crashed", "gone")
    point = [("metric", {"step": 3})]
    answers = store.write_many([Report(claim, point, {"progress": {"step": 3}}, "t") for claim in claims])
    assert answers[:2] == [Directive.CONTINUE, Directive.PAUSE]
    assert isinstance(answers[2], Fenced)
    assert answers[3] is Directive.CONTINUE
    before = [store.get(claim.job_id) for claim in claims]
    assert [job.last_metric_step for job in before] == [3, 3, -1, 3]
    redis.script_flush()  # as a server that was started anew
    again = store.write_many([Report(claim, point, {"progress": {"step": 3}}, "t") for claim in claims])
    assert again[0] is Directive.CONTINUE
    assert [store.get(claim.job_id).last_event for claim in claims] == [job.last_event for job in before]
    ended = store.finish_many(
        [
            Farewell(claims[0], (), {}, None, Status.SUCCEEDED, "completed", {"key": "k"}),
            Farewell(claims[1], (), {}, None, Status.CANCELLED),
            Farewell(claims[2], (), {}, None, Status.SUCCEEDED),
            Farewell(claims[3], (), {}, None, Status.FAILED, "crashed", None, {"code": "c", "message": "m"}),
        ]
    )
    assert isinstance(ended[1], IllegalTransition)
    assert isinstance(ended[2], Fenced)
    statuses = [store.get(claim.job_id).status for claim in claims]
    assert statuses == [Status.SUCCEEDED, Status.PAUSING, Status.QUEUED, Status.FAILED]
    check_laws(redis, store)


def test_companions_are_found_as_quickly_among_many(store: JobStore, redis: Redis) -> None:
    with redis.pipeline(transaction=False) as pipe:
        for place in range(100_000):
            name = f"job_{place:06}"
            pipe.zadd(keys.QUEUE, {name: place + 10})
            pipe.zadd(keys.line(keys.QUEUE, ""), {name: place + 10})
            if place % 2:
                pipe.zadd(keys.stack("s", ""), {name: place + 10})
            if place % 10_000 == 9_999:
                pipe.execute()
    submit(store, priority=1)
    taken = []
    for _ in range(20):
        start = time.perf_counter()
        found = store.companions("s", "cpu", 64)
        taken.append(time.perf_counter() - start)
    assert len(found.waiting) == 1  # the others have no records
    assert found.head == 0
    assert min(taken) < 0.01, taken


def test_companions_are_found_as_quickly_where_each_has_a_tag_of_its_own(store: JobStore) -> None:
    def quickest(key: str) -> float:
        taken = []
        for _ in range(3):
            start = time.perf_counter()
            assert len(store.companions(key, "cpu", 1500).waiting) == 1500
            taken.append(time.perf_counter() - start)
        return min(taken)

    for half in (range(1000), range(1000, 1500)):
        store.create_many([new_job(tags=(f"run {n}",), stack=stackable("own")) for n in half])
        store.create_many([new_job(tags=("run",), stack=stackable("same")) for _ in half])
    assert quickest("own") < 6 * quickest("same")
