"""The outermost layer: guard, request id, security headers, one access log line and one measured latency."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

import orjson

from service.guard import Guard
from service.metrics import Metrics
from service.problems import problem_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

_HEADERS = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
]

LINGER_S = 1.0
LINGER_BYTES = 32 * 1024 * 1024
"""How long, and for how many bytes, a body that nobody wants is read before its connection is closed."""

log = logging.getLogger("mlpq.service")


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(self, app: App, guard: Guard, metrics: Metrics) -> None:
        self._app, self._guard, self._metrics = app, guard, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; whatever happens inside, the answer is a response with a request id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        scope.setdefault("state", {}).update(request_id=exchange.request_id, send_body=exchange.send_body)
        if scope["method"] == "HEAD":  # a GET whose body the server below us leaves out, for it knows the real method
            scope["state"]["head"] = True
            scope = {**scope, "method": "GET"}
        try:
            scope["state"]["owner"] = self._guard.check(scope)
            await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:  # noqa: BLE001 - the last line of defence: nothing leaves as a bare 500
            await self._answer(error, exchange, scope)
        finally:
            self._finish(exchange, scope)

    async def _answer(self, error: Exception, exchange: _Exchange, scope: Scope) -> None:
        problem = problem_of(error)
        if problem.status == 500:
            log.error("request %s failed", exchange.request_id, exc_info=error)
        if not exchange.status:
            await problem.response(scope["path"])(scope, exchange.receive, exchange.send)

    def _finish(self, exchange: _Exchange, scope: Scope) -> None:
        seconds = time.perf_counter() - exchange.started
        route = getattr(scope.get("route"), "path", "(none)")
        waited = scope["state"].get("waited", False)
        self._metrics.request(exchange.method, route, exchange.status, None if waited else seconds)
        write_access_line(
            {
                "time": datetime.now(UTC),
                "request_id": exchange.request_id,
                "client": scope["client"][0] if scope.get("client") else None,
                "method": exchange.method,
                "path": scope["path"][:200],
                "status": exchange.status,
                "bytes": exchange.bytes,
                "ms": round(seconds * 1000, 2),
            }
        )


class _Exchange:
    """One request and its answer as they pass: adds the headers, counts the bytes.

    An answer may come before the body has been read: it was too long, or nobody wanted it. Then the connection is
    closed behind the answer, but not at once: closing on a sender that is still sending would destroy the answer.
    """

    __slots__ = ("_receive", "_send", "_unread", "bytes", "method", "request_id", "started", "status")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._unread = any(_announces_body(name, value) for name, value in scope["headers"])
        self.started = time.perf_counter()
        self.method: str = scope["method"]
        self.request_id = "req_" + secrets.token_hex(8)
        self.status = 0
        self.bytes = 0

    async def receive(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        if not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = self._headers(message)
            await self._send(message)
            return
        self.bytes += len(message.get("body", b""))
        if self._unread and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def send_body(self, body: bytes) -> None:
        """One more part of an answer that has begun, without the layers between: for streams with many parts."""
        self.bytes += len(body)
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    def _headers(self, message: MutableMapping[str, Any]) -> list[tuple[bytes, bytes]]:
        headers = list(message.get("headers", []))
        present = {name.lower() for name, _ in headers}
        headers += [header for header in _HEADERS if header[0] not in present]
        headers.append((b"x-request-id", self.request_id.encode()))
        if self._unread:
            headers.append((b"connection", b"close"))
        return headers

    async def _linger(self) -> None:
        """Throw away what still comes, for a moment, so that the sender reads the answer."""
        size = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while self._unread and size < LINGER_BYTES:
                    size += len((await self.receive()).get("body", b""))


def _announces_body(name: bytes, value: bytes) -> bool:
    return name == b"transfer-encoding" or (name == b"content-length" and value != b"0")


def write_access_line(fields: dict[str, Any]) -> None:
    """One JSON object per line on standard output; never a header, a query or a body."""
    line = orjson.dumps(fields, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)
    try:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    except (BrokenPipeError, ValueError):
        return
