"""A job's event stream without gaps or duplicates, over any number of lost connections and service restarts."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator

from mlpq.api import RETRY_STATUS, Api, job_path, pause_s
from mlpq.errors import ServiceUnreachableError, error_from
from mlpq.events import EndEvent, Event, ResetEvent, event_from
from mlpq.sse import EventParser
from mlpq.transport import ConnectionLostError, Request, Stream

NOTHING_MORE = 204
"""The status of a stream that starts behind the end of its job."""


class _TryAgainError(Exception):
    """This connection is over; another one may do better."""


class Watch:
    """Where a watcher stands: the last event it has handed out, and since when it has heard nothing.

    Args:
        api: the service.
        job_id: whose events.
        after: start behind this event id; 0 replays the job from its beginning.
        patience_s: seconds without any answer after which the watch gives up.
    """

    def __init__(self, api: Api, job_id: str, after: int, patience_s: float) -> None:
        self.api = api
        self.job_id = job_id
        self.last_id = after
        self.patience_s = patience_s
        self._attempt = 0
        self._heard_at = time.monotonic()

    async def events(self) -> AsyncGenerator[Event]:
        """Events in order, each once, until the job has ended.

        Raises:
            NotFoundError: no such job.
            ServiceUnreachableError: silence for longer than `patience_s`.
        """
        while True:
            try:
                async with self.api.transport.stream(self._request()) as stream:
                    if stream.status == NOTHING_MORE:
                        return
                    async for event in self._read(stream):
                        yield event
                        if isinstance(event, EndEvent):
                            return
            except (ConnectionLostError, _TryAgainError) as error:
                reason = str(error)
            else:
                reason = "the stream ended early"
            await self._pause(reason)

    def _request(self) -> Request:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self.last_id:
            headers["Last-Event-ID"] = str(self.last_id)
        return Request("GET", f"{job_path(self.job_id)}/events", {}, headers)

    async def _read(self, stream: Stream) -> AsyncIterator[Event]:
        if stream.status in RETRY_STATUS or stream.status >= 500:
            raise _TryAgainError(f"HTTP {stream.status}")
        if stream.status >= 400:
            raise error_from(stream.status, b"".join([chunk async for chunk in stream.chunks]))
        parser = EventParser(str(self.last_id or ""))
        async for chunk in stream.chunks:
            self._heard_at, self._attempt = time.monotonic(), 0
            for raw in parser.feed(chunk):
                event = event_from(raw, self.last_id)
                if isinstance(event, ResetEvent) or event.id > self.last_id:
                    self.last_id = event.id
                    yield event

    async def _pause(self, reason: str) -> None:
        if time.monotonic() - self._heard_at > self.patience_s:
            raise ServiceUnreachableError(self.api.transport.url, reason)
        await self.api.transport.sleep(pause_s(self._attempt))
        self._attempt += 1
