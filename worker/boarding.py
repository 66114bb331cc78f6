"""The thread of the training process that brings queued jobs into the stack that trains: plans, claims, prepares them.

The first job of a stack never waits for company: it trains while others are looked for, and they board between chunks.
Where models of the stack are about to end, those who take their seats are claimed and prepared before.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter

from kernels.errors import DiskFull, StoreUnavailable
from nets.stacking import seconds_of
from store.jobs import JobStore
from store.records import Claim, Companion
from worker import log
from worker.asking import answered
from worker.outage import Outage
from worker.planner import Aboard, Plan, Room, Seat, Share, finished, plan, share_of
from worker.run import Run
from worker.settings import AHEAD_MOST, AHEAD_S, BOARDING_S, GATHER, GATHER_S, LOOK_FURTHER, LOOK_FURTHEST


@dataclass(frozen=True)
class Gate:
    """What lets a job into the stack of `key`.

    Args:
        jobs: the store.
        worker_id: who claims.
        device: where this worker trains.
        lease_s: of a claim.
        key: of the stack.
        room: what the device has for this stack just now, in which some of the given runs have not begun.
        refused: ids that may not be claimed for it.
        claimed: told what was claimed, before anything else happens to it; makes a run of each.
        prepare: makes the member of a run; False when the job cannot even start, or is no longer wanted.
        waits, begins: told which of them do nothing yet, and which are prepared or board from now on.
    """

    jobs: JobStore
    worker_id: str
    device: str
    lease_s: float
    key: str
    room: Callable[[Sequence[Run]], Room]
    refused: set[str]
    claimed: Callable[[Sequence[Claim]], list[Run]]
    prepare: Callable[[Run], bool]
    waits: Callable[[Sequence[Run]], None]
    begins: Callable[[Sequence[Run]], None]


@dataclass
class Overtaken:
    """By how much others have been overtaken since the first of a stack was claimed, in however many calls of `fit`.

    `others_s` is that of other keys, `passed_s` that of jobs with the stack's key, by id.
    """

    others_s: float = 0.0
    passed_s: Mapping[str, float] = field(default_factory=dict)


class Boarding:
    """Finds companions for one `fit`, until it is closed.

    Args:
        gate: what lets a job in.
        first: the runs that the stack begins with, one at least.
        waiting: runs that are prepared and find no seat yet.
        overtaken: by this stack before, which is gone on with here.
        stopping: set when the process was told to go: then nobody is taken in any more.
        most_jobs: to take in.
    """

    def __init__(
        self,
        gate: Gate,
        first: Sequence[Run],
        waiting: Sequence[Run],
        overtaken: Overtaken,
        stopping: threading.Event,
        most_jobs: int,
    ) -> None:
        self._gate = gate
        self._stopping = stopping
        self._first, self._aboard = first[0], [*first, *waiting]
        self._looked = False
        self._ready = deque(waiting)
        self._could_since: float | None = None
        self._overtaken = overtaken
        self._look_further = LOOK_FURTHER
        self._most_jobs = most_jobs
        self.taken = 0
        self._closed, self._further = False, True
        self._look_now = threading.Event()
        self._outage = Outage("boarding")
        self._thread = threading.Thread(target=self._run, name="boarding", daemon=True)
        self._thread.start()

    def left(self) -> None:
        """A model has left the stack: there may be room."""
        self._look_now.set()

    def ready(self, seats: int, *, gather: bool = True) -> list[Run]:
        """Those who take free seats now: several at a time if they are to `gather`, but nobody waits for `GATHER_S`."""
        count, now = min(seats, len(self._ready)), time.monotonic()
        if self._could_since is None or count == 0:
            self._could_since = now if count else None
        if self._could_since is None or (gather and count < GATHER and now - self._could_since < GATHER_S):
            return []
        self._could_since = None
        found = self._taken_out(count)
        self._gate.begins(found)
        return found

    def _taken_out(self, most: int) -> list[Run]:
        found = list[Run]()
        while self._ready and len(found) < most:
            found.append(self._ready.popleft())
        return found

    def close(self, *, further: bool) -> list[Run]:
        """End, after a last look for whoever goes on with this key if `further`; those who have not boarded."""
        self._closed, self._further = True, further
        self._look_now.set()
        self._thread.join()
        return self._taken_out(len(self._ready))

    def _run(self) -> None:
        while self._further and not self._stopping.is_set():  # one look at least: tiny jobs end before it
            try:
                self._look()
                self._outage.over()
            except (StoreUnavailable, DiskFull) as error:
                self._outage.noticed(error)
            except Exception as error:  # noqa: BLE001 - the stack trains on without company
                log.error("boarding_failed", error)
                return
            if self._closed:
                return
            self._look_now.wait(BOARDING_S)
            self._look_now.clear()

    def _look(self) -> None:
        self._aboard = [run for run in self._aboard if not (run.ended or run.unwanted)]
        self._first = next(iter(self._aboard), self._first)
        gate, room = self._gate, self._gate.room(self._aboard)
        room = replace(room, most=room.most + self._seats_soon(room.lanes))
        if len(self._aboard) >= room.most or self.taken >= self._most_jobs:
            return
        chosen = self._chosen(room)
        self._looked = True
        if not chosen.job_ids:
            return
        runs = gate.claimed(answered(lambda token: self._claim(chosen, token), self._stopping, self._outage))
        gate.waits(runs)
        late = dict(zip([*(run.id for run in self._aboard), *chosen.job_ids], chosen.late_s, strict=True))
        self._overtaken.others_s, self._overtaken.passed_s = chosen.overtaken_s, chosen.passed_s
        self.taken += len(runs)
        self._aboard += runs
        for run in self._aboard:
            run.late_s = late[run.id]
        for run in runs:
            gate.begins([run])
            if gate.prepare(run):
                gate.waits([run])
                self._ready.append(run)

    def _seats_soon(self, lanes: float) -> int:
        """Seats that will be free in `AHEAD_S`, for as many as may wait for one."""
        ends = finished([_seat(run).left_s for run in self._aboard], lanes)
        return min(AHEAD_MOST, sum(end < AHEAD_S for end in ends))

    def _claim(self, chosen: Plan, token: str) -> list[Claim]:
        gate = self._gate
        return gate.jobs.claim_also(gate.worker_id, chosen.job_ids, gate.lease_s, leads=chosen.leads, token=token)

    def _chosen(self, room: Room) -> Plan:
        """Whom to take in, of as many as need to be looked at."""
        gate = self._gate
        most = room.most - len(self._aboard) + self._look_further + len(gate.refused)
        found = gate.jobs.companions(gate.key, gate.device, most, [_share(run) for run in self._aboard])
        waiting = [one for one in found.waiting if one.id not in gate.refused]
        refused = [one.place for one in found.waiting if one.id in gate.refused]
        head = min([*refused, *([] if found.head is None else [found.head])], default=None)
        chosen = self._planned(waiting, head, room)
        more = chosen.unfit == len(found.waiting) >= most  # whoever fits may be behind all of these
        self._look_further = min(2 * self._look_further, LOOK_FURTHEST) if more else LOOK_FURTHER
        return chosen

    def _planned(self, waiting: Sequence[Companion], head: float | None, room: Room) -> Plan:
        """Whom to take in; where all have ended, the next of the queue and others, if it is one with this key.

        Tiny jobs have ended before the first look: then it goes by the stack as it was claimed, for whom it takes in
        must not depend on who is quicker.
        """
        if self._aboard:
            return self._beside(tuple(map(_seat, self._aboard)), waiting, head, room)
        first = min(waiting, key=attrgetter("place"), default=None)
        if first is not None and (head is None or first.place < head):
            others = [one for one in waiting if one is not first]
            aboard = Aboard((Seat(_seconds(first), 0.0, share_of(first.owner, first.tags)),), first.crashes)
            rest = plan(aboard, others, head, replace(room, bytes=room.bytes - first.stack.bytes), _seconds)
            return replace(rest, job_ids=(first.id, *rest.job_ids), leads=True)
        if self._looked:
            return Plan((), (), 0.0)
        rest = self._beside((Seat(0.0, 0.0, _share(self._first)),), waiting, head, room)
        return replace(rest, late_s=rest.late_s[1:])

    def _beside(self, seats: tuple[Seat, ...], waiting: Sequence[Companion], head: float | None, room: Room) -> Plan:
        overtaken = self._overtaken
        aboard = Aboard(seats, self._first.claim.job.crashes, overtaken.others_s, overtaken.passed_s)
        return plan(aboard, waiting, head, room, _seconds)


def _seconds(one: Companion) -> float:
    return seconds_of(one.stack.steps, one.stack.work)


def _share(run: Run) -> Share:
    return share_of(run.claim.job.owner, run.claim.job.tags)


def _seat(run: Run) -> Seat:
    job = run.claim.job
    left = 0.0 if job.stack is None else seconds_of(max(0, job.stack.steps - run.step), job.stack.work)
    return Seat(left, run.late_s, _share(run))
