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

import httpx2

from bench.api import Api, api
from bench.harness import quantile, write_result
from store.connection import connect
from store.jobs import JobStore
from store.transitions import Status

CLIENTS = 1000
EVENTS, PER_S = 200, 20

_WRITTEN = re.compile(rb'"written":([0-9.]+)')


async def follow(running: Api, path: str, opened: asyncio.Semaphore, ready: asyncio.Event) -> list[float]:
    """One client: delays in ms of all metric events until the stream ends."""
    delays: list[float] = []
    async with opened:
        reader, writer = await asyncio.open_connection(running.host, running.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {running.host}:{running.port}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise RuntimeError(head.decode())
        await reader.readuntil(b"retry: ")
    ready.set()
    rest = b""
    while data := await reader.read(1 << 16):
        now = time.time()
        rest += data
        end = rest.rfind(b"\n\n")
        if end >= 0:
            delays += [(now - float(written)) * 1e3 for written in _WRITTEN.findall(rest[:end])]
            rest = rest[end:]
    writer.close()
    return delays


def clients(running: Api, path: str, pipe: Pipe) -> None:
    """The process of all clients: says when they are connected, then sends every delay."""

    async def all_of_them() -> list[list[float]]:
        opened = asyncio.Semaphore(50)
        events = [asyncio.Event() for _ in range(CLIENTS)]
        tasks = [asyncio.create_task(follow(running, path, opened, event)) for event in events]
        await asyncio.gather(*(event.wait() for event in events))
        pipe.send("connected")
        return await asyncio.gather(*tasks)

    pipe.send(asyncio.run(all_of_them()))


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
