"""Which queued jobs a worker takes into its stack, as a pure function: equal arguments, equal answer.

The rule: by the estimates, every job, in the stack or waiting, is done at latest `OVERTAKE_S` later than if this worker
ran the jobs one by one in claim order. More exactly:

1. Only jobs with the stack's own key come in, as many as have room in memory and among `most`, and none that has been
   in more or fewer crashes: whoever brings processes down takes others along once, then few, then nobody.
2. Of those, higher priority comes first. Among equals the places go round by share (a job's first tag), those of a
   share by age: a thousand jobs of one do not keep out five of another.
3. Nobody comes in who would make another later than that, be it one who is in the stack already or the best waiting job
   of another key (and with it all behind that one). A job of lower priority never overtakes it.

In a stack all models make their steps side by side; `lanes` of them are as quick as one alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from store.records import Companion

OVERTAKE_S: Final = 1.0
"""Seconds by which a job may be done later than one by one because others trained beside it or before it."""

PLACES_AFTER_CRASH: Final = (8, 1)
"""Most models of a stack whose jobs have been in one crash, and in more: three end a job."""

_PRIORITY: Final = 1e13
"""The queue's score is -priority times this, plus the sequence."""


@dataclass(frozen=True)
class Room:
    """What a stack may grow to on this device: models, bytes still free, models that do not slow each other down."""

    most: int
    bytes: float
    lanes: float


@dataclass(frozen=True)
class Seat:
    """A model of the stack: what is left of it with the device for itself, how late it is, whose place it takes."""

    left_s: float
    late_s: float
    share: str


@dataclass(frozen=True)
class Aboard:
    """The stack as it is: its models, the crashes that their jobs were in, by how much others were overtaken."""

    seats: tuple[Seat, ...]
    crashes: int = 0
    overtaken_s: float = 0.0


@dataclass(frozen=True)
class Plan:
    """Whom to claim, in this order; how late those aboard and then they are; by how much others are overtaken."""

    job_ids: tuple[str, ...]
    late_s: tuple[float, ...]
    overtaken_s: float


def share_of(tags: Sequence[str]) -> str:
    """Whose places a job takes: those of its first tag."""
    return tags[0] if tags else ""


def plan(
    aboard: Aboard, waiting: Sequence[Companion], head: float | None, room: Room, seconds: Callable[[Companion], float]
) -> Plan:
    """Whom to take in beside the models that are aboard.

    Args:
        aboard: the stack as it is, one model at least.
        waiting: queued jobs with its key, in claim order.
        head: the queue's score of the best job of another key that this worker could run; None: there is none.
        room: what the device has.
        seconds: of a whole run that has the device for itself.
    """
    lefts = [seat.left_s for seat in aboard.seats]
    ends = finished(lefts, room.lanes)
    one_by_one = [end - seat.late_s for end, seat in zip(ends, aboard.seats, strict=True)]
    all_in_turn = before_head = max(ends)
    overtaken = 0.0 if head is None else aboard.overtaken_s
    free, chosen, most = room.bytes, list[str](), _places(room, aboard.crashes)
    for one in _by_turns(waiting, Counter(seat.share for seat in aboard.seats)):
        if len(lefts) >= most or one.crashes != aboard.crashes or one.stack.bytes > free:
            continue
        ahead = head is None or score_of(one) < head
        if head is not None and one.priority < _priority(head):
            continue
        took = seconds(one)
        then, turns = finished([*lefts, took], room.lanes), [*one_by_one, all_in_turn + took]
        late = max(end - turn for end, turn in zip(then, turns, strict=True))
        until_head = before_head + (took if ahead else 0.0)
        passed = 0.0 if head is None else max(overtaken, aboard.overtaken_s + max(then) - until_head)
        if max(late, passed) > OVERTAKE_S:
            continue
        lefts, one_by_one, ends = [*lefts, took], turns, then
        all_in_turn, before_head, overtaken = all_in_turn + took, until_head, passed
        free -= one.stack.bytes
        chosen.append(one.id)
    late_s = tuple(max(0.0, end - turn) for end, turn in zip(ends, one_by_one, strict=True))
    return Plan(tuple(chosen), late_s, overtaken)


def finished(lefts: Sequence[float], lanes: float) -> list[float]:
    """When each model of a stack is done: all make steps side by side, slower by as many as there are above `lanes`."""
    ends, now, before = [0.0] * len(lefts), 0.0, 0.0
    order = sorted(range(len(lefts)), key=lambda place: lefts[place])
    for done, place in enumerate(order):
        now += (lefts[place] - before) * max(1.0, (len(lefts) - done) / lanes)
        ends[place], before = now, lefts[place]
    return ends


def _places(room: Room, crashes: int) -> int:
    after = (room.most, *PLACES_AFTER_CRASH)
    return min(room.most, after[min(crashes, len(after) - 1)])


def _by_turns(waiting: Sequence[Companion], taken: Counter[str]) -> list[Companion]:
    """By priority; among equals every share in turn, and the jobs of a share by age."""
    turns = {}
    for one in sorted(waiting, key=score_of):
        share = share_of(one.tags)
        turns[one.id] = taken[share]
        taken[share] += 1
    return sorted(waiting, key=lambda one: (-one.priority, turns[one.id], one.sequence))


def score_of(one: Companion) -> float:
    """The place in the queue of one that waits."""
    return -one.priority * _PRIORITY + one.sequence


def _priority(score: float) -> float:
    return -(score // _PRIORITY)
