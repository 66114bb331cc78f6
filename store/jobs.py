"""The job store: the users' side here, on top of the workers' side in `claims`. Redis is the only truth."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from kernels.errors import Conflict, IllegalTransition, InvalidInput, NotFound
from store import keys
from store.claims import Claims
from store.connection import redis_errors
from store.records import (
    Job,
    Json,
    NewJob,
    Page,
    check_priority,
    check_tags,
    encode,
    job_from_parts,
    new_job_parts,
)
from store.transitions import HELD, Action, Status, allowed_actions

IDEMPOTENCY_S = 24 * 3600
"""How long an `Idempotency-Key` is remembered."""

CURSOR_S = 3600
"""How long the id of a deleted job still works as a page cursor."""

PAGE_MAX = 100
"""Most records in one page."""


@dataclass(frozen=True, slots=True)
class QueueStatistics:
    """How much waits, how much runs, and for how long the oldest has waited."""

    queued: int
    held: int
    counts: dict[Status, int]
    oldest_wait_s: float | None
    workers: int


class JobStore(Claims):
    """Every operation on jobs, each one script, one round trip, one transaction.

    Raises from every method: StoreUnavailable when Redis is away, DiskFull when it cannot save.
    """

    def create(
        self, new: NewJob, idempotency: tuple[str, str] | None = None, job_id: str | None = None
    ) -> tuple[Job, bool]:
        """Accept a job: it is recorded, indexed, queued and announced to the workers when this returns.

        Args:
            new: what the user submits.
            idempotency: the client's key and the sha256 of the body it came with.
            job_id: one of `new_id`, where files of the job are in place already.

        Returns:
            The job, and whether this call made it (False: the same key and body came before).

        Raises:
            InvalidInput: the key came before with another body; bad tags or priority.
            NotFound: a data set is gone.
        """
        kind, parts = self._accept([new], [job_id or new_id()], idempotency)
        return job_from_parts(parts), kind == b"ok"

    def create_many(self, news: Sequence[NewJob], idempotency: tuple[str, str] | None = None) -> tuple[list[Job], bool]:
        """`create` for several jobs in one transaction: all of them are accepted, in this order, or none is.

        Returns:
            The jobs, and whether this call made them (False: the same key and body came before; those of its jobs
            that are still there).
        """
        kind, *found = self._accept(news, [new_id() for _ in news], idempotency)
        return self._accepted(found, len(news)), kind == b"ok"

    def _accepted(self, found: Sequence[Any], asked: int) -> list[Job]:
        """The jobs in an answer of `create.lua` to so many."""
        return self.find(found) if asked > 1 else [job_from_parts(parts) for parts in found if parts]

    def _accept(
        self,
        news: Sequence[NewJob],
        ids: Sequence[str],
        idempotency: tuple[str, str] | None,
        sweep: Sequence[str | bytes] = (),
        most: int = 0,
    ) -> Any:
        """The answer of `create.lua`, unless it is a refusal of jobs; of a sweep, the caller tells what that means."""
        key, sha256 = ("", "") if idempotency is None else (keys.idempotency(idempotency[0]), idempotency[1])
        jobs = chain.from_iterable(_creation(new, job_id) for new, job_id in zip(news, ids, strict=True))
        head = (key, sha256, IDEMPOTENCY_S, most, len(sweep), *sweep, len(news))
        answer = self._call("create", *head, *jobs, *self._wake_parts())
        if answer[0] == b"other":
            raise InvalidInput.at("/headers/Idempotency-Key", "was used before with another body")
        if answer[0] == b"no_dataset":
            raise NotFound(f"no data set {answer[1].decode()}")
        return answer

    def get(self, job_id: str) -> Job:
        """The record of a job. Raises: NotFound."""
        parts = self._call("get", job_id)
        if not parts:
            raise _missing(job_id)
        return job_from_parts(parts)

    def find(self, job_ids: Sequence[str]) -> list[Job]:
        """The records of these jobs, in this order; one that is not there is left out."""
        return [job_from_parts(parts) for parts in self._call_many("get", [[name] for name in job_ids]) if parts]

    def existing(self, job_ids: Sequence[str]) -> list[str]:
        """Those of these jobs that are there."""
        with redis_errors(), self.redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.exists(keys.job(job_id))
            return [job_id for job_id, there in zip(job_ids, pipe.execute(), strict=True) if there]

    def page(
        self,
        status: Status | None = None,
        tag: str | None = None,
        limit: int = 20,
        after: str | None = None,
        sweep: str | None = None,
    ) -> Page:
        """Jobs newest first, those after the job `after`, with this status, this tag and of this sweep.

        Raises:
            InvalidInput: a limit outside 1..100, or a cursor that names no job.
        """
        if not 1 <= limit <= PAGE_MAX:
            raise InvalidInput.at("/query/limit", f"is {limit}; must be 1..{PAGE_MAX}")
        index = keys.index(status, tag) if sweep is None else keys.swept(sweep, status)
        others = () if sweep is None or tag is None else (keys.index(None, tag),)
        answer = self._call("page", index, limit, after or "", tag or "", status or "", *others)
        if answer[0] == b"missing":
            raise InvalidInput.at("/query/after", f"names no job: {(after or '')[:80]!r}")
        return Page(tuple(job_from_parts(parts) for parts in answer[2:] if parts), bool(answer[1]))

    def patch(
        self,
        job_id: str,
        *,
        name: str | None = None,
        tags: Sequence[str] | None = None,
        metadata: Json | None = None,
        priority: int | None = None,
    ) -> Job:
        """Change what is given and keep the rest; a new priority moves a queued job. Raises: NotFound, InvalidInput."""
        parts: list[Any] = []
        if name is not None:
            parts += ["name", name]
        if tags is not None:
            parts += ["tags", encode(check_tags(tags))]
        if metadata is not None:
            parts += ["metadata", encode(metadata)]
        if priority is not None:
            parts += ["priority", check_priority(priority)]
        answer = self._call("patch", job_id, *parts)
        if not answer:
            raise _missing(job_id)
        return job_from_parts(answer)

    def delete(self, job_id: str) -> Job:
        """Forget a job that has ended, with its events; its files are the caller's to remove.

        Returns:
            The record as it last was.

        Raises:
            NotFound: no such job.
            Conflict: it has not ended.
        """
        answer = self._call("delete", job_id, CURSOR_S)
        if answer[0] == b"missing":
            raise _missing(job_id)
        if answer[0] == b"busy":
            raise Conflict(f"{job_id} is {answer[1].decode()}; only a job that has ended can be deleted")
        return job_from_parts(answer[1])

    def request(self, job_id: str, action: Action | str, reason: str = "") -> Job:
        """Ask to cancel, pause or resume. A queued or paused job moves at once; a held one when its worker lets go.

        Raises:
            NotFound: no such job.
            IllegalTransition: the job's status does not allow it; names what it allows.
        """
        asked = Action(action)
        answer = self._call("request", job_id, asked.value, reason, *self._wake_parts())
        if answer[0] == b"missing":
            raise _missing(job_id)
        if answer[0] == b"illegal":
            status = Status(answer[1].decode())
            allowed = allowed_actions(status)
            raise IllegalTransition(
                f"{job_id} is {status}; cannot {asked}; allowed: {', '.join(allowed) or 'nothing'}", allowed
            )
        return job_from_parts(answer[1])

    def counts(self) -> dict[Status, int]:
        """How many jobs have each status."""
        with redis_errors(), self.redis.pipeline(transaction=False) as pipe:
            for status in Status:
                pipe.zcard(keys.index(status))
            return dict(zip(Status, pipe.execute(), strict=True))

    def statistics(self) -> QueueStatistics:
        """The state of the queue right now."""
        waited_ms, workers, *numbers = self._call("statistics", *(status.value for status in Status))
        counts = dict(zip(Status, map(int, numbers), strict=True))
        return QueueStatistics(
            queued=counts[Status.QUEUED],
            held=sum(counts[status] for status in HELD),
            counts=counts,
            oldest_wait_s=None if waited_ms == b"" else int(waited_ms) / 1000,
            workers=int(workers),
        )

    def queue_position(self, job_id: str) -> int | None:
        """How many jobs will be started before this one, or None when it is not queued."""
        parts = self._call("get", job_id)
        return job_from_parts(parts).queue_position if parts else None


def _creation(new: NewJob, job_id: str) -> list[Any]:
    """A job as `create.lua` takes it."""
    parts = new_job_parts(new)
    return [job_id, " ".join(dict.fromkeys((new.dataset, *new.reads))), len(parts), *parts]


def new_id() -> str:
    """An id that no job has."""
    return f"job_{secrets.token_hex(10)}"


def _missing(job_id: str) -> NotFound:
    return NotFound(f"no job {job_id[:80]!r}")
