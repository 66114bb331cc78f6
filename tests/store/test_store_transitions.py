"""Every pair of statuses: the legal moves happen and leave all indexes right, the illegal ones change nothing."""

from __future__ import annotations

import itertools

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from kernels.errors import IllegalTransition
from store import keys, scripts
from store.claims import Claims
from store.jobs import JobStore
from store.records import Claim
from store.transitions import HELD, REQUESTS, TERMINAL, TRANSITIONS, YIELDS, Action, Status, allowed_actions
from tests.store.store_parts import bring_to, check_laws

PAIRS = list(itertools.product(Status, Status))
LEGAL = [(source, target) for source, target in PAIRS if target in TRANSITIONS[source]]
ILLEGAL = [pair for pair in PAIRS if pair not in LEGAL]
MOVE = "move(ARGV[1], ARGV[2], '', now_ms())"


def move(redis: Redis, job_id: str, to: Status) -> None:
    """The transition function alone, as every script calls it."""
    redis.register_script(scripts.complete(MOVE))(args=[job_id, to.value])


@pytest.mark.parametrize(("source", "target"), LEGAL)
def test_every_legal_move_keeps_all_laws(redis: Redis, source: Status, target: Status) -> None:
    store = JobStore(redis)
    job = bring_to(store, source)
    if target in HELD and source not in HELD:
        redis.hset(keys.job(job.id), "worker_id", "w")
        redis.zadd(keys.LEASES, {job.id: 1})
    move(redis, job.id, target)
    assert store.get(job.id).status is target
    check_laws(redis, store)


@pytest.mark.parametrize(("source", "target"), ILLEGAL)
def test_every_illegal_move_is_refused_and_changes_nothing(redis: Redis, source: Status, target: Status) -> None:
    store = JobStore(redis)
    job = bring_to(store, source)
    before = store.get(job.id), {key: redis.dump(key) for key in redis.keys("mlpq:*")}
    with pytest.raises(ResponseError, match="illegal transition"):
        move(redis, job.id, target)
    assert (store.get(job.id), {key: redis.dump(key) for key in redis.keys("mlpq:*")}) == before


@pytest.mark.parametrize(("status", "action"), list(itertools.product(Status, Action)))
def test_request_does_what_the_table_says_or_names_what_is_allowed(
    redis: Redis, status: Status, action: Action
) -> None:
    store = JobStore(redis)
    job = bring_to(store, status)
    expected = REQUESTS[action].get(status)
    if expected is None:
        with pytest.raises(IllegalTransition, match=f"is {status}; cannot {action}") as refused:
            store.request(job.id, action)
        assert refused.value.allowed == allowed_actions(status)
        assert store.get(job.id).status is status
    else:
        assert store.request(job.id, action).status is expected
    check_laws(redis, store)


@pytest.mark.parametrize(("status", "asked"), list(itertools.product(sorted(HELD), Status)))
def test_finish_is_bent_by_the_users_wish_and_otherwise_legal(redis: Redis, status: Status, asked: Status) -> None:
    store = JobStore(redis)
    job = bring_to(store, status)
    claim = Claim(job, job.fence, "walker", 8.0)
    expected = YIELDS[status].get(asked, asked)
    if expected in TRANSITIONS[status]:
        assert store.finish(claim, asked).status is expected
    else:
        with pytest.raises(IllegalTransition, match=f"is {status}; it cannot become {asked}"):
            store.finish(claim, asked)
        assert store.get(job.id).status is status
    check_laws(redis, store)


def test_the_tables_agree_with_each_other() -> None:
    for moves in REQUESTS.values():
        assert all(target == source or target in TRANSITIONS[source] for source, target in moves.items())
    for source, bent in YIELDS.items():
        assert set(bent.values()) <= TRANSITIONS[source]
    assert set(TRANSITIONS) == set(Status)
    assert {Status.SUCCEEDED, Status.FAILED, Status.CANCELLED} == TERMINAL
    assert not TERMINAL & HELD


def test_every_status_can_still_end(redis: Redis) -> None:
    reached = set(TERMINAL)
    while more := {source for source, targets in TRANSITIONS.items() if targets & reached} - reached:
        reached |= more
    assert reached == set(Status)


def test_scripts_are_loaded_again_after_the_server_forgot_them(redis: Redis) -> None:
    store = JobStore(redis)
    bring_to(store, Status.RUNNING)
    redis.script_flush()
    assert isinstance(store, Claims)
    assert bring_to(store, Status.SUCCEEDED).status is Status.SUCCEEDED
