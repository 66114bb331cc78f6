"""The workers' side: fences, leases, repeated calls, crashes, and the reaper with its grace."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest
from redis import Redis

from kernels.errors import Fenced, StoreUnavailable
from mlpq.embedded import EmbeddedServer
from store import keys, wakeups
from store.clocks import LEASE_S, REAP_PERIOD_S
from store.connection import connect
from store.jobs import JobStore
from store.reaper import Reaper
from store.records import Claim
from store.transitions import MAX_CRASHES, Directive, Status
from tests.store.store_parts import check_laws, new_job


@pytest.fixture
def store(redis: Redis) -> JobStore:
    return JobStore(redis)


def running(store: JobStore, lease_s: float = 8.0) -> Claim:
    store.create(new_job())
    claim = store.claim("w", lease_s)
    assert claim is not None
    return claim


def wait_for(condition: Callable[[], bool], timeout_s: float) -> float:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < timeout_s, f"did not happen within {timeout_s} s"
        time.sleep(0.02)
    return time.monotonic() - start


def test_a_write_appends_updates_and_renews_in_one_step(store: JobStore, redis: Redis) -> None:
    claim = running(store)
    redis.zadd(keys.LEASES, {claim.job_id: 1})
    events = [("metric", {"step": 5, "train_loss": 0.5}), ("log", {"message": "hi"})]
    environment = {"numpy": "2"}
    told = store.write(
        claim, events=events, progress={"step": 5}, device="cpu", backend="numpy", environment=environment
    )
    job = store.get(claim.job_id)
    assert told is Directive.CONTINUE
    assert (job.progress, job.device, job.backend, job.environment) == (
        {"step": 5},
        "cpu",
        "numpy",
        environment,
    )
    assert job.last_metric_step == 5
    written = store.events.read(job.id)[-2:]
    assert [(event.type, orjson.loads(event.data)) for event in written] == events
    assert redis.zscore(keys.LEASES, job.id) > 1
    check_laws(redis, store)


def test_a_batch_sent_twice_counts_once(store: JobStore) -> None:
    claim = running(store)
    for _ in range(2):
        store.write(claim, events=[("metric", {"step": 1})], token="batch-1")
    assert [event.type for event in store.events.read(claim.job_id)].count("metric") == 1
    store.write(claim, events=[("metric", {"step": 2})], token="batch-2")
    assert store.get(claim.job_id).last_metric_step == 2


def test_a_finish_sent_twice_counts_once(store: JobStore, redis: Redis) -> None:
    claim = running(store)
    first = store.finish(claim, Status.SUCCEEDED, result={"key": "a"}, token="last")
    assert store.finish(claim, Status.SUCCEEDED, result={"key": "a"}, token="last") == first
    with pytest.raises(Fenced):
        store.finish(claim, Status.SUCCEEDED, result={"key": "b"}, token="another")
    assert store.get(claim.job_id).result == {"key": "a"}
    check_laws(redis, store)


def test_a_claim_sent_twice_takes_one_job(store: JobStore, redis: Redis) -> None:
    store.create(new_job())
    store.create(new_job())
    first, again = (store._call("claim", "w", 8000, "token", "cpu") for _ in range(2))
    assert first == again
    assert redis.zcard(keys.LEASES) == 1


def test_a_create_sent_twice_makes_one_job(store: JobStore, redis: Redis) -> None:
    parts = ["name", "", "spec", "{}", "tags", "[]", "metadata", "{}", "priority", 0, "wanted", "auto"]
    arguments = ("", "", 1, 0, 0, 1, "job_x", "digits", len(parts), *parts, *wakeups.entry_fields(redis))
    assert store._call("create", *arguments) == store._call("create", *arguments)
    check_laws(redis, store)


def test_a_claim_that_is_asked_for_again_is_the_same_unless_it_was_taken_back(store: JobStore, redis: Redis) -> None:
    store.create_many([new_job(), new_job()])
    first = store.claim("w", token="t")
    assert first is not None
    assert store.claim("w", token="t") == first
    redis.zadd(keys.LEASES, {first.job_id: 1})
    store.reap(grace_s=0.0)
    other = store.claim("other")
    assert other is not None
    assert other.job_id == first.job_id
    assert store.claim("w", token="t") is None, "or two workers would hold one fence"


def test_the_rest_of_a_stack_is_claimed_by_name(store: JobStore, redis: Redis) -> None:
    ids = [store.create(new_job())[0].id for _ in range(5)]
    first = store.claim("w")
    assert first is not None
    store.request(ids[2], "cancel")
    taken = store.claim_also("w", [ids[3], ids[0], ids[2], ids[1]])
    assert [claim.job_id for claim in taken] == [ids[3], ids[1]]
    assert store.claim_also("w", []) == []
    assert {claim.job_id for claim in store.held_by("w")} == {ids[0], ids[1], ids[3]}
    assert store.held_by("other") == []
    check_laws(redis, store)


def test_workers_that_claim_at_once_never_share_a_job(store: JobStore, redis: Redis) -> None:
    ids = {store.create(new_job())[0].id for _ in range(60)}

    def work(worker: str) -> list[str]:
        taken = []
        while claim := store.claim(worker):
            taken.append(claim.job_id)
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [job_id for found in pool.map(work, "abcd") for job_id in found]
    assert len(taken) == len(ids)
    assert set(taken) == ids
    check_laws(redis, store)


def test_a_worker_whose_job_went_to_another_can_write_nothing(store: JobStore, redis: Redis) -> None:
    old = running(store)
    redis.zadd(keys.LEASES, {old.job_id: 1})
    assert store.reap(grace_s=0).moved == {old.job_id: Status.QUEUED}
    new = store.claim("w2")
    assert new is not None
    assert (new.job_id, new.fence > old.fence, new.job.attempt) == (old.job_id, True, 2)
    before = {key: redis.dump(key) for key in redis.keys("mlpq:*")}
    with pytest.raises(Fenced):
        store.write(old, events=[("metric", {"step": 9})], checkpoint={"key": "stale"})
    with pytest.raises(Fenced):
        store.finish(old, Status.SUCCEEDED, result={"key": "stale"})
    assert store.crashed(old.job_id, old.fence, "signal", "late") is None
    assert {key: redis.dump(key) for key in redis.keys("mlpq:*")} == before
    assert store.finish(new, Status.SUCCEEDED, result={"key": "good"}).result == {"key": "good"}


def test_requests_reach_the_worker_with_its_next_write(store: JobStore) -> None:
    claim = running(store)
    store.request(claim.job_id, "pause")
    assert store.write(claim) is Directive.PAUSE
    store.request(claim.job_id, "resume")
    assert store.write(claim) is Directive.CONTINUE
    store.request(claim.job_id, "cancel")
    assert store.write(claim) is Directive.CANCEL


def test_pause_resume_and_giving_back_count_no_attempt(store: JobStore) -> None:
    claim = running(store)
    for _ in range(2 * MAX_CRASHES):
        assert store.finish(claim, Status.QUEUED, "deploy").status is Status.QUEUED
        again = store.claim("w")
        assert again is not None
        store.request(again.job_id, "pause")
        assert store.finish(again, Status.PAUSED).status is Status.PAUSED
        store.request(again.job_id, "resume")
        resumed = store.claim("w")
        assert resumed is not None
        claim = resumed
    assert (claim.job.attempt, claim.job.crashes) == (1, 0)


def test_a_withdrawn_pause_and_a_deploy_while_pausing_do_what_the_user_wants(store: JobStore) -> None:
    claim = running(store)
    store.request(claim.job_id, "pause")
    store.request(claim.job_id, "resume")
    assert store.finish(claim, Status.PAUSED).status is Status.QUEUED
    again = store.claim("w")
    assert again is not None
    store.request(again.job_id, "pause")
    assert store.finish(again, Status.QUEUED).status is Status.PAUSED


def test_two_checkpoints_are_remembered_newest_first(store: JobStore) -> None:
    claim = running(store)
    for step in (1, 2, 3):
        store.write(claim, checkpoint={"step": step})
    assert [manifest["step"] for manifest in store.get(claim.job_id).checkpoints] == [3, 2]


def test_the_third_crash_ends_the_job(store: JobStore, redis: Redis) -> None:
    store.create(new_job())
    for crash in range(1, MAX_CRASHES + 1):
        claim = store.claim("w")
        assert claim is not None
        assert claim.job.attempt == crash
        job = store.crashed(claim.job_id, claim.fence, "signal", "killed by signal 9")
        assert job is not None
    assert job.status is Status.FAILED
    assert job.attempt == MAX_CRASHES
    assert job.error is not None
    assert job.error["code"] == "crashed"
    assert "killed by signal 9" in job.error["message"]
    assert orjson.loads(store.events.read(job.id)[-1].data)["error"] == job.error
    check_laws(redis, store)


@pytest.mark.parametrize(("action", "ends"), [("cancel", Status.CANCELLED), ("pause", Status.PAUSED)])
def test_a_crash_fulfils_what_the_user_asked_for(store: JobStore, action: str, ends: Status) -> None:
    claim = running(store)
    store.request(claim.job_id, action)
    job = store.crashed(claim.job_id, claim.fence, "signal", "killed")
    assert job is not None
    assert (job.status, job.error) == (ends, None)


def test_what_was_asked_is_in_the_error_of_a_failed_job(store: JobStore) -> None:
    claim = running(store)
    error = {"code": "diverged", "message": 'W1 "became" non-finite', "param": None}
    job = store.finish(claim, Status.FAILED, "diverged", error=error, result={"key": "last finite"})
    assert (job.error, job.status_reason, job.result) == (error, "diverged", {"key": "last finite"})


def test_stray_entries_block_neither_the_queue_nor_the_reaper_nor_a_listing(store: JobStore, redis: Redis) -> None:
    ended = running(store)
    store.finish(ended, Status.SUCCEEDED)
    lost = running(store)
    redis.zadd(keys.LEASES, {"job_gone": 1, ended.job_id: 1, lost.job_id: 2})
    assert store.reap(grace_s=0).moved == {lost.job_id: Status.QUEUED}
    redis.zadd(keys.index(None, "t"), {"job_gone": 1})
    assert store.page(tag="t").items == ()
    assert not redis.exists(keys.index(None, "t"))
    redis.zadd(keys.QUEUE, {"job_gone": -1e15, ended.job_id: -1e14})
    claim = store.claim("w")
    assert claim is not None
    assert claim.job_id == lost.job_id
    check_laws(redis, store)


@pytest.mark.parametrize("tags", ["[", '"a"', None], ids=["half", "text", "gone"])
def test_damaged_tags_stop_neither_the_reaper_nor_listings(
    store: JobStore, redis: Redis, tags: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    damaged, lost = running(store), running(store)
    redis.hdel(keys.job(damaged.job_id), "tags")
    if tags is not None:
        redis.hset(keys.job(damaged.job_id), "tags", tags)
    redis.zadd(keys.LEASES, {damaged.job_id: 1, lost.job_id: 2})
    assert store.reap(grace_s=0).moved == {damaged.job_id: Status.QUEUED, lost.job_id: Status.QUEUED}
    claim = store.claim("w")
    assert claim is not None
    assert (claim.job_id, claim.job.tags) == (damaged.job_id, ())
    assert f"the tags of {damaged.job_id} cannot be read" in caplog.text
    assert {job.id for job in store.page().items} == {damaged.job_id, lost.job_id}
    assert store.finish(claim, Status.QUEUED).queue_position == 0
    assert store.patch(damaged.job_id, name="still there").queue_position == 0
    assert store.patch(damaged.job_id, tags=["new"]).tags == ("new",)
    check_laws(redis, store)


def test_the_start_is_that_of_the_first_attempt(store: JobStore) -> None:
    claim = running(store)
    store.finish(claim, Status.QUEUED)
    time.sleep(0.01)
    again = store.claim("w")
    assert again is not None
    assert again.job.started_at_ms == claim.job.started_at_ms


@pytest.mark.parametrize("way", ["given back", "crashed", "resumed", "reaped"])
def test_a_job_that_is_queued_again_wakes_a_worker_at_once(store: JobStore, redis: Redis, way: str) -> None:
    claim = running(store)
    redis.delete(wakeups.LIST_KEY, *redis.keys("rq:job:*"))
    if way == "given back":
        store.finish(claim, Status.QUEUED)
    elif way == "crashed":
        store.crashed(claim.job_id, claim.fence, "signal", "killed")
    elif way == "resumed":
        store.request(claim.job_id, "pause")
        store.finish(claim, Status.PAUSED)
        store.request(claim.job_id, "resume")
    else:
        redis.zadd(keys.LEASES, {claim.job_id: 1})
        store.reap(grace_s=0)
    assert store.get(claim.job_id).status is Status.QUEUED
    assert redis.llen(wakeups.LIST_KEY) == 1
    check_laws(redis, store)


def test_repeated_reaps_push_no_more_wakeups_than_are_missing(store: JobStore, redis: Redis) -> None:
    for _ in range(5):
        store.create(new_job())
    redis.delete(wakeups.LIST_KEY, *redis.keys("rq:job:*"))
    assert [store.reap().wakeups for _ in range(4)] == [5, 0, 0, 0]
    redis.lpop(wakeups.LIST_KEY)
    assert [store.reap().wakeups for _ in range(4)] == [1, 0, 0, 0]


def test_cancelling_and_resubmitting_without_a_worker_piles_up_no_wakeups(store: JobStore, redis: Redis) -> None:
    for _ in range(20):
        job, _ = store.create(new_job())
        store.request(job.id, "pause")
        store.request(job.id, "resume")
        store.request(job.id, "cancel")
    assert redis.llen(wakeups.LIST_KEY) == 1
    assert len(redis.keys("rq:job:*")) == 1


def test_after_a_pause_of_all_reapers_nobody_loses_a_job_until_the_grace_is_over(store: JobStore) -> None:
    claim = running(store, lease_s=0.05)
    time.sleep(0.1)
    begun = time.monotonic()
    assert store.reap(grace_s=1.5, pause_s=2.0).in_grace
    wait_for(lambda: bool(store.reap(grace_s=1.5, pause_s=2.0).moved), 60.0)
    assert time.monotonic() - begun >= 1.4
    assert store.get(claim.job_id).status is Status.QUEUED


@pytest.mark.parametrize("way", ["stopped", "restarted"])
def test_an_outage_longer_than_the_lease_costs_no_attempt(tmp_path: Path, way: str) -> None:
    """The server is away for longer than the lease; both reaper and worker come back, the worker a little later."""
    server = EmbeddedServer(tmp_path / "valkey", fsync="always")
    server.start()
    try:
        store = JobStore(connect(server.url))
        claim = running(store, lease_s=2.5)
        reaper = Reaper(JobStore(connect(server.url)), period_s=0.1, grace_s=5.0, pause_s=1.0)
        reaper.start()
        for _ in range(10):
            store.write(claim)
            time.sleep(0.1)
        assert server.process is not None
        if way == "stopped":
            server.process.send_signal(19)
            time.sleep(3.0)
            server.process.send_signal(18)
        else:
            server.kill()
            time.sleep(3.0)
            server.start()
        time.sleep(0.3)
        store.write(claim, progress={"step": 1})
        assert store.get(claim.job_id).crashes == 0
        reaper.stop()
    finally:
        server.stop()


def test_a_silent_workers_job_is_found_in_time(store: JobStore, redis: Redis, valkey: EmbeddedServer) -> None:
    """The promise is 15 s: the lease and one period, and the rest is for a machine that is busy."""
    assert LEASE_S + REAP_PERIOD_S <= 11
    reaper = Reaper(JobStore(connect(valkey.url)), period_s=0.25, grace_s=1.0, pause_s=0.6)
    reaper.start()
    time.sleep(1.2)
    begun = time.monotonic()
    claim = running(store, lease_s=1.0)
    wait_for(lambda: store.get(claim.job_id).status is Status.QUEUED, 15.0)
    reaper.stop()
    assert time.monotonic() - begun >= 0.9, "not before the lease had expired"
    assert store.get(claim.job_id).attempt == 2


def test_the_reaper_survives_an_outage_and_stops_when_told(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "valkey", fsync="always")
    server.start()
    try:
        store = JobStore(connect(server.url))
        reaper = Reaper(JobStore(connect(server.url)), period_s=0.05)
        reaper.start()
        server.kill()
        time.sleep(0.2)
        with pytest.raises(StoreUnavailable):
            store.counts()
        server.start()
        store.create(new_job())
        store.redis.delete(wakeups.LIST_KEY)
        wait_for(lambda: store.redis.llen(wakeups.LIST_KEY) == 1, 30.0)
        reaper.stop()
        assert not reaper._thread.is_alive()
    finally:
        server.stop()
