"""Requests on an event loop: `mlpq.transport.Transport` over `httpx2.AsyncClient`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, TypeVar

import httpx2

from mlpq.transport import ConnectionLostError, Reply, Request, Stream, build, connection, lowered, reason, silence

P = ParamSpec("P")
T = TypeVar("T")


class AsyncioTransport:
    """Requests over `httpx2.AsyncClient`; files are read and written on threads beside the loop.

    Args:
        url: the service's address without a trailing slash.
        headers: sent with every request.
        timeout_s: seconds without a byte, for connecting, sending and receiving each.
    """

    def __init__(self, url: str, headers: Mapping[str, str], timeout_s: float) -> None:
        self.url, self.timeout_s = url, timeout_s
        self._silence = silence(timeout_s)
        self._http = httpx2.AsyncClient(**connection(url, headers, timeout_s))

    async def send(self, request: Request) -> Reply:
        """Send, and return the whole answer."""
        try:
            answer = await self._http.send(self._build(request))
        except httpx2.TransportError as error:
            raise ConnectionLostError(reason(error)) from error
        return Reply(answer.status_code, lowered(answer.headers), answer.content)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Stream]:
        """Send, and hand out the body as it comes."""
        try:
            answer = await self._http.send(self._build(request, self._silence), stream=True)
        except httpx2.TransportError as error:
            raise ConnectionLostError(reason(error)) from error
        try:
            yield Stream(answer.status_code, lowered(answer.headers), _chunks(answer))
        finally:
            await answer.aclose()

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    async def work(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do it on a thread, while the loop goes on."""
        return await asyncio.to_thread(call, *args, **kwargs)

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    def _build(self, request: Request, timeout: httpx2.Timeout | None = None) -> httpx2.Request:
        body: Any = _pieces(request) if callable(request.body) else request.body
        return build(self._http, request, body, timeout)


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """A streamed body: pieces are read on a thread, `progress` is told on the loop's."""
    assert callable(request.body)  # noqa: S101 - for the type checker
    pieces, sent = request.body(), 0
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece
        sent += len(piece)
        if request.progress is not None:
            request.progress(sent, request.length or 0)


async def _chunks(answer: httpx2.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_bytes():
            yield chunk
    except httpx2.TransportError as error:
        raise ConnectionLostError(reason(error)) from error
