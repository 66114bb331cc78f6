"""One API process on an embedded server of its own, without workers, and a lean HTTP client for loads."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from bench.deployment import free_port
from mlpq.embedded import EmbeddedServer

CONNECTIONS = 8


@dataclass(frozen=True)
class Api:
    """Where it answers, and what it stores in."""

    host: str
    port: int
    redis_url: str
    pid: int

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://{self.host}:{self.port}"


@contextlib.contextmanager
def api(**settings: str) -> Iterator[Api]:
    """Start both, wait until ready, stop both.

    Args:
        settings: variables of the API's environment.

    Raises:
        RuntimeError: not ready within 30 s.
    """
    with tempfile.TemporaryDirectory(prefix="mlpq-bench-") as folder:
        server = EmbeddedServer(Path(folder) / "valkey")
        server.start()
        port = free_port()
        options = ["--port", str(port), "--redis-url", server.url, "--data-dir", f"{folder}/data"]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MLPQ_")}
        environment |= settings
        with (Path(folder) / "api.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "service", *options], stdout=log, stderr=log, env=environment
            )
        try:
            running = Api("127.0.0.1", port, server.url, process.pid)
            _wait_ready(running, process)
            yield running
        finally:
            process.terminate()
            process.wait(30)
            server.stop()


def _wait_ready(running: Api, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx2.HTTPError):
            if httpx2.get(f"{running.url}/readyz").status_code == 200:
                return
        time.sleep(0.1)
    raise RuntimeError("the API was not ready within 30 s")


class Connection:
    """One kept-alive connection that posts JSON: cheap enough not to be what is measured."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._host, self._port = host, int(port)

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Send and wait for the answer: status and JSON."""
        content = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        self._writer.write(head.encode() + content)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        status = int(answer.split(b" ", 2)[1])
        length = int(answer.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return status, json.loads(await self._reader.readexactly(length))

    def close(self) -> None:
        """Disconnect."""
        self._writer.close()


async def post_jobs(url: str, bodies: Iterable[dict[str, Any]]) -> tuple[list[str], list[float]]:
    """Post one job after another over each of `CONNECTIONS` connections.

    Returns:
        Their ids as they were answered, and the milliseconds of each.

    Raises:
        RuntimeError: any answer but 202.
    """
    waiting = iter(bodies)
    ids: list[str] = []
    times: list[float] = []

    async def one() -> None:
        connection = Connection(url)
        await connection.open()
        for body in waiting:
            start = time.perf_counter()
            status, job = await connection.post("/v1/jobs", body)
            times.append((time.perf_counter() - start) * 1e3)
            if status != 202:
                raise RuntimeError(f"HTTP {status}: {job}")
            ids.append(job["id"])
        connection.close()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return ids, times
