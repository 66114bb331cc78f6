"""The one reader of event streams in this process, and what it holds for all clients that follow the same job.

A thousand clients of one job cost one Redis read per batch of events: the writers publish the job's id on a channel,
the reader fetches what is new of every followed job in one pipeline, encodes it once, and wakes the clients. A slow
poll finds what a lost notification did not announce. Clients keep cursors of their own (`service.sse`), so one that
does not read holds nobody up; one that fell behind what is held here reads the stream itself, page by page.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from typing import Protocol, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from kernels.errors import StoreUnavailable
from service.metrics import Metrics
from store import keys

POLL_S = 1.0
"""Between looks at every followed job, in case a notification was lost."""

IDLE_S = 30.0
"""A job that nobody follows is kept this long, for clients that reconnect."""

RING_BYTES = 4 * 1024 * 1024
"""Encoded events held per job; older ones are read from the stream when somebody needs them."""

CHUNK_BYTES = 256 * 1024
"""At most this much (and one event) goes to a connection at once, so that its buffer stays small."""

MEMOS = 16
"""Joined chunks held per job: clients that follow stand at the same few places."""

TAIL_EVENTS = 4000
"""Read at once when the first client of a job arrives."""

PAGE_EVENTS = 1000
"""Read per look, and by a client that is behind."""

PING_S = 15.0
"""A comment is sent after this silence, so that proxies keep the connection."""

STALL_S = 60.0
"""A client that takes no byte for this long is disconnected; it resumes with Last-Event-ID."""

OPEN_S = 0.9
"""A first client waits this long for the job's events; then the store counts as unreachable."""

Entry = tuple[bytes, dict[bytes, bytes]]
"""An event as Redis answers it: stream id, fields."""

log = logging.getLogger("mlpq.service")


class Listener(Protocol):
    """A client as the reader sees it."""

    def wake(self) -> None:
        """There may be something to send."""

    def tick(self, now: float) -> None:
        """Called every second: time to ping, or to give a stalled connection up."""


class Channel:
    """The newest events of one job, encoded once for everybody: `first`, `first + 1`, … `last`."""

    __slots__ = ("_blocks", "_bytes", "_memo", "ended", "first", "idle_since", "job_id", "listeners", "loaded")

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.first = 1
        self.ended = False
        self.loaded = asyncio.Event()
        self.listeners: set[Listener] = set()
        self.idle_since = time.monotonic()
        self._blocks: list[bytes] = []
        self._bytes = 0
        self._memo: dict[int, tuple[bytes, int]] = {}

    @property
    def last(self) -> int:
        """Id of the newest event held; `first - 1` while there is none."""
        return self.first + len(self._blocks) - 1

    def extend(self, events: Iterable[tuple[int, str, bytes]]) -> int:
        """Append `(id, type, encoded)` triples; what is held already is passed over. Returns how many were new."""
        added = 0
        for number, kind, block in events:
            if number <= self.last:
                continue
            if number != self.last + 1:  # trimmed between two looks: hold what follows the gap
                self._blocks, self._bytes, self.first = [], 0, number
            self._blocks.append(block)
            self._bytes += len(block)
            self.ended = kind == "end"
            added += 1
        if added:
            self._memo.clear()
            self._shorten()
        return added

    def after(self, cursor: int) -> tuple[bytes, int]:
        """The next chunk of held events after `cursor`, and the number of its last one.

        It is joined once for all clients that stand at the same place.
        """
        found = self._memo.get(cursor)
        if found is None:
            start = stop = max(0, cursor + 1 - self.first)
            size = 0
            while stop < len(self._blocks) and size < CHUNK_BYTES:
                size += len(self._blocks[stop])
                stop += 1
            found = b"".join(self._blocks[start:stop]), self.first + stop - 1
            if len(self._memo) >= MEMOS:
                del self._memo[next(iter(self._memo))]
            self._memo[cursor] = found
        return found

    def block(self, number: int) -> bytes:
        """One held event."""
        return self._blocks[number - self.first]

    def wake(self) -> None:
        """Tell every client."""
        for listener in self.listeners:
            listener.wake()

    def _shorten(self) -> None:
        if self._bytes <= RING_BYTES:
            return
        drop = 0
        while self._bytes > RING_BYTES // 2 and drop < len(self._blocks) - 1:
            self._bytes -= len(self._blocks[drop])
            drop += 1
        del self._blocks[:drop]
        self.first += drop


def encode(number: int, kind: str, data: bytes) -> bytes:
    """One server-sent event; its first line is the id."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (number, kind.encode(), data.replace(b"\n", b"\ndata: "))


class Feed:
    """Channels of all followed jobs, and the tasks that fill them."""

    def __init__(self, redis: Redis, metrics: Metrics) -> None:
        self._redis = redis
        self._metrics = metrics
        self._channels: dict[str, Channel] = {}
        self._dirty: set[str] = set()
        self._work = asyncio.Event()
        self._followed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.listeners: set[Listener] = set()
        self.closing = False

    def start(self) -> None:
        """Begin to read; needs the running event loop."""
        self._tasks = [asyncio.create_task(job()) for job in (self._listen, self._read, self._tick)]

    def drain(self) -> None:
        """Let every stream end: their clients reconnect, to whoever answers then."""
        self.closing = True
        for listener in tuple(self.listeners):
            listener.wake()

    async def stop(self) -> None:
        """End the tasks and the connection."""
        self.drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._redis.aclose()

    def knows(self, job_id: str) -> bool:
        """Whether somebody follows the job already, so that it need not be looked up again."""
        channel = self._channels.get(job_id)
        return channel is not None and channel.last > 0 and not channel.ended

    async def open(self, job_id: str) -> Channel:
        """The job's channel, filled.

        Raises:
            StoreUnavailable: its events could not be read in time.
        """
        channel = self._channels.get(job_id)
        if channel is None:
            channel = self._channels[job_id] = Channel(job_id)
            self._followed.set()
        channel.idle_since = time.monotonic()
        if not channel.loaded.is_set():
            self._mark(job_id)
            try:
                async with asyncio.timeout(OPEN_S):
                    await channel.loaded.wait()
            except TimeoutError:
                raise StoreUnavailable from None
        return channel

    def join(self, listener: Listener, channels: Iterable[Channel]) -> None:
        """From now on `listener` is woken by these channels."""
        self.listeners.add(listener)
        self._metrics.streams.set(len(self.listeners))
        for channel in channels:
            self._channels.setdefault(channel.job_id, channel)
            self._followed.set()
            channel.listeners.add(listener)
            self._mark(channel.job_id)

    def leave(self, listener: Listener, channels: Iterable[Channel]) -> None:
        """The opposite of `join`."""
        self.listeners.discard(listener)
        self._metrics.streams.set(len(self.listeners))
        for channel in channels:
            channel.listeners.discard(listener)
            channel.idle_since = time.monotonic()

    async def page(self, job_id: str, after: int) -> list[tuple[int, str, bytes]] | None:
        """Up to `PAGE_EVENTS` events after `after` from the stream itself; None (after a pause): the store is away."""
        try:
            found = await self._redis.xrange(keys.events(job_id), f"(0-{after}", "+", PAGE_EVENTS)
        except (RedisError, OSError):
            await asyncio.sleep(POLL_S)
            return None
        return [_encoded(entry) for entry in cast("list[Entry]", found)]

    def _mark(self, job_id: str) -> None:
        self._dirty.add(job_id)
        self._work.set()

    async def _listen(self) -> None:
        """Notifications: each names a job that has new events. Nobody asks for them while no job is followed."""
        while True:
            await self._followed.wait()
            with contextlib.suppress(RedisError, OSError):
                await self._follow_notifications()
            await asyncio.sleep(POLL_S / 4)

    async def _follow_notifications(self) -> None:
        async with self._redis.pubsub() as subscription:
            await subscription.subscribe(keys.NOTIFY)
            while self._channels:
                message = await subscription.get_message(timeout=POLL_S)
                if message is None:
                    continue
                if message["type"] == "subscribe":  # what came before was told to nobody
                    for job_id in self._channels:
                        self._mark(job_id)
                elif (job_id := message["data"].decode()) in self._channels:
                    self._mark(job_id)
            self._followed.clear()

    async def _read(self) -> None:
        looked = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._work.wait()
            self._work.clear()
            followed: list[Channel] = []
            if time.monotonic() - looked >= POLL_S:
                looked = time.monotonic()
                followed = [c for c in self._channels.values() if c.listeners and not c.ended]
                self._dirty.update(channel.job_id for channel in followed)
            try:
                await self._look()
                await self._end_deleted(followed)
            except (RedisError, OSError) as error:
                log.warning("event streams: the store cannot be reached: %s", error)
                await asyncio.sleep(POLL_S / 4)

    async def _look(self) -> None:
        """Fetch what is new of all marked jobs in one round trip; what was not finished stays marked."""
        wanted = [self._channels[job_id] for job_id in self._dirty if job_id in self._channels]
        self._dirty.intersection_update(channel.job_id for channel in wanted)
        if not wanted:
            return
        async with self._redis.pipeline(transaction=False) as pipe:
            for channel in wanted:
                key = keys.events(channel.job_id)
                if channel.loaded.is_set():
                    pipe.xrange(key, f"(0-{channel.last}", "+", PAGE_EVENTS)
                else:
                    pipe.xrevrange(key, "+", "-", TAIL_EVENTS)
            self._dirty.clear()
            try:
                answers = await pipe.execute()
            except BaseException:
                self._dirty.update(channel.job_id for channel in wanted)
                raise
        for channel, entries in zip(wanted, answers, strict=True):
            self._fill(channel, entries)

    async def _end_deleted(self, followed: Iterable[Channel]) -> None:
        """A job that was deleted before its `end` was read has nothing more to say: its clients are let go."""
        waiting = [channel for channel in followed if not channel.ended]
        if not waiting:
            return
        async with self._redis.pipeline(transaction=False) as pipe:
            for channel in waiting:
                pipe.exists(keys.events(channel.job_id))
            there = await pipe.execute()
        for channel, exists in zip(waiting, there, strict=True):
            if not exists:
                channel.ended = True
                channel.wake()

    def _fill(self, channel: Channel, entries: list[Entry]) -> None:
        if not channel.loaded.is_set():
            entries = entries[::-1]
            channel.first = _encoded(entries[0])[0] if entries else 1
        elif len(entries) == PAGE_EVENTS:
            self._mark(channel.job_id)
        added = channel.extend(map(_encoded, entries))
        channel.loaded.set()
        if added:
            self._metrics.events.inc(added)
            channel.wake()

    async def _tick(self) -> None:
        """Every second: pings, stalled connections, channels that nobody follows."""
        while True:
            await asyncio.sleep(1.0)
            now = time.monotonic()
            for listener in tuple(self.listeners):
                listener.tick(now)
            idle = [c for c in self._channels.values() if not c.listeners and now - c.idle_since > IDLE_S]
            for channel in idle:
                del self._channels[channel.job_id]


def _encoded(entry: Entry) -> tuple[int, str, bytes]:
    name, fields = entry
    number, kind = int(name.partition(b"-")[2]), fields[b"type"].decode()
    return number, kind, encode(number, kind, fields[b"data"])
