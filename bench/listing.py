"""How long one page takes among 100 000 jobs, and how many jobs one client submits per second.

The records are written in pipelined batches by hand, with the indexes that the store keeps; before anything is
timed, pages are compared with what the records say.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from redis import Redis

from bench.harness import quantile, write_result
from mlpq.embedded import EmbeddedServer
from store import keys
from store.connection import connect
from store.jobs import JobStore
from store.records import NewJob, encode
from store.transitions import Status

SPEC = {
    "net": {"hidden": [128, 64], "activation": "relu", "init": "he", "dropout": 0.0, "bias": True},
    "loss": "softmax",
    "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": False, "l2": 0.0001},
    "schedule": {"name": "constant"},
    "training": {"epochs": 20, "batch_size": 64, "shuffle": True, "validation_fraction": 0.2, "seed": 0},
}
JOBS = 100_000
CREATES = 2000


def status_of(number: int) -> Status:
    """Nine of ten have ended, in the manner of an old deployment."""
    return Status.QUEUED if number % 10 == 0 else Status.SUCCEEDED


def tags_of(number: int) -> list[str]:
    return ["every", "even" if number % 2 == 0 else "odd", *(["rare"] if number % 9973 == 0 else [])]


def fill(redis: Redis, jobs: int) -> None:
    """Write `jobs` records as the store's scripts would have left them."""
    for first in range(1, jobs + 1, 1000):
        with redis.pipeline(transaction=False) as pipe:
            for number in range(first, min(first + 1000, jobs + 1)):
                _write(pipe, number)
            pipe.execute()
    redis.set("mlpq:sequence", jobs)


def _write(pipe: Any, number: int) -> None:
    job_id, status, tags = f"job_{number:08x}", status_of(number), tags_of(number)
    record: dict[str, Any] = {
        "id": job_id,
        "name": f"job {number}",
        "status": status.value,
        "status_reason": "",
        "dataset": "digits",
        "spec": encode(SPEC),
        "tags": encode(tags),
        "metadata": "{}",
        "metrics": encode({"train_loss": 0.1, "val_loss": 0.2, "val_accuracy": 0.97}),
        "priority": 0,
        "sequence": number,
    }
    record |= dict.fromkeys(("attempt", "created_at_ms", "updated_at_ms"), 1)
    record |= dict.fromkeys(("crashes", "fence", "last_event", "last_metric_step"), 0)
    pipe.hset(keys.job(job_id), mapping=record)
    for index in [keys.JOBS, keys.index(status)]:
        pipe.zadd(index, {job_id: number})
    for tag in tags:
        pipe.zadd(keys.index(None, tag), {job_id: number})
        pipe.zadd(keys.index(status, tag), {job_id: number})
    if status is Status.QUEUED:
        pipe.zadd(keys.QUEUE, {job_id: number})


def check(store: JobStore, jobs: int) -> None:
    """Pages from the store equal pages computed from the rule by which the records were made."""
    for status, tag in [(None, None), (Status.QUEUED, None), (None, "odd"), (Status.SUCCEEDED, "rare")]:
        numbers = [
            number
            for number in range(jobs, 0, -1)
            if status in {None, status_of(number)} and (tag is None or tag in tags_of(number))
        ]
        middle = numbers[len(numbers) // 2]
        page = store.page(status, tag, limit=50, after=f"job_{middle:08x}")
        wanted = [f"job_{number:08x}" for number in numbers if number < middle][:50]
        if [job.id for job in page.items] != wanted:
            raise AssertionError(f"wrong page for {status}, {tag}")


def timed(call: Callable[[], object], times: int = 200) -> dict[str, float]:
    """Milliseconds that a call takes."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append((time.perf_counter() - start) * 1000)
    return {"median_ms": round(quantile(taken, 0.5), 2), "p99_ms": round(quantile(taken, 0.99), 2)}


def time_pages(store: JobStore, jobs: int) -> dict[str, dict[str, float]]:
    """Every kind of page: size, filters, from the start and from the middle."""
    found = {}
    for limit, status, tag in product((20, 100), (None, Status.SUCCEEDED), (None, "even", "rare")):
        for where, after in (("start", None), ("middle", f"job_{jobs // 2:08x}")):
            call = partial(store.page, status, tag, limit, after)
            found[f"{limit} from the {where}, status {status}, tag {tag}"] = timed(call)
    return found


def measure(jobs: int) -> dict[str, Any]:
    """All figures, on a server of its own."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder))
        server.start()
        try:
            store = JobStore(connect(server.url))
            fill(store.redis, jobs)
            check(store, jobs)
            pages = time_pages(store, jobs)
            start = time.perf_counter()
            for _ in range(CREATES):
                store.create(NewJob(spec=SPEC, dataset="digits", tags=("bench",)))
            creates_per_s = CREATES / (time.perf_counter() - start)
        finally:
            server.stop()
    worst = max(pages.values(), key=lambda page: page["median_ms"])
    return {
        "worst_ms": worst["median_ms"],
        "worst_p99_ms": worst["p99_ms"],
        "jobs": jobs,
        "creates_per_s_one_client": round(creates_per_s),
        "pages": pages,
    }


def main() -> None:
    figures = measure(JOBS)
    write_result("listing", "a page of jobs at 100 000 jobs, worst filter", "python -m bench listing", figures)


if __name__ == "__main__":
    main()
