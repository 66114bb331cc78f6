"""Jobs accepted over HTTP: 8 connections post one job after another to one API process, no worker runs.

Every body differs (name, learning rate, seed). Afterwards the queue must hold exactly as many jobs as were answered
with 202, each with its own id. API, store and this client share the machine's cores.
"""

from __future__ import annotations

import asyncio
import time

import httpx2

from bench.api import Api, Connection, api
from bench.harness import quantile, write_result

CONNECTIONS = 8
WARM_UP, JOBS = 400, 4000


def body(number: int) -> dict[str, object]:
    return {
        "name": f"load {number}",
        "dataset": "digits",
        "net": {"hidden": [128, 64], "activation": "relu"},
        "optimizer": {"name": "sgd", "learning_rate": 0.01 + number * 1e-6, "momentum": 0.9},
        "training": {"epochs": 20, "batch_size": 64, "seed": number},
        "tags": ["load"],
    }


async def submit(running: Api, numbers: range) -> tuple[float, list[float], set[str]]:
    """Post them all; seconds in all, milliseconds of each, ids."""
    waiting = iter(numbers)
    times: list[float] = []
    ids: set[str] = set()

    async def one() -> None:
        connection = Connection(running)
        await connection.open()
        for number in waiting:
            start = time.perf_counter()
            status, job = await connection.post("/v1/jobs", body(number))
            times.append((time.perf_counter() - start) * 1e3)
            if status != 202:
                raise RuntimeError(f"HTTP {status}: {job}")
            ids.add(job["id"])
        connection.close()

    start = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return time.perf_counter() - start, times, ids


def main() -> None:
    with api() as running:
        asyncio.run(submit(running, range(WARM_UP)))
        seconds, times, ids = asyncio.run(submit(running, range(WARM_UP, WARM_UP + JOBS)))
        depth = httpx2.get(f"{running.url}/v1/queue").json()["depth"]
    if len(ids) != JOBS or depth != WARM_UP + JOBS:
        raise RuntimeError(f"{JOBS} jobs were accepted; {len(ids)} ids, {depth} queued of {WARM_UP + JOBS}")
    figures = {
        "jobs_per_s": round(JOBS / seconds, 1),
        "median_ms": round(quantile(times, 0.5), 2),
        "p99_ms": round(quantile(times, 0.99), 2),
        "connections": CONNECTIONS,
        "jobs": JOBS,
    }
    write_result("submit", "jobs accepted over HTTP with 8 connections", "python -m bench submit", figures)


if __name__ == "__main__":
    main()
