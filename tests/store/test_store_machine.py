"""Random users, workers and reapers against a real server; after every step all laws hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from kernels.errors import Fenced, IllegalTransition
from mlpq.embedded import EmbeddedServer
from store import keys, wakeups
from store.jobs import JobStore
from store.records import Claim, Companion, Job
from store.transitions import HELD, MAX_CRASHES, REQUESTS, TERMINAL, Action, Directive, Status
from tests.store.store_parts import check_laws, new_job, stackable
from tests.store.turns import Turns
from worker.planner import by_turns


@dataclass
class Seen:
    """What an outside observer remembers of a job."""

    attempt: int = 1
    ended: Status | None = None
    results: list[Any] = field(default_factory=list)
    fence: int = 0


class Life(RuleBasedStateMachine):
    """One store; jobs and claims are drawn at random, stale claims included."""

    url: str
    jobs: Bundle[str] = Bundle("jobs")
    claims: Bundle[Claim] = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.redis = Redis.from_url(self.url)
        self.redis.flushall()
        self.store = JobStore(self.redis)
        self.seen: dict[str, Seen] = {}
        self.step = 0
        self.turns = Turns()

    def teardown(self) -> None:
        self.redis.close()

    def _waiting(self, jobs: Iterable[Job] | None = None) -> list[Job]:
        known = [self.store.get(job_id) for job_id in self.seen] if jobs is None else jobs
        waiting = [job for job in known if job.status is Status.QUEUED]
        for job in waiting:
            self.turns.came(job)
        return waiting

    def _holds(self, claim: Claim) -> bool:
        job = self.store.get(claim.job_id)
        return job.status in HELD and job.fence == claim.fence

    @rule(
        target=jobs,
        priority=st.integers(-2, 2),
        tags=st.sets(st.sampled_from("abc")),
        key=st.sampled_from(["x", "y", None]),
        owner=st.sampled_from(["", "key_1", "key_2"]),
    )
    def create(self, priority: int, tags: set[str], key: str | None, owner: str) -> str:
        stack = None if key is None else stackable(key)
        new = new_job(priority=priority, tags=tuple(sorted(tags)), stack=stack, owner=owner)
        job, created = self.store.create(new)
        assert created
        self.seen[job.id] = Seen()
        return job.id

    @rule(job_id=jobs, action=st.sampled_from(Action))
    def request(self, job_id: str, action: Action) -> None:
        before = self.store.get(job_id).status
        try:
            assert self.store.request(job_id, action).status is REQUESTS[action][before]
        except IllegalTransition:
            assert before not in REQUESTS[action]

    @rule(target=claims, worker=st.sampled_from(["w1", "w2"]))
    def wake_and_claim(self, worker: str) -> Any:
        entry = self.redis.lpop(wakeups.LIST_KEY)
        if entry is not None:
            self.redis.delete(wakeups.ENTRY_TEMPLATE % entry.decode())
        waiting = self._waiting()
        claim = self.store.claim(worker)
        if claim is None:
            assert not waiting
            return multiple()
        assert claim.job_id == self.turns.order(waiting)[0].id
        self.turns.lead(claim.job)
        assert claim.fence > self.seen[claim.job_id].fence
        self.seen[claim.job_id].fence = claim.fence
        return claim

    @rule(target=claims, first=jobs, second=jobs, leads=st.booleans())
    def claim_also(self, first: str, second: str, leads: bool) -> Any:
        taken = self.store.claim_also("w3", [first, second], leads=leads)
        if leads and taken and taken[0].job_id == first:
            self.turns.lead(taken[0].job)
        for claim in taken:
            self.seen[claim.job_id].fence = claim.fence
        return multiple(*taken)

    @rule(
        key=st.sampled_from("xy"),
        most=st.integers(0, 4),
        aboard=st.lists(st.tuples(st.sampled_from(["", "key_1"]), st.sampled_from(["", "a", "b"])), max_size=4),
    )
    def companions(self, key: str, most: int, aboard: list[tuple[str, str]]) -> None:
        waiting = self._waiting()
        places = self.turns.places(waiting)
        together = [
            companion_of(job, places[job.id]) for job in waiting if job.stack is not None and job.stack.key == key
        ]
        strangers = [job for job in waiting if job.stack is None or job.stack.key != key]
        found = self.store.companions(key, "cpu", most, aboard)
        assert list(found.waiting) == by_turns(together, Counter(aboard))[:most]
        assert found.head == min((places[job.id] for job in strangers), default=None)

    @rule(claim=claims, events=st.integers(0, 3))
    def write(self, claim: Claim, events: int) -> None:
        held, before = self._holds(claim), self.store.get(claim.job_id)
        self.step += events
        batch = [("metric", {"step": self.step + n}) for n in range(1 - events, 1)]
        try:
            directive = self.store.write(claim, events=batch, progress={"step": self.step})
        except Fenced:
            assert not held
            assert self.store.get(claim.job_id) == before, "a stale fence wrote"
        else:
            assert held
            wanted = {Status.PAUSING: Directive.PAUSE, Status.CANCELLING: Directive.CANCEL}
            assert directive is wanted.get(before.status, Directive.CONTINUE)

    @rule(claim=claims, to=st.sampled_from([Status.SUCCEEDED, Status.FAILED, Status.PAUSED, Status.QUEUED]))
    def finish(self, claim: Claim, to: Status) -> None:
        held, before = self._holds(claim), self.store.get(claim.job_id)
        result = {"fence": claim.fence} if to is Status.SUCCEEDED else None
        try:
            after = self.store.finish(claim, to, result=result)
        except Fenced:
            assert not held
            assert self.store.get(claim.job_id) == before, "a stale fence wrote"
        except IllegalTransition:
            assert held
            assert self.store.get(claim.job_id) == before
        else:
            assert held
            assert (after.status is Status.CANCELLED) == (before.status is Status.CANCELLING)
            assert after.attempt == before.attempt, "letting go in order counts no attempt"

    @rule(claim=claims)
    def crash(self, claim: Claim) -> None:
        held, before = self._holds(claim), self.store.get(claim.job_id)
        after = self.store.crashed(claim.job_id, claim.fence, "signal", "killed by signal 9")
        assert (after is not None) == held
        if after is not None:
            assert after.crashes == before.crashes + 1
            assert after.status is not Status.QUEUED or after.crashes < MAX_CRASHES

    @rule(expire=st.booleans())
    def reap(self, expire: bool) -> None:
        if expire:
            for job_id in self.redis.zrange(keys.LEASES, 0, 0):
                self.redis.zadd(keys.LEASES, {job_id: 1})
        expired = {job_id.decode() for job_id in self.redis.zrangebyscore(keys.LEASES, 0, 1)}
        reaped = self.store.reap(grace_s=0.0)
        assert set(reaped.moved) == expired

    @rule(job_id=jobs, tags=st.sets(st.sampled_from("abc")), priority=st.integers(-2, 2))
    def patch(self, job_id: str, tags: set[str], priority: int) -> None:
        self.store.patch(job_id, tags=sorted(tags), priority=priority)

    @rule(job_id=consumes(jobs))
    def ask_twice(self, job_id: str) -> None:
        assert self.store.get(job_id) == self.store.get(job_id)

    @invariant()
    def laws(self) -> None:
        check_laws(self.redis, self.store)
        jobs = {job_id: self.store.get(job_id) for job_id in self.seen}
        order = self.turns.order(self._waiting(jobs.values()))
        assert [job.queue_position for job in order] == list(range(len(order))), "it is said who comes when"
        queued = self.redis.zcard(keys.QUEUE)
        assert self.redis.llen(wakeups.LIST_KEY) >= queued, "every queued job has a wake-up waiting"
        for job_id, seen in self.seen.items():
            job = jobs[job_id]
            assert job.attempt >= seen.attempt
            assert seen.ended in {None, job.status}, "terminal is final"
            if job.result is not None and job.result not in seen.results:
                seen.results.append(job.result)
            assert len(seen.results) == (1 if job.status is Status.SUCCEEDED else 0), "published exactly once"
            seen.attempt = job.attempt
            seen.ended = job.status if job.status in TERMINAL else None


def companion_of(job: Job, place: float) -> Companion:
    assert job.stack is not None
    return Companion(job.id, job.priority, job.sequence, job.tags, job.crashes, job.stack, job.owner, place)


@pytest.fixture
def machine(valkey: EmbeddedServer) -> type[Life]:
    return type("LifeOnServer", (Life,), {"url": valkey.url})


def test_no_sequence_of_users_workers_and_reapers_breaks_a_law(machine: type[Life]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=40,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
