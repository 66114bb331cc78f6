"""Default settings on every built-in data set: what a job that names only its data set reaches."""

from __future__ import annotations

import statistics
import time
from datetime import datetime
from typing import Any

import httpx2

from bench.deployment import deployment
from bench.harness import write_result

SEEDS = (0, 1, 2)
ENDED = {"succeeded", "failed", "cancelled"}


def train(client: httpx2.Client, dataset: str, seed: int) -> tuple[float, float]:
    """One job with the defaults: its validation accuracy or r2, and its seconds of training."""
    body = {"dataset": dataset, "training": {"seed": seed}}
    job: dict[str, Any] = client.post("/v1/jobs", json=body).raise_for_status().json()
    while job["status"] not in ENDED:
        time.sleep(0.05)
        job = client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
    if job["status"] != "succeeded":
        raise RuntimeError(f"{dataset} with seed {seed}: {job['error']}")
    score = job["metrics"].get("val_accuracy", job["metrics"].get("val_r2"))
    return score, _seconds(job)


def _seconds(job: dict[str, Any]) -> float:
    start, end = (datetime.fromisoformat(job[key]) for key in ("started_at", "finished_at"))
    return (end - start).total_seconds()


def main() -> None:
    figures = {}
    with deployment() as running, httpx2.Client(base_url=running.url, timeout=60) as client:
        names = [d["id"] for d in client.get("/v1/datasets?limit=100").json()["data"]]
        for name in sorted(names):
            runs = [train(client, name, seed) for seed in SEEDS]
            figures[name] = {
                "val_score_median": round(statistics.median(score for score, _ in runs), 4),
                "val_score_worst": round(min(score for score, _ in runs), 4),
                "train_s_median": round(statistics.median(seconds for _, seconds in runs), 2),
            }
    write_result("defaults", "default settings on the built-in data sets", "python -m bench defaults", figures)


if __name__ == "__main__":
    main()
