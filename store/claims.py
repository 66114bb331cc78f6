"""The workers' side of the job store: claim, report, let go; and the reaper, who takes back what was dropped.

Everything a worker writes passes its fence inside the script that writes it. A call that is sent twice, because
the answer to the first was lost, counts once: it carries a token.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeVar, cast

import orjson
from redis import Redis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from kernels.errors import Fenced, IllegalTransition, StoreUnavailable
from store import keys, scripts, wakeups
from store.clocks import LEASE_S, REAP_PAUSE_S
from store.connection import redis_errors
from store.events import EventLog
from store.halving import decide, trial_from_text
from store.records import (
    Claim,
    Companion,
    Job,
    Json,
    Reaped,
    companion_from_values,
    directive,
    encode,
    job_from_parts,
    report_parts,
)
from store.transitions import TRANSITIONS, Directive, Status

WAKEUPS_PER_REAP = 1000
"""Most wake-ups that one reap pushes: it holds the server for a few milliseconds only."""

WAKE_FIELDS_S = 1.0
"""How long the fields of a wake-up are used again: two of them differ in their times alone, which nobody reads."""

NewEvent = tuple[str, Mapping[str, Any]]
"""What a worker appends: (type, data)."""

T = TypeVar("T")

Refused = Exception
"""What stands for the answer to one of several: Fenced, IllegalTransition, or a mistake of ours."""


@dataclass(frozen=True, slots=True)
class Report:
    """One fenced write; without events and fields it is a heartbeat.

    `fields` of the record: `progress` and `metrics`, which replace the former ones; `checkpoint`, a manifest, which
    makes the one before the second choice; `device`, `backend`, `environment`. `token` names the batch.
    """

    claim: Claim
    events: Sequence[NewEvent] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Farewell(Report):
    """A last write, and where the job goes."""

    to: Status = Status.QUEUED
    reason: str = ""
    result: Json | None = None
    error: Json | None = None


@dataclass(frozen=True, slots=True)
class Companions:
    """Queued jobs that may train together, and `head`: the place of the next job with another key."""

    head: float | None
    waiting: tuple[Companion, ...]


class Claims:
    """Leases, fences and reports over one Redis connection. Safe to share between threads."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.events = EventLog(redis)
        self._scripts = scripts.load(redis)
        self._wake_fields: tuple[float, list[bytes | str | int | float]] = (float("-inf"), [])

    def claim(
        self, worker_id: str, lease_s: float = LEASE_S, device: str = "cpu", token: str | None = None
    ) -> Claim | None:
        """Take the next queued job, or None when there is none for a worker on `device`.

        It is one of the highest priority. Among equals owners take turns, whoever led least recently first, and of an
        owner the oldest comes first: ten thousand jobs of one delay a job of another by one.

        A job that names a GPU is taken by that GPU's workers alone, one that needs any by those of any GPU, and every
        other job by everyone.

        A claim whose answer was lost is asked for again with the same `token`, within a minute.
        """
        taken = self._claim(worker_id, lease_s, device, (), leads=True, token=token)
        return taken[0] if taken else None

    def claim_also(
        self,
        worker_id: str,
        job_ids: Sequence[str],
        lease_s: float = LEASE_S,
        *,
        leads: bool = False,
        token: str | None = None,
    ) -> list[Claim]:
        """Take those of `job_ids` that are still queued, in that order: the rest of a stack.

        With `leads` the first of them begins it, which is its owner's turn. `token` as for `claim`.
        """
        return self._claim(worker_id, lease_s, "", job_ids, leads=leads, token=token) if job_ids else []

    def waits_for(self, device: str) -> bool:
        """Whether there are queued jobs that name this GPU, or need any."""
        with redis_errors():
            return bool(self.redis.exists(keys.device_queue(device), keys.device_queue("cuda")))

    def _claim(
        self, worker_id: str, lease_s: float, device: str, job_ids: Sequence[str], *, leads: bool, token: str | None
    ) -> list[Claim]:
        token = token or secrets.token_hex(8)
        answer = self._call("claim", worker_id, int(lease_s * 1000), token, device, int(leads), *job_ids)
        jobs = [job_from_parts(parts) for parts in answer]
        return [Claim(job, job.fence, worker_id, lease_s) for job in jobs]

    def companions(self, key: str, device: str, most: int, aboard: Sequence[tuple[str, str]] = ()) -> Companions:
        """Up to `most` queued jobs that may train in a stack with this key, as its places go round.

        Higher priority comes first, among equals every owner in turn, of an owner every first tag, of a tag the oldest.

        Args:
            key: of the stack.
            device: that of the worker which asks.
            most: jobs; it takes as long as they demand, however many are queued.
            aboard: (owner, first tag) of every job that trains in the stack already.
        """
        head, *found = self._call("companions", key, device, most, *chain.from_iterable(aboard))
        return Companions(float(head) if head else None, tuple(companion_from_values(values) for values in found))

    def write(
        self,
        claim: Claim,
        *,
        events: Sequence[NewEvent] = (),
        token: str | None = None,
        **fields: Any,
    ) -> Directive:
        """Report and renew the lease in one fenced step; without arguments it is a heartbeat.

        Args:
            claim: what `claim` gave.
            events: (type, data) in order; the data of `metric` events carries its `step`.
            token: names this batch. Pass the same one when sending it again after `StoreUnavailable`.
            fields: of the record, as `Report` has them.

        Returns:
            What to do next: continue, pause or cancel.

        Raises:
            Fenced: the job is no longer this claim's; nothing was written.
            StoreUnavailable: no answer; the batch may or may not be in (see `token`).
        """
        return _the_one(self.write_many([Report(claim, events, fields, token)]))

    def finish(
        self,
        claim: Claim,
        to: Status,
        reason: str = "",
        *,
        events: Sequence[NewEvent] = (),
        result: Json | None = None,
        error: Json | None = None,
        token: str | None = None,
        **fields: Any,
    ) -> Job:
        """Let go of the job in one fenced step; the status event, and `end` when it has ended, come last.

        An accepted cancel wins: then the job is cancelled, and `result` and `error` are dropped. A job given
        back (`to` queued) while its pause is awaited is paused; one that stops for a pause that the user has
        withdrawn is queued. No attempt is counted.

        Returns:
            The record as it now is; look at its status.

        Raises:
            Fenced: the job is no longer this claim's; nothing was written.
            IllegalTransition: `to` is no move from where the job is.
        """
        return _the_one(self.finish_many([Farewell(claim, events, fields, token, to, reason, result, error)]))

    def write_many(self, reports: Sequence[Report]) -> list[Directive | Refused]:
        """`write` for several claims in one round trip: each is its own transaction, refused alone.

        Raises: StoreUnavailable; then any of them may be in, and all can be sent again.
        """
        answers = self._call_many("write", [_write_arguments(report) for report in reports])
        return [_written(report, answer) for report, answer in zip(reports, answers, strict=True)]

    def finish_many(self, farewells: Sequence[Farewell]) -> list[Job | Refused]:
        """`finish` for several claims in one round trip, as `write_many`."""
        wake = self._wake_parts()
        answers = self._call_many("finish", [[*_finish_arguments(one), *wake] for one in farewells])
        found = [_finished(one, answer) for one, answer in zip(farewells, answers, strict=True)]
        halved = {job.sweep for job in found if isinstance(job, Job) and job.rung is not None and job.sweep}
        for sweep_id in halved:
            with suppress(StoreUnavailable):  # the reaper sees to it
                self.decide(sweep_id)
        return found

    def crashed(self, job_id: str, fence: int, code: str, message: str) -> Job | None:
        """Say that the process which held the job has died; its third crash ends the job as failed.

        Returns:
            The record as it now is, or None when the job was no longer held by that fence.
        """
        answer = self._call("crashed", job_id, fence, code, message, *self._wake_parts())
        return job_from_parts(answer) if answer else None

    def held_by(self, worker_id: str) -> list[Claim]:
        """What a worker holds right now, as claims with the default lease: for its parent, after it died."""
        with redis_errors():
            held = cast("list[bytes]", self.redis.zrange(keys.LEASES, 0, -1))
        found = [self._call("get", job_id) for job_id in held]
        jobs = [job_from_parts(parts) for parts in found if parts]
        return [Claim(job, job.fence, worker_id, LEASE_S) for job in jobs if job.worker_id == worker_id]

    def reap(self, grace_s: float = LEASE_S, pause_s: float = REAP_PAUSE_S) -> Reaped:
        """Take back jobs whose lease has expired, and push wake-ups until every queued job has one waiting.

        After a pause of more than `pause_s` in which nobody could reap (the server was down or stopped),
        expired leases are left alone for `grace_s`: the outage itself costs nobody an attempt.
        """
        answer = self._call("reap", int(grace_s * 1000), int(pause_s * 1000), WAKEUPS_PER_REAP, *self._wake_parts())
        in_grace, pushed, *moved = answer
        names = [part.decode() for part in moved]
        pairs = zip(names[::2], names[1::2], strict=True)
        for sweep_id in self._undecided():
            self.decide(sweep_id)
        return Reaped({job_id: Status(status) for job_id, status in pairs}, int(pushed), bool(in_grace))

    def decide(self, sweep_id: str) -> None:
        """Let the trials of a sweep go on or end, as their figures now say.

        Nothing happens where somebody else was quicker, who then decides on what has changed.
        """
        with redis_errors(), self.redis.pipeline(transaction=True) as pipe:
            pipe.hmget(keys.sweep(sweep_id), "version", "halving")
            pipe.hgetall(keys.trials(sweep_id))
            (version, halving), texts = pipe.execute()
        if version is None or halving is None:
            self._call("decide", sweep_id, version or 0, 0, 0)
            return
        plan = orjson.loads(halving)
        trials = {job_id.decode(): trial_from_text(job_id.decode(), text.decode()) for job_id, text in texts.items()}
        rungs = plan["rungs"]
        found = decide(trials.values(), rungs, plan["reduction"], maximize=plan["maximize"])
        parts: list[Any] = [len(found.promoted)]
        reached = {job_id: trials[job_id].rung for job_id in found.promoted}
        for job_id in found.promoted:
            reached[job_id] = rung = reached[job_id] + 1
            parts += [job_id, rung, rungs[rung] if rung < len(rungs) else ""]
        parts.append(len(found.retired))
        for one in found.retired:
            parts += [one.id, one.reason]
        self._call("decide", sweep_id, version, *parts, *self._wake_parts())

    def _undecided(self) -> list[str]:
        with redis_errors():
            return [name.decode() for name in cast("set[bytes]", self.redis.smembers(keys.UNDECIDED))]

    def _call(self, script: str, *arguments: Any) -> Any:
        with redis_errors():
            return self._scripts[script](args=arguments)

    def _call_many(self, script: str, calls: Sequence[Sequence[Any]]) -> list[Any]:
        """The answers in one round trip; an error that is no outage stands where the answer would."""
        if len(calls) == 1:
            try:
                return [self._call(script, *calls[0])]
            except ResponseError as error:
                return [error]
        answers = self._sent(script, calls)
        unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:  # the server has started anew
            with redis_errors():
                self.redis.script_load(self._scripts[script].script)
            for place, answer in zip(unknown, self._sent(script, [calls[place] for place in unknown]), strict=True):
                answers[place] = answer
        for answer in answers:
            if isinstance(answer, RedisError):
                with redis_errors(), suppress(ResponseError):
                    raise answer
        return answers

    def _sent(self, script: str, calls: Sequence[Sequence[Any]]) -> list[Any]:
        """The answers in one round trip; redis-py's own way for scripts would first ask whether they are known."""
        with redis_errors(), self.redis.pipeline(transaction=False) as pipe:
            for arguments in calls:
                pipe.evalsha(self._scripts[script].sha, 0, *arguments)
            answers: list[Any] = pipe.execute(raise_on_error=False)
        return answers

    def _wake_parts(self) -> list[bytes | str | int | float]:
        made, fields = self._wake_fields
        if time.monotonic() - made > WAKE_FIELDS_S:
            made, fields = self._wake_fields = time.monotonic(), wakeups.entry_fields(self.redis)
        return fields


def _the_one(answers: Sequence[T | Refused]) -> T:
    """The only answer. Raises it where it is an error."""
    (answer,) = answers
    if isinstance(answer, Exception):
        raise answer
    return answer


def _write_arguments(report: Report) -> list[Any]:
    claim, parts = report.claim, report_parts(**report.fields)
    return [
        claim.job_id,
        claim.fence,
        int(claim.lease_s * 1000),
        report.token or secrets.token_hex(8),
        _last_metric_step(report.events),
        len(parts),
        *parts,
        *_event_parts(report.events),
    ]


def _written(report: Report, answer: Any) -> Directive | Refused:
    if isinstance(answer, Exception):
        return answer
    return _fenced(report.claim) if answer is None else directive(Status(answer.decode()))


def _finish_arguments(one: Farewell) -> list[Any]:
    claim, parts, appended = one.claim, report_parts(**one.fields), _event_parts(one.events)
    return [
        claim.job_id,
        claim.fence,
        one.to.value,
        one.reason,
        one.token or secrets.token_hex(8),
        _last_metric_step(one.events),
        len(parts),
        *parts,
        "" if one.result is None else encode(one.result),
        "" if one.error is None else encode(one.error),
        len(appended),
        *appended,
    ]


def _finished(one: Farewell, answer: Any) -> Job | Refused:
    if isinstance(answer, Exception):
        return answer
    if answer[0] == b"fenced":
        return _fenced(one.claim)
    if answer[0] == b"illegal":
        status = Status(answer[1].decode())
        allowed = tuple(sorted(TRANSITIONS[status]))
        return IllegalTransition(f"{one.claim.job_id} is {status}; it cannot become {one.to.value}", allowed)
    return job_from_parts(answer[1])


def _fenced(claim: Claim) -> Fenced:
    return Fenced(f"{claim.job_id} is no longer held by fence {claim.fence}")


def _event_parts(events: Sequence[NewEvent]) -> list[str | bytes]:
    return [part for kind, data in events for part in (kind, encode(data))]


def _last_metric_step(events: Sequence[NewEvent]) -> int | str:
    steps = [int(data["step"]) for kind, data in events if kind == "metric" and "step" in data]
    return max(steps, default="")
