"""Which queued jobs a worker takes into its stack, as a pure function: equal arguments, equal answer.

The rule: by the estimates, every job, in the stack or waiting, is done at latest `OVERTAKE_S` later than if this worker
ran the jobs one by one in claim order. More exactly:

1. Only jobs with the stack's own key come in, as many as have room in memory and among `most`, and none that has been
   in more or fewer crashes: whoever brings processes down takes others along once, then few, then nobody.
2. Of those, higher priority comes first. Among equals the places go round by owner (the API key that a job came with),
   those of an owner by first tag, those of a tag by age: a thousand jobs of one do not keep out five of another. In
   claim order, too, owners take turns (see `store/lua/claim.lua`).
3. Nobody comes in who would make another later than that, be it one who is in the stack already, the next waiting job
   of another key (and with it all behind that one), or a job of this key that has no room, was in other crashes or
   would itself make others late. A job of lower priority never overtakes one of these.

In a stack all models make their steps side by side; `lanes` of them are as quick as one alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from operator import itemgetter
from typing import Final

from store.records import Companion

OVERTAKE_S: Final = 1.0
"""Seconds by which a job may be done later than one by one because others trained beside it or before it."""

PLACES_AFTER_CRASH: Final = (8, 1)
"""Most models of a stack whose jobs have been in one crash, and in more: three end a job."""

_PRIORITY: Final = 1e13
"""A place is -priority times this, plus the turns of owners that come before."""


@dataclass(frozen=True)
class Room:
    """What a stack may grow to on this device: models, bytes still free, models that do not slow each other down."""

    most: int
    bytes: float
    lanes: float


Share = tuple[str, str]
"""Whose places a job takes: its owner's, and among those its first tag's; "" where it has none."""


@dataclass(frozen=True)
class Seat:
    """A model of the stack: what is left of it with the device for itself, how late it is, whose place it takes."""

    left_s: float
    late_s: float
    share: Share


@dataclass(frozen=True)
class Aboard:
    """The stack as it is: its models, the crashes that their jobs were in, by how much others were overtaken.

    `overtaken_s` is that of other keys, `passed_s` that of jobs with this key, by id.
    """

    seats: tuple[Seat, ...]
    crashes: int = 0
    overtaken_s: float = 0.0
    passed_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Whom to claim, in this order; how late those aboard and then they are; by how much others are overtaken.

    `unfit` are those for whom there is no room in memory, or whose jobs were in other crashes. With `leads` nobody is
    aboard, and the first of them begins the stack anew, which is its owner's turn.
    """

    job_ids: tuple[str, ...]
    late_s: tuple[float, ...]
    overtaken_s: float
    passed_s: Mapping[str, float] = field(default_factory=dict)
    unfit: int = 0
    leads: bool = False


class _Left:
    """One who waits on: its place, and by how much it is overtaken, `passed_s` of it before this plan.

    It would begin at `begins_s` if nobody overtook it. Not even one of `took_s` was taken in; infinite: for whatever
    reason beside that.
    """

    def __init__(self, place: float, begins_s: float, passed_s: float, took_s: float = inf) -> None:
        self.place, self.priority, self.took_s = place, _priority(place), took_s
        self._begins_s, self._before_s, self.passed_s = begins_s, passed_s, passed_s

    def passed_by(self, one: Companion, took_s: float, all_done_s: float) -> float:
        """By how much it is overtaken once that one is aboard, too, and all are done then."""
        ahead = took_s if one.place < self.place else 0.0
        return max(self.passed_s, self._before_s + all_done_s - self._begins_s - ahead)

    def see(self, one: Companion, took_s: float, all_done_s: float) -> None:
        """That one is aboard."""
        self.passed_s = self.passed_by(one, took_s, all_done_s)
        self._begins_s += took_s if one.place < self.place else 0.0


def share_of(owner: str, tags: Sequence[str]) -> Share:
    """Whose places a job takes."""
    return owner, tags[0] if tags else ""


def plan(
    aboard: Aboard, waiting: Sequence[Companion], head: float | None, room: Room, seconds: Callable[[Companion], float]
) -> Plan:
    """Whom to take in beside the models that are aboard.

    Args:
        aboard: the stack as it is, one model at least.
        waiting: queued jobs with its key.
        head: the place, in the order of claims, of the next job of another key that this worker could run; None: there
            is none.
        room: what the device has.
        seconds: of a whole run that has the device for itself.
    """
    growing = _Growing(aboard, room.lanes)
    others = [] if head is None else [_Left(head, max(growing.ends), aboard.overtaken_s)]
    left, unfit = dict[str, _Left](), 0
    free, chosen, most = room.bytes, list[str](), _places(room, aboard.crashes)
    for one in by_turns(waiting, Counter(seat.share for seat in aboard.seats)):
        if len(growing.lefts) >= most:
            break
        fits, took_s = one.crashes == aboard.crashes and one.stack.bytes <= free, seconds(one)
        if fits and growing.takes(one, took_s, [*others, *left.values()]):
            free -= one.stack.bytes
            chosen.append(one.id)
        else:
            unfit += not fits
            passed_s = aboard.passed_s.get(one.id, 0.0)
            left[one.id] = _Left(one.place, max(growing.ends), passed_s, took_s if fits else inf)
    overtaken_s = max((one.passed_s for one in others), default=0.0)
    passed = {name: one.passed_s for name, one in left.items()}
    return Plan(tuple(chosen), growing.late_s, overtaken_s, passed, unfit)


class _Growing:
    """A stack while it is planned: what is left of each model, when it ends, and when it would end one by one."""

    def __init__(self, aboard: Aboard, lanes: float) -> None:
        self._lanes = lanes
        self.lefts = [seat.left_s for seat in aboard.seats]
        self.ends = finished(self.lefts, lanes)
        self._in_turn = [end - seat.late_s for end, seat in zip(self.ends, aboard.seats, strict=True)]
        self._all_in_turn = max(self.ends)

    def takes(self, one: Companion, took_s: float, left: Sequence[_Left]) -> bool:
        """Take it in, unless one in the stack or of those `left` would be done too late, or is more urgent."""
        if any(other.priority > one.priority or (other.took_s <= took_s and other.place < one.place) for other in left):
            return False
        lefts, in_turn = [*self.lefts, took_s], [*self._in_turn, self._all_in_turn + took_s]
        ends = finished(lefts, self._lanes)
        if max(end - turn for end, turn in zip(ends, in_turn, strict=True)) > OVERTAKE_S:
            return False
        if any(other.passed_by(one, took_s, max(ends)) > OVERTAKE_S for other in left):
            return False
        for other in left:
            other.see(one, took_s, max(ends))
        self.lefts, self._in_turn, self.ends = lefts, in_turn, ends
        self._all_in_turn += took_s
        return True

    @property
    def late_s(self) -> tuple[float, ...]:
        """How late each is, in the order in which they came."""
        return tuple(max(0.0, end - turn) for end, turn in zip(self.ends, self._in_turn, strict=True))


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


def by_turns(waiting: Sequence[Companion], taken: Counter[Share]) -> list[Companion]:
    """By priority; among equals every owner in turn, of an owner every tag, and the jobs of a tag by age.

    `taken` are the places that they have already.
    """
    owners, tags = Counter[str](), Counter(taken)
    for (owner, _), count in taken.items():
        owners[owner] += count
    keyed = list[tuple[tuple[int, int, int], Companion]]()
    for one in sorted(waiting, key=_arrival):
        share = share_of(one.owner, one.tags)
        keyed.append(((-one.priority, tags[share], one.sequence), one))
        tags[share] += 1
    turns = dict[str, int]()
    for _, one in sorted(keyed, key=itemgetter(0)):
        turns[one.id] = owners[one.owner]
        owners[one.owner] += 1
    return sorted(waiting, key=lambda one: (-one.priority, turns[one.id], one.sequence))


def _arrival(one: Companion) -> tuple[int, int]:
    """Smaller for what is more urgent, and among equals for what came before."""
    return -one.priority, one.sequence


def _priority(place: float) -> float:
    return -(place // _PRIORITY)
