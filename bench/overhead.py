"""What the service costs around the trainer: a job's time over HTTP against `nets.trainer.fit` alone on the same spec.

A round trains once in this process, without a service, and once as a job of a warm deployment, timed by the service's
own clock from the claim to the published weights. Shapes are W1's and W4's of `bench.cpu`.
"""

from __future__ import annotations

import io
import statistics
import time
from datetime import datetime
from typing import Any

import httpx2
import numpy as np

from bench.cpu.ours import Listener
from bench.cpu.workloads import WORKLOADS, Workload, rows_of
from bench.deployment import deployment
from bench.harness import write_result
from kernels.numpy_backend import NumpyBackend
from nets.member import Member
from nets.prepare import prepare
from nets.resolve import resolve
from nets.spec import TrainingSpec
from nets.table import Table
from nets.trainer import fit

ROUNDS = 3
EPOCHS = {"W1": 20_000, "W4": 12}


def spec_of(w: Workload) -> dict[str, Any]:
    """The job's spec, without its data set."""
    return {
        "net": {"hidden": list(w.widths[1:-1]), "activation": w.activation},
        "optimizer": {"name": "sgd", "learning_rate": w.learning_rate, "momentum": w.momentum, "l2": w.decay},
        "schedule": "constant",
        "training": {"epochs": EPOCHS[w.name], "batch_size": w.batch_size, "validation_fraction": 0.1},
    }


def alone_s(member: Member) -> float:
    """Seconds of a run in this process."""
    listener, start = Listener(1), time.perf_counter()
    fit([member], NumpyBackend(), listener, listener)
    return time.perf_counter() - start


def job_s(client: httpx2.Client, dataset: str, spec: dict[str, Any]) -> float:
    """Seconds from a job's claim to its end, by the service's clock."""
    job = client.post("/v1/jobs", json={"dataset": dataset, **spec}).raise_for_status().json()
    while job["status"] not in {"succeeded", "failed", "cancelled"}:
        time.sleep(0.2)
        job = client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
    if job["status"] != "succeeded":
        raise RuntimeError(f"{job['id']} {job['status']}: {job['error']}")
    began, ended = (datetime.fromisoformat(job[key]) for key in ("started_at", "finished_at"))
    return (ended - began).total_seconds()


def compare(client: httpx2.Client, w: Workload) -> dict[str, Any]:
    """Medians of ROUNDS rounds after one that warms."""
    x, y = rows_of(w)
    packed = io.BytesIO()
    np.savez(packed, x=x, y=y)
    answer = client.post("/v1/datasets", files={"file": (f"{w.name}.npz", packed.getvalue())})
    dataset, spec = answer.raise_for_status().json()["id"], spec_of(w)
    table = Table.from_arrays(x, y)
    resolved = resolve(TrainingSpec.parse(spec), table.info)
    member = Member(resolved, prepare(table, resolved))
    alone, jobs = [], []
    for _ in range(ROUNDS + 1):
        alone.append(alone_s(member))
        jobs.append(job_s(client, dataset, spec))
    trainer, job = statistics.median(alone[1:]), statistics.median(jobs[1:])
    return {
        "trainer_s": round(trainer, 3),
        "job_s": round(job, 3),
        "overhead": round(job / trainer - 1, 4),
        "rounds": [[round(a, 3), round(b, 3)] for a, b in zip(alone[1:], jobs[1:], strict=True)],
    }


def main() -> None:
    with deployment() as running, httpx2.Client(base_url=running.url, timeout=120) as client:
        figures = {name: compare(client, WORKLOADS[name]) for name in EPOCHS}
    write_result("overhead", "what the service costs around the trainer", "python -m bench overhead", figures)


if __name__ == "__main__":
    main()
