"""One client's event stream: a cursor per job, bytes that the feed has encoded, pings, and an end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from service.feed import CHUNK_BYTES, PING_S, STALL_S, Channel, Feed

RETRY_MS = 1000
"""Browsers wait this long before they reconnect."""

STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}
_HEADERS = [(name.encode(), value.encode()) for name, value in STREAM_HEADERS.items()]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
SendBody = Callable[[bytes], Awaitable[None]]


class EventStream:
    """One connection that follows some jobs from given cursors until all of them have ended.

    Args:
        feed: the shared reader; its channels are filled.
        cursors: for each channel the id of the last event that the client has.
        prefixed: ids are `job:number/vector`, where the vector holds the cursors of all jobs in the order asked
            for, so that one Last-Event-ID resumes every job exactly.
    """

    def __init__(self, feed: Feed, cursors: dict[Channel, int], *, prefixed: bool) -> None:
        self._feed = feed
        self._cursors = cursors
        self._prefixed = prefixed
        self._awake = asyncio.Event()
        self._gone = False
        self._ping = False
        self._sent_at = time.monotonic()
        self._sending = False
        self._task: asyncio.Task[Any] | None = None

    def wake(self) -> None:
        """There may be something to send."""
        self._awake.set()

    def tick(self, now: float) -> None:
        """Ping after silence; give a connection up that takes nothing."""
        silent_s = now - self._sent_at
        if self._sending and silent_s > STALL_S and self._task is not None:
            self._gone = True
            self._task.cancel()
        elif silent_s >= PING_S and not self._sending:
            self._ping = True
            self._awake.set()

    @property
    def finished(self) -> bool:
        """Whether every job has ended and the client has all of its events."""
        return all(channel.ended and cursor == channel.last for channel, cursor in self._cursors.items())

    async def serve(self, receive: Receive, send: Send, send_body: SendBody) -> None:
        """Send until every job has ended, the client has gone, or the process stops.

        Args:
            receive, send: of the connection.
            send_body: sends one part of the body by the shortest way; a thousand clients make it worth having.
        """
        self._task = asyncio.current_task()
        watcher = asyncio.create_task(self._watch(receive))
        self._feed.join(self, self._cursors)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await self._write(send_body, b"retry: %d\n\n" % RETRY_MS)
            await self._follow(send_body)
            if not self._gone:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except asyncio.CancelledError:
            if not self._gone:
                raise
        finally:
            self._feed.leave(self, self._cursors)
            watcher.cancel()

    async def _follow(self, send_body: SendBody) -> None:
        while not self._gone and not self._feed.closing:
            self._awake.clear()
            chunk = await self._next()
            if chunk:
                await self._write(send_body, chunk)
            elif self.finished:
                return
            elif self._ping:
                await self._write(send_body, b": ping\n\n")
            else:
                await self._awake.wait()

    async def _write(self, send_body: SendBody, chunk: bytes) -> None:
        self._sending, self._ping = True, False
        await send_body(chunk)
        self._sending, self._sent_at = False, time.monotonic()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._awake.set()

    async def _next(self) -> bytes:
        """What the client does not have yet, for one of its jobs; empty if it has everything."""
        for channel, cursor in self._cursors.items():
            if cursor > channel.last:
                return await self._ahead(channel, cursor)
            if cursor + 1 < channel.first:
                return await self._behind(channel, cursor)
            if cursor < channel.last:
                return self._held(channel, cursor)
        return b""

    def _held(self, channel: Channel, cursor: int) -> bytes:
        if not self._prefixed:
            chunk, self._cursors[channel] = channel.after(cursor)
            return chunk
        blocks: list[bytes] = []
        size = 0
        while cursor < channel.last and size < CHUNK_BYTES:
            cursor += 1
            blocks.append(self._labelled(channel, cursor, channel.block(cursor)))
            size += len(blocks[-1])
        return b"".join(blocks)

    async def _behind(self, channel: Channel, cursor: int) -> bytes:
        """The feed no longer holds what this client needs next: read the stream itself."""
        events = await self._feed.page(channel.job_id, cursor)
        if events is None:
            return self._later()
        oldest = events[0][0] if events else channel.first
        if oldest != cursor + 1:
            return self._reset(channel, oldest - 1, "older events were trimmed")
        return b"".join(self._labelled(channel, number, block) for number, _, block in events)

    async def _ahead(self, channel: Channel, cursor: int) -> bytes:
        """The client has more than the feed: another process was quicker, or the store has lost its last moments."""
        events = await self._feed.page(channel.job_id, cursor - 1)
        if events is None:
            return self._later()
        if not events or events[0][0] != cursor:
            return self._reset(channel, 0, "the cursor was ahead of the job's events")
        return b"".join(self._labelled(channel, number, block) for number, _, block in events[1:])

    def _later(self) -> bytes:
        """Nothing now; look again instead of waiting for news."""
        self.wake()
        return b""

    def _labelled(self, channel: Channel, number: int, block: bytes) -> bytes:
        """`block` with the id line that this stream uses; moves the cursor."""
        self._cursors[channel] = number
        if not self._prefixed:
            return block
        return self._id_line(channel, number) + block[block.index(b"\n") + 1 :]

    def _id_line(self, channel: Channel, number: int) -> bytes:
        if not self._prefixed:
            return b"id: %d\n" % number
        vector = ",".join(map(str, self._cursors.values()))
        return f"id: {channel.job_id}:{number}/{vector}\n".encode()

    def _reset(self, channel: Channel, cursor: int, reason: str) -> bytes:
        self._cursors[channel] = cursor
        data = orjson.dumps({"job": channel.job_id, "after": cursor, "reason": reason})
        return self._id_line(channel, cursor) + b"event: reset\ndata: " + data + b"\n\n"
