"""The planner's laws, for random stacks and queues."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.records import Companion, Stackable
from worker.planner import OVERTAKE_S, Aboard, Plan, Room, Seat, finished, plan, share_of

SECONDS = st.sampled_from([0.01, 0.05, 0.3, 1.0, 10.0, 600.0])
TAGS = st.sampled_from([(), ("a",), ("b", "a"), ("c",)])


def seconds(one: Companion) -> float:
    return one.stack.steps / 1000


@st.composite
def queues(draw: st.DrawFn) -> list[Companion]:
    """Up to 12 jobs in claim order."""
    drawn = draw(
        st.lists(st.tuples(st.integers(-1, 1), TAGS, st.sampled_from([0, 0, 0, 1]), SECONDS, st.integers(1, 9)))
    )[:12]
    jobs = [
        Companion(f"j{place}", priority, 10 * place + 5, tags, crashes, Stackable("k", size, round(1000 * took), 1))
        for place, (priority, tags, crashes, took, size) in enumerate(drawn)
    ]
    return sorted(jobs, key=score)


def score(one: Companion) -> float:
    return -one.priority * 1e13 + one.sequence


seats = st.lists(st.builds(Seat, SECONDS, st.sampled_from([0.0, 0.4, 1.0]), st.sampled_from("ab")), min_size=1)
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
        in_turn = sum(seconds(one) for one in chosen if score(one) < head)
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
            alike = replace(older, id=younger.id, sequence=younger.sequence) == younger
            if alike and older.sequence < younger.sequence and younger.id in found.job_ids:
                assert older.id in found.job_ids


@given(stacks, queues(), heads, rooms, st.randoms())
def test_the_answer_is_a_function_of_the_jobs_alone(
    aboard: Aboard, queue: list[Companion], head: float | None, room: Room, chance: object
) -> None:
    shuffled = list(queue)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert plan(aboard, queue, head, room, seconds) == plan(aboard, shuffled, head, room, seconds)


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 12))
def test_places_go_round_by_share(shares: list[str], most: int) -> None:
    queue = [
        Companion(f"j{place}", 0, place, (share,), 0, Stackable("k", 1, 10, 1)) for place, share in enumerate(shares)
    ]
    aboard = Aboard((Seat(0.01, 0.0, "a"),))
    found = plan(aboard, queue, None, Room(most, 1e9, 2.0), seconds)
    counts = Counter({"a": 1})
    counts.update(share_of(one.tags) for one in queue if one.id in found.job_ids)
    waiting = Counter(share_of(one.tags) for one in queue if one.id not in found.job_ids)
    for share in waiting:
        assert all(counts[share] >= counts[other] - 1 for other in counts), (counts, waiting)
    assert sum(counts.values()) == min(most, 1 + len(queue))


def test_long_jobs_train_on_as_many_lanes_as_there_are_and_tiny_ones_fill_the_stack() -> None:
    def queue(took: float) -> list[Companion]:
        return [Companion(f"j{n}", 0, n, (), 0, Stackable("k", 1, round(1000 * took), 1)) for n in range(40)]

    room = Room(16, 1e9, 2.0)
    assert plan(Aboard((Seat(60.0, 0.0, ""),)), queue(60.0), None, room, seconds).job_ids == ("j0",)
    assert len(plan(Aboard((Seat(0.02, 0.0, ""),)), queue(0.02), None, room, seconds).job_ids) == 15
    assert plan(Aboard((Seat(60.0, 0.0, ""),)), queue(60.0), None, replace(room, lanes=1.0), seconds).job_ids == ()


def test_a_job_behind_another_key_waits_for_it_unless_little_is_overtaken() -> None:
    def queue(took: float) -> list[Companion]:
        return [Companion("late", 0, 20, (), 0, Stackable("k", 1, round(1000 * took), 1))]

    stack, room = Aboard((Seat(5.0, 0.0, ""),)), Room(16, 1e9, 2.0)
    assert plan(stack, queue(5.0), 10.0, room, seconds).job_ids == ("late",), "there is a lane for it"
    assert plan(stack, queue(7.0), 10.0, room, seconds).job_ids == (), "the one before it would wait two seconds more"
    assert plan(stack, queue(5.9), 10.0, room, seconds) == Plan(("late",), (0.0, 0.0), pytest.approx(0.9))
    assert plan(stack, queue(5.0), -1e13, room, seconds).job_ids == (), "that one is more urgent"
