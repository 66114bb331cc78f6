"""`python -m bench.bulk --jobs 10000`: thousands of tiny jobs over HTTP while workers are killed at random.

Jobs on iris of three shapes, each a few milliseconds of training, are posted over 8 connections to a deployment with
two workers. Every few seconds a training process gets SIGKILL. At the end every job has ended once: none is lost, none
is doubled, each result's file is there. A page of 50 jobs is timed all the while, and what a job costs is stated: time
of each kind of process, commands, memory and disk of Redis, events, files.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from http import HTTPStatus
from http.client import HTTPConnection
from typing import Any

import httpx2

from bench.api import post_jobs
from bench.costs import Costs
from bench.deployment import Deployment, deployment
from bench.harness import quantile, write_result

KILL_EVERY_S = 5.0
PAGE_EVERY_S = 0.25


def body(number: int) -> dict[str, Any]:
    return {
        "dataset": "iris",
        "net": {"hidden": [8 * (1 + number % 3)]},
        "optimizer": {"name": "sgd", "learning_rate": 0.01 + number * 1e-6, "momentum": 0.9},
        "training": {"epochs": 5, "batch_size": 32, "seed": number % 1000},
        "tags": ["bulk"],
    }


class Meanwhile:
    """Kills training processes and times pages until it is stopped."""

    def __init__(self, running: Deployment, costs: Costs) -> None:
        self._costs = costs
        self.kills, self.page_ms = 0, list[float]()
        self._running, self._over = running, threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._kill, self._look)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _kill(self) -> None:
        chance = random.Random(6)
        while not self._over.wait(chance.uniform(0.5, 1.5) * KILL_EVERY_S):
            pids = self._running.training_children()
            self._costs.look()
            with contextlib.suppress(ProcessLookupError, IndexError):
                os.kill(chance.choice(pids), signal.SIGKILL)
                self.kills += 1

    def _look(self) -> None:
        asking = HTTPConnection(self._running.url.removeprefix("http://"), timeout=60)  # its work costs the same cores
        while not self._over.wait(PAGE_EVERY_S):
            start = time.perf_counter()
            asking.request("GET", "/v1/jobs?limit=50")
            answer = asking.getresponse()
            answer.read()
            self.page_ms.append(1e3 * (time.perf_counter() - start))
            if answer.status != HTTPStatus.OK:
                raise RuntimeError(f"the page was answered {answer.status}")


def ended(client: httpx2.Client) -> int:
    counts = client.get("/v1/queue").raise_for_status().json()["jobs"]
    return int(counts["succeeded"] + counts["failed"] + counts["cancelled"])


def every_job(client: httpx2.Client) -> list[dict[str, Any]]:
    """All records, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        after = {"after": found[-1]["id"]} if found else {}
        page = client.get("/v1/jobs", params={"limit": 100, "tag": "bulk", **after}).raise_for_status().json()
        found += page["data"]
        if not page["has_more"]:
            return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--limit-s", type=float, default=1800.0)
    parser.add_argument("--dry", action="store_true", help="print, do not write bench/results/bulk.json")
    asked = parser.parse_args()
    with deployment(workers=2) as running, httpx2.Client(base_url=running.url, timeout=60) as client:
        costs = Costs(running)
        start, meanwhile = time.perf_counter(), Meanwhile(running, costs)
        ids, _ = asyncio.run(post_jobs(running.url, map(body, range(asked.jobs))))
        accepted = time.perf_counter() - start
        while ended(client) < asked.jobs and time.perf_counter() - start < asked.limit_s:
            time.sleep(0.1)
        took = time.perf_counter() - start
        meanwhile.stop()
        spent = costs.per_job(ids)
        jobs = every_job(client)
        results = {path.parent.name for path in running.data_dir.glob("artifacts/job_*/*-weights.npz")}
    statuses = Counter(job["status"] for job in jobs)
    figures = {
        "jobs": asked.jobs,
        "accepted_per_s": round(asked.jobs / accepted, 1),
        "finished_per_s": round(asked.jobs / took, 1),
        "kills": meanwhile.kills,
        "statuses": dict(statuses),
        "lost": len(set(ids) - {job["id"] for job in jobs}),
        "doubled": len(jobs) - len({job["id"] for job in jobs}),
        "succeeded_without_file": sum(job["status"] == "succeeded" and job["id"] not in results for job in jobs),
        "attempts": {str(key): count for key, count in sorted(Counter(job["attempt"] for job in jobs).items())},
        "stack_median": quantile([float(job["environment"].get("stack", 0)) for job in jobs], 0.5),
        "page_median_ms": round(quantile(meanwhile.page_ms, 0.5), 1),
        "page_p99_ms": round(quantile(meanwhile.page_ms, 0.99), 1),
        "per_job": spent,
    }
    if asked.dry:
        print(figures)
    else:
        write_result(
            "bulk", "tiny jobs, workers killed at random", f"python -m bench.bulk --jobs {asked.jobs}", figures
        )
    if (
        figures["lost"]
        or figures["doubled"]
        or figures["succeeded_without_file"]
        or sum(statuses.values()) != asked.jobs
    ):
        raise SystemExit("a job was lost or doubled")


if __name__ == "__main__":
    main()
