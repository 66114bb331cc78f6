"""Reading a job's event log: by number, without gaps, one round trip for any number of jobs.

Events are numbered 1, 2, 3, … per job, in the script that writes the state they report. A reader who asks for
what comes after number n and gets n+2 first knows that history was trimmed (`gap`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis import Redis
from redis import asyncio as redis_asyncio

from kernels.errors import MalformedInput
from store import keys
from store.connection import redis_errors

READ_COUNT = 1000
"""Most events per job in one read."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `data` is JSON exactly as stored, so that it can be passed on as it is."""

    id: int
    type: str
    data: bytes
    at_ms: int


def gap(after: int, events: Sequence[Event]) -> bool:
    """Whether events between `after` and the first of `events` are gone: the reader needs a `reset`."""
    return bool(events) and events[0].id > after + 1


class EventLog:
    """The event logs of all jobs, for reading."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    def read(self, job_id: str, after: int = 0, count: int = READ_COUNT) -> list[Event]:
        """Up to `count` events with numbers above `after`, in order; none for an unknown job.

        Raises:
            MalformedInput: `after` is no event number.
            StoreUnavailable: Redis is away.
        """
        with redis_errors():
            found = self.redis.xrange(keys.events(job_id), min=_start(after), max="+", count=count)
        return _events(found)

    def oldest_id(self, job_id: str) -> int | None:
        """The number of the first event that is still there, or None when there is none."""
        first = self.read(job_id, count=1)
        return first[0].id if first else None


async def read_many(
    redis: redis_asyncio.Redis, positions: Mapping[str, int], count: int = READ_COUNT
) -> dict[str, list[Event]]:
    """New events of many jobs in one round trip.

    Args:
        redis: an asyncio client.
        positions: for each job id the number of the last event already seen (0: from the start).
        count: most events per job.

    Returns:
        For each job that has any, its next events in order.

    Raises:
        MalformedInput: a position is no event number.
        StoreUnavailable: Redis is away.
    """
    if not positions:
        return {}
    starts = {job_id: _start(after) for job_id, after in positions.items()}
    with redis_errors():
        async with redis.pipeline(transaction=False) as pipe:
            for job_id, start in starts.items():
                pipe.xrange(keys.events(job_id), min=start, max="+", count=count)
            answers = await pipe.execute()
    return {job_id: _events(found) for job_id, found in zip(positions, answers, strict=True) if found}


def _start(after: int) -> str:
    if not 0 <= after < 2**63:
        raise MalformedInput(f"{after} is no event number; must be 0 or more")
    return f"(0-{after}"


def _number(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[2])


def _events(entries: Any) -> list[Event]:
    return [
        Event(
            id=_number(entry_id),
            type=fields[b"type"].decode(),
            data=fields[b"data"],
            at_ms=int(fields[b"at"]),
        )
        for entry_id, fields in cast("list[tuple[bytes, dict[bytes, bytes]]]", entries)
    ]
