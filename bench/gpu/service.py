"""`python -m bench.gpu.service [--jobs N] [--epochs E]`: small jobs over HTTP to their results, on a machine with GPUs.

The jobs are W7's, 64-128-10 with seeds and learning rates of their own, in one batch to a warm `mlpq up --device auto`:
queue, claims, stacks, validation, curves, checkpoints and verified files included.
"""

from __future__ import annotations

import argparse
import io
import time
from typing import Any

import httpx2
import numpy as np

from bench.deployment import deployment
from bench.gpu.device import require
from bench.gpu.workloads import WORKLOADS
from bench.harness import write_result

ENDED = ("succeeded", "failed", "cancelled")


def batch(client: httpx2.Client, dataset: str, jobs: int, epochs: int) -> dict[str, Any]:
    """Seconds until the jobs are accepted and until all have ended; of the last a look at how it ran."""
    workload = WORKLOADS["W7"]
    rates = np.logspace(-3, -1.3, jobs)
    bodies = [
        {
            "dataset": dataset,
            "net": {"hidden": list(workload.widths[1:-1]), "activation": workload.activation},
            "optimizer": {"name": "sgd", "learning_rate": float(rate), "momentum": workload.momentum, "l2": 0.0},
            "schedule": "constant",
            "training": {"epochs": epochs, "batch_size": workload.batch, "seed": seed},
        }
        for seed, rate in enumerate(rates)
    ]
    before, started = ended(client), time.perf_counter()
    answer = client.post("/v1/jobs:batch", json={"jobs": bodies}).raise_for_status().json()
    accepted = time.perf_counter() - started
    while sum(ended(client)) < sum(before) + jobs:
        time.sleep(0.01)
    took = time.perf_counter() - started
    succeeded = ended(client)[0] - before[0]
    last = client.get(f"/v1/jobs/{answer['data'][-1]['id']}").raise_for_status().json()
    names = ("engine", "device_name", "stack", "cupy")
    return {
        "jobs": jobs,
        "epochs": epochs,
        "succeeded": succeeded,
        "accepted_s": round(accepted, 3),
        "seconds": round(took, 3),
        "jobs_per_s": round(jobs / took, 1),
        "environment": {name: last["environment"].get(name) for name in names},
    }


def ended(client: httpx2.Client) -> list[int]:
    """How many jobs have ended so far, by how."""
    counts = client.get("/v1/queue").raise_for_status().json()["jobs"]
    return [int(counts[name]) for name in ENDED]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--device", default="auto", help="auto, or cpu to try the benchmark itself")
    given = parser.parse_args()
    require(given.device)
    x, y = WORKLOADS["W7"].data()
    packed = io.BytesIO()
    np.savez(packed, x=x, y=y)
    with deployment(device=given.device) as running, httpx2.Client(base_url=running.url, timeout=120) as client:
        answer = client.post("/v1/datasets", files={"file": ("w7.npz", packed.getvalue())})
        dataset = answer.raise_for_status().json()["id"]
        batch(client, dataset, 16, 3)  # what compiles is compiled
        figures = batch(client, dataset, given.jobs, given.epochs)
    print(figures)
    if given.device != "cpu":
        claim = "small jobs over HTTP to their results on the GPUs of one machine"
        write_result("gpu_service", claim, "python -m bench.gpu.service", figures)


if __name__ == "__main__":
    main()
