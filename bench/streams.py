"""1 000 clients follow one running job on one API process: is every event delivered to everybody, and how late?

The job is real: it is submitted, claimed and reported on through the store, as a worker does it, 20 metric events a
second. Each event carries the time at which it was written; a separate process holds the clients (plain sockets)
and takes the time at which each client had it. All processes share the machine's cores.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import time
from multiprocessing.connection import Connection as Pipe
from typing import cast

import httpx2
import uvloop

from bench.api import Api, api
from bench.harness import quantile, write_result
from store.connection import connect
from store.jobs import JobStore
from store.transitions import Status

CLIENTS = 1000
EVENTS, PER_S = 200, 20

TIME_LIMIT_S = 90

_WRITTEN = re.compile(rb'"written":([0-9.]+)')


class Follower(asyncio.Protocol):
    """One client: the delays in ms of all metric events until the stream ends."""

    def __init__(self, request: bytes) -> None:
        self.delays: list[float] = []
        self.opened = asyncio.Event()
        self.ended = asyncio.Event()
        self._request = request
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.time()
        self._rest += data
        if not self.opened.is_set():
            if not self._rest.startswith(b"HTTP/1.1 200 "[: len(self._rest)]):
                raise RuntimeError(self._rest.decode())
            if b"retry: " in self._rest:
                self.opened.set()
        end = self._rest.rfind(b"\n\n")
        if end >= 0:
            self.delays += [(now - float(written)) * 1e3 for written in _WRITTEN.findall(self._rest[:end])]
            self._rest = self._rest[end:]

    def eof_received(self) -> None:
        self.ended.set()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.ended.set()


def clients(running: Api, path: str, pipe: Pipe) -> None:
    """The process of all clients: says when they are connected, then sends every delay."""
    request = f"GET {path} HTTP/1.1\r\nHost: {running.host}:{running.port}\r\nConnection: close\r\n\r\n".encode()

    async def all_of_them() -> list[list[float]]:
        loop = asyncio.get_running_loop()
        followers = []
        for _ in range(CLIENTS):
            _, follower = await loop.create_connection(lambda: Follower(request), running.host, running.port)
            followers.append(follower)
        async with asyncio.timeout(TIME_LIMIT_S):
            await asyncio.gather(*(follower.opened.wait() for follower in followers))
            pipe.send("connected")
            await asyncio.gather(*(follower.ended.wait() for follower in followers))
        return [follower.delays for follower in followers]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        pipe.send(runner.run(all_of_them()))


def report(store: JobStore, pipe: Pipe) -> None:
    """Write the job's events at their times, then finish it."""
    claim = store.claim("bench")
    assert claim is not None
    assert pipe.recv() == "connected"
    start = time.monotonic()
    for number in range(EVENTS):
        time.sleep(max(0.0, start + number / PER_S - time.monotonic()))
        point = {
            "step": number,
            "epoch": number,
            "train_loss": 1.0 / (number + 1),
            "val_loss": 1.1 / (number + 1),
            "val_accuracy": 0.9,
            "learning_rate": 0.1,
            "samples_per_s": 1e5,
            "attempt": 1,
            "written": time.time(),
        }
        store.write(claim, events=[("metric", point)])
    store.finish(claim, Status.SUCCEEDED)


def main() -> None:
    with api() as running:
        job = httpx2.post(f"{running.url}/v1/jobs", json={"dataset": "digits"}).raise_for_status().json()
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=clients, args=(running, f"/v1/jobs/{job['id']}/events", theirs)
        )
        process.start()
        report(JobStore(connect(running.redis_url, "patient")), ours)
        delays: list[list[float]] = ours.recv()
        process.join()
    everything = [delay for client in delays for delay in client]
    figures = {
        "clients": CLIENTS,
        "events_per_s": PER_S,
        "expected": CLIENTS * EVENTS,
        "delivered": len(everything),
        "clients_with_all": sum(len(client) == EVENTS for client in delays),
        "p50_ms": round(quantile(everything, 0.5), 1),
        "p99_ms": round(quantile(everything, 0.99), 1),
        "worst_ms": round(max(everything), 1),
    }
    write_result("streams", "1 000 clients on one API process", "python -m bench streams", figures)


if __name__ == "__main__":
    main()
