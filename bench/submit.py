"""Jobs accepted over HTTP: 8 connections post one job after another to one API process, no worker runs.

Then as many again in batches of 1 000 over one connection (`POST /v1/jobs:batch`). Every body differs (name, learning
rate, seed). Afterwards the queue must hold exactly as many jobs as were answered with 202, each with its own id. API,
store and this client share the machine's cores.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx2

from bench.api import CONNECTIONS, Api, Connection, api, post_jobs
from bench.harness import quantile, write_result

WARM_UP, JOBS, BATCH = 400, 4000, 1000


def body(number: int) -> dict[str, Any]:
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
    start = time.perf_counter()
    ids, times = await post_jobs(running.url, map(body, numbers))
    return time.perf_counter() - start, times, set(ids)


async def batched(running: Api, numbers: range) -> tuple[float, float, set[str]]:
    """Post them in batches, one after another; seconds in all and of the slowest, ids."""
    connection = Connection(running.url)
    await connection.open()
    ids: set[str] = set()
    slowest = 0.0
    start = time.perf_counter()
    for first in range(numbers.start, numbers.stop, BATCH):
        began = time.perf_counter()
        status, found = await connection.post("/v1/jobs:batch", {"jobs": [body(first + n) for n in range(BATCH)]})
        slowest = max(slowest, time.perf_counter() - began)
        if status != 202:
            raise RuntimeError(f"HTTP {status}: {found}")
        ids |= {job["id"] for job in found["data"]}
    connection.close()
    return time.perf_counter() - start, slowest, ids


def main() -> None:
    with api() as running:
        asyncio.run(submit(running, range(WARM_UP)))
        seconds, times, ids = asyncio.run(submit(running, range(WARM_UP, WARM_UP + JOBS)))
        batch_s, slowest_s, more = asyncio.run(batched(running, range(WARM_UP + JOBS, WARM_UP + 2 * JOBS)))
        depth = httpx2.get(f"{running.url}/v1/queue").json()["depth"]
    if len(ids | more) != 2 * JOBS or depth != WARM_UP + 2 * JOBS:
        raise RuntimeError(f"{2 * JOBS} jobs were accepted; {len(ids | more)} ids, {depth} queued")
    figures = {
        "jobs_per_s": round(JOBS / seconds, 1),
        "median_ms": round(quantile(times, 0.5), 2),
        "p99_ms": round(quantile(times, 0.99), 2),
        "connections": CONNECTIONS,
        "jobs": JOBS,
        "batch_of": BATCH,
        "batched_jobs_per_s": round(JOBS / batch_s, 1),
        "batched_ms_per_job": round(1e3 * batch_s / JOBS, 3),
        "slowest_batch_s": round(slowest_s, 2),
    }
    claim = "jobs accepted over HTTP: one by one with 8 connections, in batches of 1 000"
    write_result("submit", claim, "python -m bench submit", figures)


if __name__ == "__main__":
    main()
