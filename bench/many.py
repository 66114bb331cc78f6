"""`python -m bench.many --peers PYTHON`: 64 jobs over HTTP to 64 finished results, against bare loops that train them.

The jobs are W7's of `bench.cpu`: 64-128-10 on the digits with 64 learning rates and seeds. They go through the whole of
a warm deployment (HTTP, queue, claims, events, checkpoints, verified files). Beside it, in the same run: scikit-learn's
MLPClassifier one after another, and JAX with `vmap` in a bare loop, both without validation, curves or files. Rounds
are interleaved; everything shares the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import statistics
import sys
import time
import warnings
from dataclasses import replace
from http.client import HTTPConnection
from typing import Any

import httpx2
import numpy as np

from bench.api import post_jobs
from bench.cpu.__main__ import Process
from bench.cpu.workloads import WORKLOADS, Workload, rows_of
from bench.deployment import Deployment, deployment
from bench.harness import write_result

EPOCHS = (5, 30)
"""W7's, and those of one such job alone (W3)."""
LOOK_EVERY_S = 0.02
"""How often the client asks whether all have ended once the one that came last has."""


class Batch:
    """Submits all jobs of a workload to one deployment and waits for their results."""

    def __init__(self, running: Deployment, w: Workload) -> None:
        self._url = running.url
        self._client = httpx2.Client(base_url=running.url, timeout=60)
        self._asking = HTTPConnection(running.url.removeprefix("http://"), timeout=60)
        x, y = rows_of(w)
        packed = io.BytesIO()
        np.savez(packed, x=x[: w.rows], y=y[: w.rows])
        answer = self._client.post("/v1/datasets", files={"file": ("digits.npz", packed.getvalue())})
        self._dataset = answer.raise_for_status().json()["id"]

    def bodies(self, w: Workload) -> list[dict[str, Any]]:
        """The jobs as they are posted; each validates on a tenth of the rows, as is the default."""
        found = []
        for seed, rate in enumerate(w.learning_rates(), start=1):
            optimizer = {"name": "sgd", "learning_rate": rate, "momentum": w.momentum, "l2": w.decay}
            training = {"epochs": w.epochs, "batch_size": w.batch_size, "validation_fraction": 0.1, "seed": seed}
            found.append(
                {
                    "dataset": self._dataset,
                    "net": {"hidden": list(w.widths[1:-1]), "activation": w.activation},
                    "optimizer": optimizer,
                    "schedule": "constant",
                    "training": training,
                    "tags": ["many"],
                }
            )
        return found

    def run(self, w: Workload, *, at_once: bool) -> dict[str, float]:
        """Seconds until all are accepted, in one request or one by one, and until all results are published."""
        before, bodies, start = self._ended(), self.bodies(w), time.perf_counter()
        if at_once:
            answer = self._client.post("/v1/jobs:batch", json={"jobs": bodies}).raise_for_status()
            ids = [job["id"] for job in answer.json()["data"]]
        else:
            ids, _ = asyncio.run(post_jobs(self._url, bodies))
        accepted = time.perf_counter() - start
        self._ask(f"/v1/jobs/{ids[-1]}?wait_s=60")  # the last one, to be answered when it has ended
        while self._ended() < before + w.jobs:
            time.sleep(LOOK_EVERY_S)
        took = time.perf_counter() - start
        jobs = self._client.get("/v1/jobs", params={"limit": 100, "tag": "many"}).raise_for_status().json()["data"]
        ours = [job for job in jobs if job["id"] in ids]
        if len(ours) != w.jobs or any(job["status"] != "succeeded" for job in ours):
            raise RuntimeError(f"{len(ours)} jobs of {w.jobs}: {[job['error'] for job in ours if job['error']][:1]}")
        stacks = [job["environment"]["stack"] for job in ours]
        return {"accepted_s": accepted, "seconds": took, "largest_stack": float(max(stacks))}

    def _ended(self) -> int:
        """How many jobs have ended so far."""
        counts = self._ask("/v1/queue")["jobs"]
        return int(counts["succeeded"] + counts["failed"] + counts["cancelled"])

    def _ask(self, path: str) -> dict[str, Any]:
        """An answer, over a lean connection: the client's work costs the same cores."""
        self._asking.request("GET", path)
        found: dict[str, Any] = json.loads(self._asking.getresponse().read())
        return found


def sklearn_s(w: Workload) -> float:
    """Seconds of scikit-learn, one job after another; a part of them, scaled up, since it takes long."""
    from sklearn.neural_network import MLPClassifier

    x, y = rows_of(w)
    some, start = w.learning_rates()[:: w.jobs // 8], time.perf_counter()
    for seed, rate in enumerate(some):
        net = MLPClassifier(
            w.widths[1:-1], solver="sgd", alpha=w.decay, batch_size=w.batch_size, learning_rate_init=rate,
            momentum=w.momentum, nesterovs_momentum=False, max_iter=w.epochs, n_iter_no_change=w.epochs, tol=0.0,
            random_state=seed,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net.fit(x[: w.rows], y[: w.rows])
    return (time.perf_counter() - start) * w.jobs / len(some)


def compare(running: Deployment, peers: str, epochs: int, rounds: int) -> dict[str, Any]:
    """Medians of all, after one round that warms; jobs come one by one over 8 connections, and all in one request."""
    w = replace(WORKLOADS["W7"], epochs=epochs)
    batch, jax = Batch(running, w), Process(peers, "jax vmap", "W7")
    ours: dict[str, list[dict[str, float]]] = {"one by one": [], "one request": []}
    bare: list[float] = []
    in_turn: list[float] = []
    try:
        for number in range(rounds + 1):
            found = {way: batch.run(w, at_once=way == "one request") for way in ours}
            answer = jax.ask(epochs)
            if number:
                for way, one in found.items():
                    ours[way].append(one)
                bare += [] if answer is None else [answer["seconds"]]
                in_turn.append(sklearn_s(w))
    finally:
        jax.close()
    peer_s = {"sklearn": statistics.median(in_turn)} | ({"jax_vmap": statistics.median(bare)} if bare else {})
    figures: dict[str, Any] = {f"{name}_s": round(seconds, 3) for name, seconds in peer_s.items()}
    for way, runs in ours.items():
        took = statistics.median(one["seconds"] for one in runs)
        figures[way] = {
            "seconds": round(took, 3),
            "accepted_s": round(statistics.median(one["accepted_s"] for one in runs), 3),
            "largest_stack": max(one["largest_stack"] for one in runs),
            "rounds": [round(one["seconds"], 3) for one in runs],
        } | {f"times_{name}": round(seconds / took, 2) for name, seconds in peer_s.items()}
    return {"jobs": w.jobs, "epochs": epochs, **figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", default=os.environ.get("MLPQ_PEERS_PYTHON", sys.executable))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--dry", action="store_true", help="print, do not write bench/results/many.json")
    asked = parser.parse_args()
    with deployment() as running:
        figures = {f"{epochs} epochs": compare(running, asked.peers, epochs, asked.rounds) for epochs in EPOCHS}
    if asked.dry:
        print(figures)
    else:
        write_result("many", "64 jobs over HTTP to 64 results", "python -m bench.many --peers PYTHON", figures)


if __name__ == "__main__":
    main()
