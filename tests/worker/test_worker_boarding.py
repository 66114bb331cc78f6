"""Who looks for company finds whoever fits, at any place of the queue."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence

from redis import Redis

from mlpq.embedded import EmbeddedServer
from store import scripts
from store.connection import connect
from store.jobs import JobStore
from store.records import Claim
from tests.lossy import lossy_way
from tests.processes import wait_until
from tests.store.store_parts import new_job, stackable
from worker.boarding import Boarding, Gate
from worker.planner import Room
from worker.run import Run


def gate_of(store: JobStore, taken: list[str], most: int = 16) -> Gate:
    """That of stack `s`, which notes whom it lets in."""

    def claimed(claims: Sequence[Claim]) -> list[Run]:
        taken.extend(claim.job_id for claim in claims)
        return [Run(claim) for claim in claims]

    return Gate(store, "w", "cpu", 8.0, "s", lambda _: Room(most, 1e9, 2.0), set(), claimed, lambda _: True)


def test_one_that_fits_is_found_behind_many_that_do_not(redis: Redis) -> None:
    """Those before it were in a crash, which the stack was not: no look at a few of them would find it."""
    store, taken = JobStore(redis), list[str]()
    first, *crashed = store.create_many([new_job(stack=stackable()) for _ in range(201)])[0]
    for claim in store.claim_also("gone", [job.id for job in crashed]):
        store.crashed(claim.job_id, claim.fence, "crashed", "gone")
    last = store.create(new_job(stack=stackable()))[0]

    boarding = Boarding(gate_of(store, taken), [Run(store.claim_also("w", [first.id])[0])], threading.Event(), 1000)
    wait_until(lambda: taken, 5.0, "it is found")
    boarding.close(further=False)
    assert taken == [last.id]


def test_those_whose_claim_was_not_answered_board_all_the_same(valkey: EmbeddedServer, redis: Redis) -> None:
    store, taken = JobStore(redis), list[str]()
    first, *others = store.create_many([new_job(stack=stackable()) for _ in range(5)])[0]
    run = Run(store.claim_also("w", [first.id])[0])
    claim = hashlib.sha1(scripts.source("claim").encode()).hexdigest().encode()
    with lossy_way(valkey.url, claim, losses=1) as way:
        boarding = Boarding(gate_of(JobStore(connect(way.url)), taken), [run], threading.Event(), 1000)
        wait_until(lambda: taken, 8.0, "they are told of")
        boarding.close(further=False)
        assert way.left == 0
    assert taken == [job.id for job in others]
    assert {store.get(job.id).fence for job in others} == {1}


def begun_again(store: JobStore, ended: Run) -> list[str]:
    """Whom a stack takes in whose only model has ended."""
    taken: list[str] = []
    Boarding(gate_of(store, taken, most=1), [ended], threading.Event(), 1000).close(further=True)
    return taken


def test_a_stack_begins_again_when_it_is_its_owners_turn_and_that_counts(redis: Redis) -> None:
    store = JobStore(redis)
    theirs = store.create_many([new_job(stack=stackable("t"), owner="key_2") for _ in range(3)])[0]
    ours = store.create_many([new_job(stack=stackable(), owner="key_1") for _ in range(100)])[0]
    claims = [store.claim("w") for _ in range(2)]
    assert [claim.job_id for claim in claims if claim] == [theirs[0].id, ours[0].id]
    assert claims[1] is not None
    ended = Run(claims[1])
    ended.ended = True
    assert begun_again(store, ended) == [], "it is the other's turn, however long ours have waited"
    claim = store.claim("w")
    assert claim is not None
    assert claim.job_id == theirs[1].id
    assert begun_again(store, ended) == [ours[1].id]
    claim = store.claim("w")
    assert claim is not None
    assert claim.job_id == theirs[2].id
