"""The sweep store: many jobs of one plan, made together, looked at together, ended together."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import orjson

from kernels.errors import Conflict, InvalidInput, NotFound
from store import keys
from store.connection import redis_errors
from store.jobs import CURSOR_S, PAGE_MAX, JobStore, new_id
from store.records import Job, Json, NewJob, encode
from store.transitions import Status


@dataclass(frozen=True, slots=True)
class Halving:
    """Trials wait after each of `rungs` epochs, and one in `reduction` goes on; see `store.halving`."""

    rungs: tuple[int, ...]
    reduction: int
    maximize: bool


@dataclass(frozen=True, slots=True)
class NewSweep:
    """What a user submits: the plan, and the job of each of its points, in their order; a list's are nowhere else."""

    plan: Json
    dataset: str
    base: Json
    objective: str
    direction: str
    jobs: Sequence[NewJob]
    name: str = ""
    halving: Halving | None = None
    dataset_name: str = ""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep as recorded. `counts` are its jobs by status. Times are ms since 1970 by the clock of the server."""

    id: str
    name: str
    plan: Json
    dataset: str
    base: Json
    objective: str
    direction: str
    created_at_ms: int
    cancelled_at_ms: int | None
    counts: Mapping[Status, int]
    halving: Halving | None
    dataset_name: str


@dataclass(frozen=True, slots=True)
class Member:
    """A job of a sweep, as far as the sweep shows it."""

    id: str
    name: str
    status: Status
    status_reason: str | None
    point: Json
    metrics: Json
    progress: Json | None
    error: Json | None
    rung: int | None


_FIELDS = ("id", "name", "status", "status_reason", "point", "metrics", "progress", "error", "rung")


class SweepStore(JobStore):
    """Every operation on sweeps. Raises from every method: StoreUnavailable, DiskFull."""

    def create_sweep(self, new: NewSweep, idempotency: tuple[str, str] | None = None) -> tuple[Sweep, bool]:
        """Accept a sweep: it is recorded, and all its jobs with it, in one transaction.

        Returns:
            The sweep, and whether this call made it (False: the same key and body came before).

        Raises:
            InvalidInput: the key came before with another body. NotFound: a data set is gone.
        """
        sweep_id = f"swp_{secrets.token_hex(10)}"
        parts: list[str | bytes] = [
            *("id", sweep_id),
            *("name", new.name),
            *("plan", encode(new.plan)),
            *("dataset", new.dataset),
            *(("dataset_name", new.dataset_name) if new.dataset_name not in ("", new.dataset) else ()),
            *("base", encode(new.base)),
            *("objective", new.objective),
            *("direction", new.direction),
        ]
        halts = None
        if new.halving is not None:
            halts = new.halving.rungs[0]
            halving = new.halving
            told = {"rungs": halving.rungs, "reduction": halving.reduction, "maximize": halving.maximize}
            parts += ["halving", encode(told)]
        jobs = [replace(job, sweep=sweep_id, halt_epoch=halts) for job in new.jobs]
        answer = self._accept(jobs, [new_id() for _ in jobs], idempotency, parts)
        return self.get_sweep(answer[1].decode()), answer[0] == b"ok"

    def add_points(
        self, sweep_id: str, jobs: Sequence[NewJob], most: int, idempotency: tuple[str, str] | None = None
    ) -> list[Job]:
        """Accept further points of a sweep whose plan is a list: their jobs join it, and are queued, in one step.

        Args:
            sweep_id: the sweep; one that has ended goes on.
            jobs: one for each point, in their order.
            most: jobs that it may have in all.
            idempotency: key and body; jobs that came with the same before are answered again.

        Raises:
            NotFound: no such sweep, or a data set is gone. Conflict: it is cancelled, or its plan is no list.
            InvalidInput: it would have too many jobs, or the key came before with another body.
        """
        news, ids = [replace(job, sweep=sweep_id) for job in jobs], [new_id() for _ in jobs]
        kind, *found = self._accept(news, ids, idempotency, ("id", sweep_id), most)
        if kind == b"no_sweep":
            raise _missing(sweep_id)
        if kind == b"cancelled":
            raise Conflict(f"{sweep_id} is cancelled: it takes no points")
        if kind == b"planned":
            raise Conflict(f"{sweep_id} has a plan that says all of its points; only a list takes more")
        if kind == b"full":
            raise InvalidInput.at("/list", f"has {len(jobs)} points; the sweep has {found[0]} jobs, and at most {most}")
        return self._accepted(found, len(news))

    def get_sweep(self, sweep_id: str) -> Sweep:
        """The record of a sweep. Raises: NotFound."""
        return self._sweeps([sweep_id])[0]

    def page_sweeps(self, limit: int = 20, after: str | None = None) -> tuple[list[Sweep], bool]:
        """Sweeps newest first, those after `after`, and whether there are more.

        Raises:
            InvalidInput: a limit outside 1..100, or a cursor that names no sweep.
        """
        if not 1 <= limit <= PAGE_MAX:
            raise InvalidInput.at("/query/limit", f"is {limit}; must be 1..{PAGE_MAX}")
        with redis_errors():
            highest = "+inf"
            if after:
                place = self.redis.zscore(keys.SWEEPS, after) or self.redis.get(keys.TEMPLATES["deleted"] % after)
                if place is None:
                    raise InvalidInput.at("/query/after", f"names no sweep: {after[:80]!r}")
                highest = f"({int(float(cast('Any', place)))}"
            found = self.redis.zrange(
                keys.SWEEPS, cast("Any", highest), cast("Any", "-inf"), desc=True, byscore=True, offset=0, num=limit + 1
            )
        ids = [name.decode() for name in cast("list[bytes]", found)]
        return self._sweeps(ids[:limit]), len(ids) > limit

    def _sweeps(self, ids: Sequence[str]) -> list[Sweep]:
        with redis_errors(), self.redis.pipeline(transaction=False) as pipe:
            for sweep_id in ids:
                pipe.hgetall(keys.sweep(sweep_id))
                for status in Status:
                    pipe.zcard(keys.swept(sweep_id, status))
            answers = pipe.execute()
        each = 1 + len(Status)
        return [_sweep(name, answers[place * each : (place + 1) * each]) for place, name in enumerate(ids)]

    def members(self, sweep_id: str) -> list[Member]:
        """Its jobs in the order of its points; those that were deleted are left out."""
        with redis_errors():
            ids = cast("list[bytes]", self.redis.zrange(keys.swept(sweep_id), 0, -1))
            with self.redis.pipeline(transaction=False) as pipe:
                for job_id in ids:
                    pipe.hmget(keys.job(job_id.decode()), _FIELDS)
                answers = pipe.execute()
        return [_member(values) for values in answers if values[0] is not None]

    def cancel_sweep(self, sweep_id: str) -> Sweep:
        """Cancel all of its jobs that have not ended, in one step. Raises: NotFound."""
        if self._call("sweep_cancel", sweep_id) is None:
            raise _missing(sweep_id)
        return self.get_sweep(sweep_id)

    def delete_sweep(self, sweep_id: str) -> list[str]:
        """Forget a sweep and its jobs; their files are the caller's to remove.

        Returns:
            The ids of the jobs.

        Raises:
            NotFound: no such sweep. Conflict: some of its jobs have not ended.
        """
        kind, *rest = self._call("sweep_delete", sweep_id, CURSOR_S)
        if kind == b"missing":
            raise _missing(sweep_id)
        if kind == b"busy":
            raise Conflict(f"{rest[0]} jobs of {sweep_id} have not ended; cancel it first")
        return [job_id.decode() for job_id in rest]


def _sweep(sweep_id: str, answers: Sequence[Any]) -> Sweep:
    fields, *counts = answers
    if not fields:
        raise _missing(sweep_id)

    def text(name: bytes) -> str:
        return cast("str", fields[name].decode())

    halving = orjson.loads(fields[b"halving"]) if b"halving" in fields else None
    return Sweep(
        id=sweep_id,
        name=text(b"name"),
        plan=orjson.loads(fields[b"plan"]),
        dataset=text(b"dataset"),
        base=orjson.loads(fields[b"base"]),
        objective=text(b"objective"),
        direction=text(b"direction"),
        created_at_ms=int(fields[b"created_at_ms"]),
        cancelled_at_ms=int(fields[b"cancelled_at_ms"]) if b"cancelled_at_ms" in fields else None,
        counts=dict(zip(Status, counts, strict=True)),
        halving=None
        if halving is None
        else Halving(tuple(halving["rungs"]), halving["reduction"], halving["maximize"]),
        dataset_name=text(b"dataset_name" if b"dataset_name" in fields else b"dataset"),
    )


def _member(values: Sequence[bytes | None]) -> Member:
    found = dict(zip(_FIELDS, values, strict=True))

    def text(name: str) -> str:
        return (found[name] or b"").decode()

    def document(name: str) -> Any:
        value = found[name]
        return None if value is None else orjson.loads(value)

    rung = found["rung"]
    return Member(
        id=text("id"),
        name=text("name"),
        status=Status(text("status")),
        status_reason=text("status_reason") or None,
        point=document("point") or {},
        metrics=document("metrics") or {},
        progress=document("progress"),
        error=document("error"),
        rung=None if rung is None else int(rung),
    )


def _missing(sweep_id: str) -> NotFound:
    return NotFound(f"no sweep {sweep_id[:80]!r}")
