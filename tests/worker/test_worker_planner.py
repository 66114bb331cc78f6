"""The planner's laws, for random stacks and queues."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.records import Companion, Stackable
from worker.planner import OVERTAKE_S, Aboard, Plan, Room, Seat, by_turns, finished, plan, share_of

SECONDS = st.sampled_from([0.01, 0.05, 0.3, 1.0, 10.0, 600.0])
TAGS = st.sampled_from([(), ("a",), ("b", "a"), ("c",)])
OWNERS = st.sampled_from(["", "key_1", "key_2"])


def seconds(one: Companion) -> float:
    return one.stack.steps / 1000


@st.composite
def queues(draw: st.DrawFn) -> list[Companion]:
    """Up to 12 jobs, oldest first, whose owners take turns as they are drawn."""
    drawn = draw(
        st.lists(st.tuples(st.integers(-1, 1), TAGS, st.sampled_from([0, 0, 0, 1]), SECONDS, st.integers(1, 9), OWNERS))
    )[:12]
    circle, turns, jobs = draw(st.permutations(["", "key_1", "key_2"])), Counter[tuple[int, str]](), list[Companion]()
    for place, (priority, tags, crashes, took, size, own) in enumerate(drawn):
        stack = Stackable("k", size, round(1000 * took), 1)
        at = -priority * 1e13 + 10 * (3 * turns[priority, own] + circle.index(own)) + 5
        turns[priority, own] += 1
        jobs.append(Companion(f"j{place}", priority, 10 * place + 5, tags, crashes, stack, own, at))
    return jobs


shares = st.tuples(OWNERS, st.sampled_from(["", "a", "b"]))
seats = st.lists(st.builds(Seat, SECONDS, st.sampled_from([0.0, 0.4, 1.0]), shares), min_size=1)
stacks = st.builds(
    lambda seats, crashes, overtaken: Aboard(tuple(seats[:5]), crashes, overtaken),
    seats,
    st.sampled_from([0, 0, 0, 1, 2]),
    st.sampled_from([0.0, 0.9]),
)
heads = st.none() | st.builds(lambda priority, place: -priority * 1e13 + place, st.integers(-1, 1), st.integers(0, 120))
rooms = st.builds(Room, st.integers(1, 12), st.integers(0, 40), st.sampled_from([1.0, 1.7, 2.0, 8.0]))


def side_by_side(lefts: list[float], lanes: float) -> list[float]:
    """The same as `finished`, by going from one ending to the next."""
    rest, ends, now = dict(enumerate(lefts)), [0.0] * len(lefts), 0.0
    while rest:
        slower, least = max(1.0, len(rest) / lanes), min(rest.values())
        now += least * slower
        ends = [now if rest.get(place) == least else end for place, end in enumerate(ends)]
        rest = {place: left - least for place, left in rest.items() if left > least}
    return ends


@given(st.lists(SECONDS, min_size=1, max_size=8), st.sampled_from([1.0, 2.0, 8.0]))
def test_models_side_by_side_end_when_they_do(lefts: list[float], lanes: float) -> None:
    assert finished(lefts, lanes) == pytest.approx(side_by_side(lefts, lanes))


@given(stacks, queues(), heads, rooms)
def test_nobody_is_done_much_later_than_one_by_one(
    aboard: Aboard, queue: list[Companion], head: float | None, room: Room
) -> None:
    found = plan(aboard, queue, head, room, seconds)
    by_id = {one.id: one for one in queue}
    chosen = [by_id[job_id] for job_id in found.job_ids]
    lefts = [seat.left_s for seat in aboard.seats]
    before, ends = finished(lefts, room.lanes), finished([*lefts, *map(seconds, chosen)], room.lanes)
    if not chosen:
        return
    for seat, now, then in zip(aboard.seats, before, ends, strict=False):
        assert then - now <= OVERTAKE_S - seat.late_s + 1e-6
    turn = max(before)
    for one, end in zip(chosen, ends[len(lefts) :], strict=True):
        turn += seconds(one)
        assert end <= turn + OVERTAKE_S + 1e-6
    if head is not None:
        in_turn = sum(seconds(one) for one in chosen if one.place < head)
        assert max(ends) <= max(before) + in_turn + OVERTAKE_S - aboard.overtaken_s + 1e-6
        assert all(one.priority >= -(head // 1e13) for one in chosen), "priority is never turned round"


@given(stacks, queues(), heads, rooms)
def test_room_and_crashes_are_kept_to(aboard: Aboard, queue: list[Companion], head: float | None, room: Room) -> None:
    found = plan(aboard, queue, head, room, seconds)
    chosen = [one for one in queue if one.id in found.job_ids]
    assert len(chosen) == len(set(found.job_ids)) == len(found.job_ids)
    assert sum(one.stack.bytes for one in chosen) <= room.bytes
    assert not chosen or len(aboard.seats) + len(chosen) <= room.most
    assert {one.crashes for one in chosen} <= {aboard.crashes}
    if aboard.crashes:
        assert not chosen or len(aboard.seats) + len(chosen) <= (8 if aboard.crashes == 1 else 1)
    assert len(found.late_s) == len(aboard.seats) + len(chosen)


@given(stacks, queues(), heads, rooms)
def test_of_equal_jobs_the_older_comes_in_first(
    aboard: Aboard, queue: list[Companion], head: float | None, room: Room
) -> None:
    found = plan(aboard, queue, head, room, seconds)
    for older in queue:
        for younger in queue:
            alike = replace(older, id=younger.id, sequence=younger.sequence, place=younger.place) == younger
            if alike and older.sequence < younger.sequence and younger.id in found.job_ids:
                assert older.id in found.job_ids


@given(stacks, queues(), heads, rooms, st.randoms())
def test_the_answer_is_a_function_of_the_jobs_alone(
    aboard: Aboard, queue: list[Companion], head: float | None, room: Room, chance: object
) -> None:
    shuffled = list(queue)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert plan(aboard, queue, head, room, seconds) == plan(aboard, shuffled, head, room, seconds)


@given(stacks, queues(), heads, rooms)
def test_whoever_is_left_with_places_free_is_hardly_overtaken(
    aboard: Aboard, queue: list[Companion], head: float | None, room: Room
) -> None:
    """A job of the same key that does not fit is served no worse than one of another key."""
    found = plan(aboard, queue, head, room, seconds)
    most = min(room.most, {0: room.most, 1: 8}.get(aboard.crashes, 1))
    if len(aboard.seats) + len(found.job_ids) >= most:
        return  # who is left then is left by the places, which go round
    lefts, turns = [seat.left_s for seat in aboard.seats], by_turns(queue, Counter(seat.share for seat in aboard.seats))
    for place, left in enumerate(turns):
        if left.id in found.job_ids:
            lefts.append(seconds(left))
            continue
        later = [one for one in turns[place:] if one.id in found.job_ids]
        in_turn = sum(seconds(one) for one in later if one.place < left.place)
        then = max(finished([*lefts, *map(seconds, later)], room.lanes))
        assert then <= max(finished(lefts, room.lanes)) + in_turn + OVERTAKE_S + 1e-6
        assert all(one.priority >= left.priority for one in later), "priority is never turned round"


def test_a_job_for_which_there_is_no_room_is_not_overtaken_for_ever() -> None:
    """Others board beside a long one, whatever fits; the large one is next when that ends, not when all of them do."""
    large = Companion("large", 0, 1, (), 0, Stackable("k", 90, 1000, 1), "", 1)
    small = [Companion(f"s{n}", 0, 10 + n, (), 0, Stackable("k", 10, 4000, 1), "", 10 + n) for n in range(50)]
    room, seat = Room(16, 80, 2.0), Seat(10.0, 0.0, ("", ""))
    first = plan(Aboard((seat,)), [large, *small], None, room, seconds)
    assert (first.job_ids, first.unfit) == (("s0",), 1), "there is a lane for one of them"
    late = Aboard((Seat(0.5, 0.0, ("", "")), Seat(2.0, 0.0, ("", ""))), 0, 0.0, {"large": 0.9})
    assert plan(late, [large, *small], None, room, seconds).job_ids == ()


@st.composite
def takers(draw: st.DrawFn) -> list[tuple[str, str]]:
    return draw(st.lists(shares, max_size=30))


@given(takers(), st.integers(1, 12))
def test_places_go_round_by_owner_and_then_by_tag(takers: list[tuple[str, str]], most: int) -> None:
    queue = [
        Companion(f"j{place}", 0, place, (tag,) if tag else (), 0, Stackable("k", 1, 10, 1), owner, place)
        for place, (owner, tag) in enumerate(takers)
    ]
    aboard = Aboard((Seat(0.01, 0.0, ("key_1", "a")),))
    found = plan(aboard, queue, None, Room(most, 1e9, 2.0), seconds)
    chosen = [share_of(one.owner, one.tags) for one in queue if one.id in found.job_ids]
    left = {share_of(one.owner, one.tags) for one in queue if one.id not in found.job_ids}
    tags = Counter([("key_1", "a"), *chosen])
    owners = Counter(owner for owner, _ in tags.elements())
    for owner, tag in left:
        assert all(owners[owner] >= owners[other] - 1 for other in owners), (owners, left)
        assert all(tags[owner, tag] >= count - 1 for (other, _), count in tags.items() if other == owner), (tags, left)
    assert sum(owners.values()) == min(most, 1 + len(queue))


def test_long_jobs_train_on_as_many_lanes_as_there_are_and_tiny_ones_fill_the_stack() -> None:
    def queue(took: float) -> list[Companion]:
        return [Companion(f"j{n}", 0, n, (), 0, Stackable("k", 1, round(1000 * took), 1), "", n) for n in range(40)]

    room = Room(16, 1e9, 2.0)
    assert plan(Aboard((Seat(60.0, 0.0, ("", "")),)), queue(60.0), None, room, seconds).job_ids == ("j0",)
    assert len(plan(Aboard((Seat(0.02, 0.0, ("", "")),)), queue(0.02), None, room, seconds).job_ids) == 15
    assert (
        plan(Aboard((Seat(60.0, 0.0, ("", "")),)), queue(60.0), None, replace(room, lanes=1.0), seconds).job_ids == ()
    )


def test_a_job_behind_another_key_waits_for_it_unless_little_is_overtaken() -> None:
    def queue(took: float) -> list[Companion]:
        return [Companion("late", 0, 20, (), 0, Stackable("k", 1, round(1000 * took), 1), "", 20)]

    stack, room = Aboard((Seat(5.0, 0.0, ("", "")),)), Room(16, 1e9, 2.0)
    assert plan(stack, queue(5.0), 10.0, room, seconds).job_ids == ("late",), "there is a lane for it"
    assert plan(stack, queue(7.0), 10.0, room, seconds).job_ids == (), "the one before it would wait two seconds more"
    assert plan(stack, queue(5.9), 10.0, room, seconds) == Plan(("late",), (0.0, 0.0), pytest.approx(0.9))
    assert plan(stack, queue(5.0), -1e13, room, seconds).job_ids == (), "that one is more urgent"
