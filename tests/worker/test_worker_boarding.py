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
from store.transitions import Status
from tests.lossy import lossy_way
from tests.processes import wait_until
from tests.store.store_parts import new_job, stackable
from worker.boarding import Boarding, Gate, Overtaken
from worker.planner import OVERTAKE_S, Room
from worker.run import Run
from worker.settings import AHEAD_MOST


def gate_of(store: JobStore, taken: list[str], most: int = 16) -> Gate:
    """That of stack `s`, which notes whom it lets in."""

    def claimed(claims: Sequence[Claim]) -> list[Run]:
        taken.extend(claim.job_id for claim in claims)
        return [Run(claim) for claim in claims]

    return Gate(
        store, "w", "cpu", 8.0, "s", lambda _: Room(most, 1e9, 2.0), set(), claimed, lambda _: True, unheard, unheard
    )


def unheard(_runs: Sequence[Run]) -> None:
    """Nobody wants to know who waits and who begins."""


def test_one_that_fits_is_found_behind_many_that_do_not(redis: Redis) -> None:
    """Those before it were in a crash, which the stack was not: no look at a few of them would find it."""
    store, taken = JobStore(redis), list[str]()
    first, *crashed = store.create_many([new_job(stack=stackable()) for _ in range(201)])[0]
    for claim in store.claim_also("gone", [job.id for job in crashed]):
        store.crashed(claim.job_id, claim.fence, "crashed", "gone")
    last = store.create(new_job(stack=stackable()))[0]

    boarding = Boarding(
        gate_of(store, taken), [Run(store.claim_also("w", [first.id])[0])], [], Overtaken(), threading.Event(), 1000
    )
    wait_until(lambda: taken, 5.0, "it is found")
    boarding.close(further=False)
    assert taken == [last.id]


def test_those_whose_claim_was_not_answered_board_all_the_same(valkey: EmbeddedServer, redis: Redis) -> None:
    store, taken = JobStore(redis), list[str]()
    first, *others = store.create_many([new_job(stack=stackable()) for _ in range(5)])[0]
    run = Run(store.claim_also("w", [first.id])[0])
    claim = hashlib.sha1(scripts.source("claim").encode()).hexdigest().encode()
    with lossy_way(valkey.url, claim, losses=1) as way:
        boarding = Boarding(gate_of(JobStore(connect(way.url)), taken), [run], [], Overtaken(), threading.Event(), 1000)
        wait_until(lambda: taken, 8.0, "they are told of")
        boarding.close(further=False)
        assert way.left == 0
    assert taken == [job.id for job in others]
    assert {store.get(job.id).fence for job in others} == {1}


def looking(store: JobStore, taken: list[str], jobs: int, steps: int, most: int = 16) -> tuple[Run, Boarding]:
    """A stack of one model, of so many jobs that are alike, that looks for company."""
    first, *_ = store.create_many([new_job(stack=stackable(steps=steps)) for _ in range(jobs)])[0]
    run = Run(store.claim_also("w", [first.id])[0])
    return run, Boarding(gate_of(store, taken, most), [run], [], Overtaken(), threading.Event(), 1000)


def test_who_takes_a_seat_that_is_free_soon_is_claimed_before(redis: Redis) -> None:
    taken = list[str]()
    run, boarding = looking(JobStore(redis), taken, 40, steps=1)
    wait_until(lambda: len(taken) == 15 + AHEAD_MOST, 5.0, "those who find seats, and those who wait for one")
    assert boarding.ready(0) == []
    boarded = [*taken_in(boarding, 15), *taken_in(boarding, 1)]
    run.ended = True
    boarding.left()
    wait_until(lambda: len(taken) == 16 + AHEAD_MOST, 5.0, "somebody takes the waiting one's place")
    late = boarding.close(further=False)
    assert [one.id for one in [*boarded, *late]] == taken


def taken_in(boarding: Boarding, seats: int) -> list[Run]:
    """Who takes so many free seats."""
    found = list[Run]()
    wait_until(lambda: found.extend(boarding.ready(seats - len(found))) or len(found) == seats, 5.0, "they board")
    return found


def test_nobody_is_claimed_for_the_seat_of_one_who_needs_it_for_long(redis: Redis) -> None:
    taken = list[str]()
    _, boarding = looking(JobStore(redis), taken, 10, steps=60_000, most=2)
    wait_until(lambda: len(taken) == 1, 5.0, "there is a seat")
    boarding.left()
    boarding.close(further=True)
    assert len(taken) == 1


def test_the_places_of_those_who_are_not_wanted_any_more_while_they_wait_are_free(redis: Redis) -> None:
    taken = list[str]()
    _, boarding = looking(JobStore(redis), taken, 60, steps=1)
    wait_until(lambda: len(taken) == 15 + AHEAD_MOST, 5.0, "those who find seats, and those who wait for one")
    for place, run in enumerate(taken_in(boarding, 15 + AHEAD_MOST)[15:]):
        if place % 2:
            run.outbox.given_up = True
        else:
            run.outbox.abandon()
    boarding.left()
    wait_until(lambda: len(taken) == 15 + 2 * AHEAD_MOST, 5.0, "others wait in their place")
    boarding.close(further=False)


def test_those_who_waited_for_a_seat_of_the_stack_before_board_first(redis: Redis) -> None:
    store, taken = JobStore(redis), list[str]()
    found = store.create_many([new_job(stack=stackable()) for _ in range(9)])[0]
    first, *waiting = [Run(claim) for claim in store.claim_also("w", [job.id for job in found[:6]])]
    boarding = Boarding(gate_of(store, taken), [first], waiting, Overtaken(), threading.Event(), 1000)
    assert taken_in(boarding, 5) == waiting
    wait_until(lambda: len(taken) == 3, 5.0, "the others are taken in, too")
    assert [run.id for run in boarding.close(further=False)] == taken == [job.id for job in found[6:]]


def begun_again(store: JobStore, ended: Run, most: int = 1, overtaken: Overtaken | None = None) -> list[str]:
    """Whom a stack takes in whose only model has ended."""
    taken: list[str] = []
    stopping, so_far = threading.Event(), overtaken or Overtaken()
    Boarding(gate_of(store, taken, most), [ended], [], so_far, stopping, 1000).close(further=True)
    return taken


def interleaved(store: JobStore, jobs: int) -> tuple[Run, list[str]]:
    """A tiny job that was claimed in its turn and has ended, and those that fit it, each behind two that do not."""
    keys = ("s", "t", "u")
    found = store.create_many([new_job(stack=stackable(keys[n % 3])) for n in range(3 * jobs + 1)])[0]
    claim = store.claim("w")
    assert claim is not None
    ended = Run(claim)
    ended.ended = True
    return ended, [job.id for job in found[3::3]]


def test_a_tiny_job_that_ended_before_the_first_look_has_companions_all_the_same(redis: Redis) -> None:
    """Else it would be a matter of milliseconds whether tiny jobs of several shapes train in stacks or alone.

    The first look counts it among the 16; another before the end, for which there may be time, finds its seat free.
    """
    store = JobStore(redis)
    ended, fit = interleaved(store, 20)
    assert begun_again(store, ended, most=16) in (fit[:15], fit[:16])


def test_stacks_of_tiny_jobs_overtake_others_by_a_second_at_most_however_often_they_begin(redis: Redis) -> None:
    store, overtaken, trained = JobStore(redis), Overtaken(), 0
    ended, fit = interleaved(store, 300)
    while taken := begun_again(store, ended, most=16, overtaken=overtaken):
        trained += len(taken)
        for claim in store.held_by("w"):
            store.finish(claim, Status.SUCCEEDED)
    assert trained < len(fit), "those of other keys come next"
    assert 0.9 * OVERTAKE_S < overtaken.others_s <= OVERTAKE_S


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


def test_a_stack_that_begins_again_with_one_that_was_in_a_crash_takes_its_like_alone(redis: Redis) -> None:
    store, taken = JobStore(redis), list[str]()
    first, *others = store.create_many([new_job(stack=stackable(steps=10**6)) for _ in range(5)])[0]
    ended = Run(store.claim_also("w", [first.id])[0])
    ended.ended = True
    for claim in store.claim_also("gone", [job.id for job in others]):
        store.crashed(claim.job_id, claim.fence, "crashed", "gone")
    boarding = Boarding(gate_of(store, taken), [ended], [], Overtaken(), threading.Event(), 1000)
    wait_until(lambda: taken, 5.0, "it begins again")
    new = store.create(new_job(stack=stackable(steps=1)))[0]
    boarding.left()
    boarding.close(further=True)
    assert taken[0] == others[0].id
    assert new.id not in taken
