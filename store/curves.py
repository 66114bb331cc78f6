"""The curves of jobs: their metric events as columns, held in memory up to the last event that was read.

The log of a job only grows, so that what was read once is never read again; of a job whose log has ended nothing is.
Of a long one the columns are kept when it has ended, by its worker or else by the first who reads it: they are read
fifty times as fast as its events.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from operator import itemgetter
from typing import Any, cast

import numpy as np
import orjson
from redis import Redis

from kernels.errors import DiskFull, InvalidInput, StoreUnavailable
from store import keys, scripts
from store.connection import redis_errors
from store.packed import pack, unpack
from store.thinning import Places, Values, thin

READ_COUNT = 5000
"""Events of one read."""

HELD_BYTES = 64_000_000
"""Memory for columns; those that were asked for longest ago are forgotten first."""

KEPT_POINTS = 1000
"""Of a curve whose columns are kept beside its events."""

STEP = "step"

Entry = tuple[bytes, list[bytes]]
"""An event as Redis sends it: its id, and names and values of its fields in turn."""


@dataclass(frozen=True)
class Columns:
    """The metric history of a job up to an event, as columns of equal length; NaN where a point lacks a value."""

    columns: Mapping[str, Values] = field(default_factory=lambda: {STEP: np.array([], np.int64)})
    last_event: int = 0
    ended: bool = False

    @property
    def length(self) -> int:
        """Points."""
        return len(self.columns[STEP])

    @property
    def bytes(self) -> int:
        """Memory."""
        return sum(column.nbytes for column in self.columns.values())

    def only(self, names: Iterable[str]) -> Columns:
        """`step` and those of the columns `names` that there are."""
        kept = [STEP, *(name for name in names if name in self.columns)]
        return replace(self, columns={name: self.columns[name] for name in kept})

    def rows(self, after_step: int = -1, until_step: int | None = None, max_points: int | None = None) -> Columns:
        """The points of later steps than `after_step`, up to `until_step`.

        Where they are more than `max_points`, every column's extremes stay.

        Raises:
            InvalidInput: max_points below 2.
        """
        steps = self.columns[STEP]
        chosen = np.flatnonzero((steps > after_step) & (steps <= (math.inf if until_step is None else until_step)))
        found = self._only(chosen)
        if max_points is None:
            return found
        if max_points < 2:
            raise InvalidInput.at("/query/max_points", f"is {max_points}; must be 2 or more")
        return found._only(thin([one for name, one in found.columns.items() if name != STEP] or [steps], max_points))

    def curve(self, name: str, after_step: int, until_step: int | None, max_points: int) -> tuple[Values, Values]:
        """Steps and values of one figure, where it has any, thinned by its own extremes alone."""
        values = self.columns.get(name, np.full(self.length, math.nan))
        one = Columns({STEP: self.columns[STEP], name: values})._only(np.flatnonzero(~np.isnan(values)))
        found = one.rows(after_step, until_step, max_points).columns
        return found[STEP], found[name]

    def lists(self) -> dict[str, list[Any]]:
        """The columns as lists, None where a point lacks a value."""
        return {name: _list(column) for name, column in self.columns.items()}

    def _only(self, chosen: Places) -> Columns:
        return Columns({name: column[chosen] for name, column in self.columns.items()}, self.last_event, self.ended)


class Curves:
    """The curves of all jobs, for reading. May be used from several threads."""

    def __init__(self, redis: Redis, held_bytes: int = HELD_BYTES) -> None:
        self._held_bytes = held_bytes
        self._redis = Redis(connection_pool=redis.connection_pool)
        self._redis.set_response_callback("XRANGE", lambda entries, **_: entries)  # tens of thousands: as they come
        self._keep = redis.register_script(scripts.source("keep"))
        self._lock = threading.Lock()
        self._held: OrderedDict[str, Columns] = OrderedDict()

    def of(self, job_id: str) -> Columns:
        """The curve of a job as it is now; an empty one of an unknown job. Raises: StoreUnavailable."""
        with self._lock:
            found = self._held.get(job_id, Columns())
        if found.ended:
            self._hold(job_id, found)
            return found
        if not found.last_event and (kept := self._kept(job_id)):
            self._hold(job_id, kept)
            return kept
        while entries := self._after(job_id, found.last_event):
            found = _continued(found, entries)
            if len(entries) < READ_COUNT:
                break
        if found.last_event:
            self._hold(job_id, found)
        if found.ended and found.length >= KEPT_POINTS:
            with suppress(StoreUnavailable, DiskFull), redis_errors():  # its next reader does without
                self._keep(args=[job_id, pack(found.columns)])
        return found

    def keep(self, job_id: str) -> None:
        """Read a curve that has ended, so that the columns of a long one are kept. Raises: StoreUnavailable."""
        self.of(job_id)

    def _kept(self, job_id: str) -> Columns | None:
        with redis_errors():
            content = cast("bytes | None", self._redis.get(keys.curve(job_id)))
        return None if content is None else Columns(unpack(content), ended=True)

    def _after(self, job_id: str, event: int) -> list[Entry]:
        with redis_errors():
            found = self._redis.xrange(keys.events(job_id), min=f"(0-{event}", max="+", count=READ_COUNT)
        return cast("list[Entry]", found)

    def _hold(self, job_id: str, columns: Columns) -> None:
        with self._lock:
            self._held[job_id] = columns
            self._held.move_to_end(job_id)
            total = sum(one.bytes for one in self._held.values())
            while total > self._held_bytes and len(self._held) > 1:
                total -= self._held.popitem(last=False)[1].bytes


def _continued(before: Columns, entries: Sequence[Entry]) -> Columns:
    """The columns with the points of further events. Fields stand in the order in which `log.lua` writes them."""
    points = orjson.loads(b"[" + b",".join([fields[3] for _, fields in entries if fields[1] == b"metric"]) + b"]")
    last, fields = entries[-1]
    number, ended = int(last.partition(b"-")[2]), fields[1] == b"end"
    if not points:
        return Columns(before.columns, number, ended)
    added = {name: _column(points, name) for name in _names(points)}
    if before.length:
        names = dict.fromkeys(chain(before.columns, added))
        added = {name: np.concatenate([_part(one, name) for one in (before.columns, added)]) for name in names}
    return Columns(added, number, ended)


def _part(columns: Mapping[str, Values], name: str) -> Values:
    found = columns.get(name)
    return np.full(len(columns[STEP]), math.nan) if found is None else found


def _names(points: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """What the points have, `step` first; nearly all have the same."""
    return dict.fromkeys(chain([STEP], *dict.fromkeys(map(tuple, points))))


def _column(points: Sequence[Mapping[str, Any]], name: str) -> Values:
    try:
        found = np.array([*map(itemgetter(name), points)])
    except KeyError:
        found = np.array([point.get(name) for point in points])
    return found.astype(np.float64) if found.dtype == object else found  # None becomes NaN


def _list(column: Values) -> list[Any]:
    return [None if value != value else value for value in column.tolist()]  # NaN alone is not itself
