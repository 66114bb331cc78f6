"""Jobs accepted together, sweeps, and trials that wait at their rungs, on a real server."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis

from kernels.errors import Conflict, InvalidInput, NotFound
from store import keys, wakeups
from store.jobs import JobStore
from store.records import Claim, Job
from store.sweeps import Halving, NewSweep, Sweep, SweepStore
from store.transitions import Status
from tests.store.store_parts import check_laws, new_job, on_device


@pytest.fixture
def store(redis: Redis) -> SweepStore:
    return SweepStore(redis)


def sweep_of(store: SweepStore, count: int = 4, **changes: Any) -> tuple[Sweep, list[str]]:
    jobs = [new_job(point={"training.seed": place}) for place in range(count)]
    told = {"plan": {"list": []}, "dataset": "digits", "base": {}, "objective": "val_loss", "direction": "minimize"}
    sweep, _ = store.create_sweep(NewSweep(**told | {"jobs": jobs} | changes))
    return sweep, [member.id for member in store.members(sweep.id)]


def halved(store: SweepStore, count: int = 4, reduction: int = 2) -> tuple[Sweep, list[str]]:
    return sweep_of(store, count, halving=Halving((1, 2), reduction, maximize=False))


def claim(store: JobStore, job_id: str) -> Claim:
    [taken] = store.claim_also("w", [job_id])
    return taken


def train(store: JobStore, taken: Claim, epoch: int, figure: float | None, **more: Any) -> None:
    store.write(taken, progress={"epoch": epoch}, metrics={"val_loss": figure}, **more)


def halt(store: JobStore, job_id: str, figure: float | None, epoch: int | None = None) -> Job:
    taken = claim(store, job_id)
    train(store, taken, epoch or taken.job.halt_epoch or 0, figure)
    store.finish(taken, Status.PAUSED, "rung")
    return store.get(job_id)


def statuses(store: JobStore, ids: list[str]) -> list[str]:
    return [store.get(job_id).status for job_id in ids]


def test_jobs_accepted_together_are_what_they_are_one_by_one(store: SweepStore, redis: Redis) -> None:
    news = [new_job(name=f"{number}", tags=("t",), priority=number) for number in range(5)]
    jobs, made = store.create_many([*news, on_device("cuda:0")])
    assert made
    assert [job.name for job in jobs] == ["0", "1", "2", "3", "4", ""]
    assert [job.queue_position for job in jobs[:5]] == [4, 3, 2, 1, 0]
    assert jobs == [store.get(job.id) for job in jobs]
    assert redis.llen(wakeups.LIST_KEY) == 5
    check_laws(redis, store)


def test_none_is_accepted_where_one_cannot_be(store: SweepStore, redis: Redis) -> None:
    with pytest.raises(NotFound, match="ds_gone"):
        store.create_many([new_job(), new_job(dataset="ds_gone"), new_job()], ("key", "sha"))
    assert redis.zcard(keys.JOBS) == 0
    assert store.create_many([new_job()], ("key", "sha"))[1]


def test_points_are_added_to_a_list_as_if_it_had_had_them(store: SweepStore, redis: Redis) -> None:
    sweep, ids = sweep_of(store, 2)
    for job_id in ids:
        store.request(job_id, "cancel")
    points = [{"net.hidden": []}, {"optimizer.learning_rate": 1.0}, {}]
    added = store.add_points(sweep.id, [new_job(point=one) for one in points], 5)
    assert [job.point for job in added] == points
    assert {job.sweep for job in added} == {sweep.id}
    assert [member.id for member in store.members(sweep.id)] == [*ids, *(job.id for job in added)]
    after = store.get_sweep(sweep.id)
    assert [member.point for member in store.members(sweep.id)[2:]] == points
    assert (after.counts[Status.QUEUED], after.counts[Status.CANCELLED]) == (3, 2)
    check_laws(redis, store)


def test_points_that_are_added_again_with_their_key_are_the_same(store: SweepStore) -> None:
    sweep, _ = sweep_of(store, 1)
    jobs = [new_job(point={}), new_job(point={})]
    first = store.add_points(sweep.id, jobs, 3, ("key", "sha"))
    assert store.add_points(sweep.id, jobs, 3, ("key", "sha")) == first
    assert len(store.members(sweep.id)) == 3


def test_a_sweep_that_takes_no_points_says_why_and_stays_as_it_is(store: SweepStore, redis: Redis) -> None:
    grid, _ = sweep_of(store, 2, plan={"grid": {"training.seed": [0, 1]}})
    full, _ = sweep_of(store, 2, plan={"list": []})
    cancelled, _ = sweep_of(store, 2, plan={"list": []})
    store.cancel_sweep(cancelled.id)
    before = [store.get_sweep(one.id) for one in (grid, full, cancelled)]
    for sweep_id, error, words in (
        (grid.id, Conflict, "only a list takes more"),
        (full.id, InvalidInput, "has 2 jobs, and at most 3"),
        (cancelled.id, Conflict, "is cancelled"),
        ("swp_none", NotFound, "swp_none"),
    ):
        with pytest.raises(error, match=words):
            store.add_points(sweep_id, [new_job(point={}), new_job(point={})], 3)
    with pytest.raises(NotFound, match="ds_gone"):
        store.add_points(full.id, [new_job(dataset="ds_gone")], 3)
    assert [store.get_sweep(one.id) for one in (grid, full, cancelled)] == before
    check_laws(redis, store)


def test_points_that_many_add_at_once_are_all_there(store: SweepStore) -> None:
    sweep, _ = sweep_of(store, 1)
    with ThreadPoolExecutor(8) as pool:
        tasks = [pool.submit(store.add_points, sweep.id, [new_job(point={"training.seed": n})], 50) for n in range(40)]
        ids = {job.id for task in tasks for job in task.result()}
    members = store.members(sweep.id)[1:]
    assert {member.id for member in members} == ids
    assert sorted(member.point["training.seed"] for member in members) == list(range(40))


def test_a_repeated_key_gives_the_jobs_that_are_left(store: SweepStore) -> None:
    first, _ = store.create_many([new_job(), new_job()], ("key", "sha"))
    assert store.create_many([new_job(), new_job()], ("key", "sha")) == (first, False)
    with pytest.raises(InvalidInput):
        store.create_many([new_job()], ("key", "other"))
    store.request(first[0].id, "cancel")
    store.delete(first[0].id)
    left, made = store.create_many([new_job(), new_job()], ("key", "sha"))
    assert ([job.id for job in left], made) == ([first[1].id], False)


def test_a_thousand_jobs_fit_into_one_call(store: SweepStore, redis: Redis) -> None:
    jobs, _ = store.create_many([new_job() for _ in range(1000)])
    assert redis.zcard(keys.QUEUE) == len({job.id for job in jobs}) == 1000


def test_a_sweep_knows_its_jobs_by_status(store: SweepStore, redis: Redis) -> None:
    sweep, ids = sweep_of(store)
    store.finish(claim(store, ids[1]), Status.SUCCEEDED)
    store.patch(ids[0], tags=["x"], priority=3)
    found = store.get_sweep(sweep.id)
    assert (found.counts[Status.QUEUED], found.counts[Status.SUCCEEDED]) == (3, 1)
    assert [member.point["training.seed"] for member in store.members(sweep.id)] == [0, 1, 2, 3]
    assert {job.id for job in store.page(sweep=sweep.id, status=Status.QUEUED).items} == {ids[0], ids[2], ids[3]}
    store.delete(ids[1])
    assert len(store.members(sweep.id)) == 3
    check_laws(redis, store)


def test_jobs_of_a_large_sweep_are_found_by_tag_in_time(store: SweepStore, redis: Redis) -> None:
    """At worst the tag is on a hundred thousand jobs, none of them of the sweep."""
    with redis.pipeline(transaction=False) as pipe:
        for place in range(0, 100_000, 1000):
            pipe.zadd(keys.index(None, "t"), {f"job_{place + n}": place + n for n in range(1000)})
        pipe.zadd(keys.swept("swp_x"), {f"job_x{n}": 200_000 + n for n in range(1000)})
        pipe.execute()
    taken = []
    for _ in range(20):
        start = time.perf_counter()
        assert store.page(tag="t", sweep="swp_x", limit=100).items == ()
        taken.append(time.perf_counter() - start)
    assert min(taken) < 0.01, taken


def test_trials_wait_go_on_and_end_as_decided(store: SweepStore, redis: Redis) -> None:
    _, ids = halved(store)
    assert [store.get(job_id).halt_epoch for job_id in ids] == [1] * 4
    first = halt(store, ids[0], 0.5)
    assert (first.status, first.status_reason, first.rung) == (Status.PAUSED, "rung", 0)
    second = halt(store, ids[1], 0.25)
    assert (second.status, second.status_reason, second.rung, second.halt_epoch) == (Status.QUEUED, "promoted", 1, 2)
    halt(store, ids[2], 0.75)
    assert store.get(ids[2]).status_reason == "not_promoted: 3 of 3 after 1 epochs"
    halt(store, ids[3], 1.0)
    assert statuses(store, ids) == ["queued", "queued", "cancelled", "cancelled"]
    halt(store, ids[1], 0.2)
    halt(store, ids[0], 0.1)
    assert (store.get(ids[0]).status, store.get(ids[0]).halt_epoch) == (Status.QUEUED, None)
    store.reap()
    assert statuses(store, ids) == ["queued", "cancelled", "cancelled", "cancelled"]
    store.finish(claim(store, ids[0]), Status.SUCCEEDED)
    store.reap()
    assert redis.smembers(keys.UNDECIDED) == set()
    check_laws(redis, store)


def test_the_reaper_decides_where_nobody_has(store: SweepStore, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep, ids = halved(store, 2)
    with monkeypatch.context() as patch:
        patch.setattr(SweepStore, "decide", lambda *_: None)  # the worker dies between its last word and the decision
        halt(store, ids[0], 0.5)
        halt(store, ids[1], 0.4)
    assert statuses(store, ids) == ["paused", "paused"]
    assert redis.smembers(keys.UNDECIDED) == {sweep.id.encode()}
    store.reap()
    assert statuses(store, ids) == ["cancelled", "queued"]


def test_who_waits_while_the_others_give_up_goes_on(store: SweepStore, redis: Redis) -> None:
    _, ids = halved(store, 3)
    halt(store, ids[0], 0.5)
    store.request(ids[1], "cancel")
    store.request(ids[2], "cancel")
    assert store.get(ids[0]).status_reason == "rung"
    store.reap()
    assert store.get(ids[0]).status_reason == "promoted"
    assert redis.smembers(keys.UNDECIDED) == set()


def test_a_decision_on_what_has_changed_is_not_carried_out(store: SweepStore, redis: Redis) -> None:
    sweep, ids = halved(store, 4)
    halt(store, ids[0], 0.5)
    version = redis.hget(keys.sweep(sweep.id), "version")
    halt(store, ids[1], 0.7)
    assert store._call("decide", sweep.id, version, 1, ids[1], 1, 2, 0) == b"changed"
    assert store.get(ids[1]).rung == 0


def test_everybody_may_decide_at_once(store: SweepStore, redis: Redis) -> None:
    sweep, ids = halved(store, 30, 3)

    def run(job_id: str) -> None:
        halt(store, job_id, float(ids.index(job_id)))
        store.decide(sweep.id)
        store.reap()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, ids))
    store.reap()
    assert set(ids[:10]) <= {member.id for member in store.members(sweep.id) if member.rung == 1}
    check_laws(redis, store)


def test_a_trial_that_its_user_paused_goes_on_when_its_user_says_so(store: SweepStore) -> None:
    _, ids = halved(store, 2)
    taken = claim(store, ids[0])
    train(store, taken, 1, 0.5)
    store.request(ids[0], "pause")
    assert store.finish(taken, Status.PAUSED, "rung").status_reason == "paused"
    halt(store, ids[1], 0.9)
    assert statuses(store, ids) == ["paused", "cancelled"]
    assert (store.get(ids[0]).rung, store.get(ids[0]).halt_epoch) == (1, 2)
    assert store.request(ids[0], "resume").status is Status.QUEUED


def test_a_trial_resumed_while_it_waits_arrives_once(store: SweepStore, redis: Redis) -> None:
    sweep, ids = halved(store, 4)
    halt(store, ids[0], 0.5)
    store.request(ids[0], "resume")
    again = halt(store, ids[0], 0.4)
    assert (again.status, again.rung) == (Status.PAUSED, 0)
    assert redis.hget(keys.trials(sweep.id), ids[0]) == b"waiting 0 0 0.5"


def test_a_worker_that_halts_where_the_trial_may_now_pass_gives_it_back(store: SweepStore, redis: Redis) -> None:
    sweep, ids = halved(store, 4)
    halt(store, ids[0], 0.5)
    store.request(ids[0], "resume")
    old = claim(store, ids[0])
    halt(store, ids[1], 0.9)
    assert store.get(ids[0]).halt_epoch == 2
    given_back = store.finish(old, Status.PAUSED, "rung")
    assert (given_back.status, given_back.rung) == (Status.QUEUED, 1)
    assert redis.hget(keys.trials(sweep.id), ids[0]) == b"training 0 1 0.5"


def stop(store: JobStore, job_id: str, figure: float | None) -> Job:
    taken = claim(store, job_id)
    return store.finish(taken, Status.SUCCEEDED, "early_stopped", result={"key": "k"}, metrics={"val_loss": figure})


def test_a_trial_that_stops_early_is_judged_by_its_result(store: SweepStore, redis: Redis) -> None:
    sweep, ids = halved(store, 4)
    assert stop(store, ids[0], 0.1).status is Status.SUCCEEDED
    assert redis.hget(keys.trials(sweep.id), ids[0]) == b"stopped 0 0 0.10000000000000001"
    halt(store, ids[1], 0.5)
    assert redis.hget(keys.trials(sweep.id), ids[0]).startswith(b"stopped 0 1 "), "the best of two goes on"
    halt(store, ids[2], 0.4)
    halt(store, ids[3], 0.6)
    assert statuses(store, ids) == ["succeeded", "cancelled", "queued", "cancelled"]
    halt(store, ids[2], 0.3)
    assert store.get(ids[2]).status_reason == "not_promoted: 2 of 2 after 2 epochs"
    assert redis.hget(keys.trials(sweep.id), ids[0]).split()[2] == b"2"
    assert redis.smembers(keys.UNDECIDED) == set()
    check_laws(redis, store)


def test_a_trial_that_stopped_and_was_deleted_keeps_its_place_alone(store: SweepStore, redis: Redis) -> None:
    sweep, ids = halved(store, 4)
    stop(store, ids[0], 0.1)
    store.delete(ids[0])
    halt(store, ids[1], 0.5)
    assert redis.hget(keys.trials(sweep.id), ids[0]).startswith(b"stopped 0 1 "), "the best of two goes on"
    with pytest.raises(NotFound):
        store.get(ids[0])
    assert not redis.exists(keys.job(ids[0]))
    check_laws(redis, store)


def test_one_that_stops_beyond_the_last_rung_has_just_ended(store: SweepStore, redis: Redis) -> None:
    sweep, ids = halved(store, 2)
    stop(store, ids[0], None)
    for figure in (0.5, 0.4):
        halt(store, ids[1], figure)
    assert store.get(ids[1]).halt_epoch is None
    stop(store, ids[1], 0.3)
    trials = redis.hgetall(keys.trials(sweep.id))
    assert trials[ids[0].encode()] == b"stopped 0 0 -"
    assert trials[ids[1].encode()].startswith(b"ended 1 2 ")
    store.reap()
    check_laws(redis, store)


@pytest.mark.parametrize("figure", [None, 0.1])
def test_a_cancel_wins_over_a_rung(store: SweepStore, redis: Redis, figure: float | None) -> None:
    sweep, ids = halved(store, 2)
    taken = claim(store, ids[0])
    train(store, taken, 1, figure)
    store.request(ids[0], "cancel")
    assert store.finish(taken, Status.PAUSED, "rung").status is Status.CANCELLED
    assert redis.hget(keys.trials(sweep.id), ids[0]) == b"ended 0 0"
    halt(store, ids[1], 0.4)
    assert store.get(ids[1]).status is Status.QUEUED
    check_laws(redis, store)


def test_a_sweep_that_is_cancelled_leaves_nobody_waiting(store: SweepStore, redis: Redis) -> None:
    sweep, ids = halved(store, 4)
    halt(store, ids[0], 0.5)
    taken = claim(store, ids[1])
    assert store.cancel_sweep(sweep.id).cancelled_at_ms is not None
    assert statuses(store, ids) == ["cancelled", "cancelling", "cancelled", "cancelled"]
    train(store, taken, 1, 0.1)
    assert store.finish(taken, Status.PAUSED, "rung").status is Status.CANCELLED
    store.reap()
    assert len(store.delete_sweep(sweep.id)) == 4
    assert redis.smembers(keys.UNDECIDED) == set()
    check_laws(redis, store)
    with pytest.raises(NotFound):
        store.get_sweep(sweep.id)
    with pytest.raises(NotFound):
        store.cancel_sweep(sweep.id)
