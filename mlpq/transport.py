"""How requests travel. Everything above this file is written once, as coroutines, for blocking and asyncio use alike.

`BlockingTransport` does its I/O inside coroutines that never suspend, so `run` drives any of them to its end with a
single `send(None)`: no event loop, no thread. `mlpq.asyncio_transport`, whose coroutines do suspend, serves asyncio.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ParamSpec, Protocol, TypeVar

import httpx2

from mlpq.addresses import is_loopback
from mlpq.config import HINT as CONFIG_HINT
from mlpq.errors import InvalidArgumentError
from mlpq.sending import ProgressCallback, counted

P = ParamSpec("P")
T = TypeVar("T")

Body = bytes | Callable[[], Iterator[bytes]]
"""Bytes, or a function that starts the same stream of bytes again for each attempt."""

STREAM_SILENCE_S = 45.0
"""Seconds; the service pings every 15 s, so a stream that is silent for longer is lost."""


@dataclass(frozen=True)
class Request:
    """One HTTP request, in plain values.

    `length` is the number of bytes of a streamed body; `progress` hears how many of them are sent.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    length: int | None = None
    progress: ProgressCallback | None = None

    def with_headers(self, **headers: str) -> Request:
        """The same request with more headers; underscores in the names stand for hyphens."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(self, headers={**self.headers, **more})


@dataclass(frozen=True)
class Reply:
    """A complete answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True)
class Stream:
    """An answer whose body is still coming."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


class ConnectionLostError(Exception):
    """The request or its answer did not get through; raised by transports, handled by `mlpq.api`."""


class Transport(Protocol):
    """What `mlpq.api` needs to reach a service."""

    url: str
    timeout_s: float

    async def send(self, request: Request) -> Reply:
        """Send, and return the whole answer. Raises ConnectionLostError."""

    def stream(self, request: Request) -> AbstractAsyncContextManager[Stream]:
        """Send, and hand out the body as it comes. Raises ConnectionLostError, also from `chunks`."""

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""

    async def work(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do what reads or writes files, or computes for long."""

    async def close(self) -> None:
        """Give the connections back."""


class BlockingTransport:
    """Requests over `httpx2.Client`, on the caller's thread.

    Args:
        url: the service's address without a trailing slash.
        headers: sent with every request.
        timeout_s: seconds without a byte, for connecting, sending and receiving each.

    Proxies of the environment are used, but never for a service on this machine.
    """

    def __init__(self, url: str, headers: Mapping[str, str], timeout_s: float) -> None:
        self.url, self.timeout_s = url, timeout_s
        self._silence = silence(timeout_s)
        self._http = httpx2.Client(**connection(url, headers, timeout_s))

    async def send(self, request: Request) -> Reply:
        """Send, and return the whole answer."""
        try:
            answer = self._http.send(self._build(request))
        except httpx2.TransportError as error:
            raise ConnectionLostError(reason(error)) from error
        return Reply(answer.status_code, lowered(answer.headers), answer.content)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Stream]:
        """Send, and hand out the body as it comes."""
        try:
            answer = self._http.send(self._build(request, self._silence), stream=True)
        except httpx2.TransportError as error:
            raise ConnectionLostError(reason(error)) from error
        try:
            yield Stream(answer.status_code, lowered(answer.headers), self._chunks(answer))
        finally:
            answer.close()

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)

    async def work(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do it here and now."""
        return call(*args, **kwargs)

    async def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _build(self, request: Request, timeout: httpx2.Timeout | None = None) -> httpx2.Request:
        body: Any = request.body
        if callable(body):
            body = counted(body(), request.length or 0, request.progress)
        return build(self._http, request, body, timeout)

    async def _chunks(self, answer: httpx2.Response) -> AsyncIterator[bytes]:
        try:
            for chunk in answer.iter_bytes():
                yield chunk
        except httpx2.TransportError as error:
            raise ConnectionLostError(reason(error)) from error


def connection(url: str, headers: Mapping[str, str], timeout_s: float) -> dict[str, Any]:
    """How an HTTP client of either kind is made. Reading certificates takes longer than many a call on loopback.

    Raises:
        InvalidArgumentError: that is no address.
    """
    try:
        host = httpx2.URL(url).host
    except httpx2.InvalidURL as error:
        raise InvalidArgumentError(f"url is {url!r}, which is no address: {error}", CONFIG_HINT) from error
    local = is_loopback(host)
    verified = not (local and url.startswith("http:"))
    return {
        "base_url": url,
        "headers": dict(headers),
        "timeout": timeout_s,
        "trust_env": not local,
        "verify": verified,
    }


def silence(timeout_s: float) -> httpx2.Timeout:
    """The limits of a stream of events."""
    return httpx2.Timeout(timeout_s, read=STREAM_SILENCE_S)


def build(
    http: httpx2.Client | httpx2.AsyncClient, request: Request, body: Any, timeout: httpx2.Timeout | None
) -> httpx2.Request:
    """A request of the HTTP library; the body is bytes, or an iterator of its client's kind."""
    headers = dict(request.headers)
    if request.length is not None:
        headers["Content-Length"] = str(request.length)
    extra: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
    query = dict(request.query) or None
    return http.build_request(request.method, request.path, params=query, headers=headers, content=body, **extra)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Drive a coroutine over a blocking transport to its end, and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine over a blocking transport must not suspend")


def iterate(items: AsyncIterator[T]) -> Generator[T]:
    """The same items, for an ordinary `for`; closing this iterator closes the other."""
    try:
        while True:
            try:
                yield run(_next(items))
            except StopAsyncIteration:
                return
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            run(close())


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)


def lowered(headers: httpx2.Headers) -> dict[str, str]:
    """Headers by name in lower case."""
    return {name.lower(): value for name, value in headers.items()}


def reason(error: Exception) -> str:
    """What a lost connection is told with."""
    return str(error) or type(error).__name__
