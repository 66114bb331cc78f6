"""Warm submit -> first metric event at the client, over HTTP and the event stream.

A repeat takes the clock, posts a job on digits with the default net, opens its event stream and stops the clock
when the first `metric` event has arrived. Repeats come one after another; the first few warm the deployment.
"""

from __future__ import annotations

import time

import httpx2

from bench.deployment import deployment
from bench.harness import quantile, write_result

WARM_UP, REPEATS = 5, 40
SPEC = {"dataset": "digits", "training": {"epochs": 3}}


def first_metric_ms(client: httpx2.Client) -> float:
    """One repeat, in milliseconds; returns after the job has ended, so that repeats do not overlap."""
    start = time.perf_counter()
    job = client.post("/v1/jobs", json=SPEC).raise_for_status().json()
    elapsed = None
    with client.stream("GET", f"/v1/jobs/{job['id']}/events") as stream:
        for line in stream.iter_lines():
            if line == "event: metric" and elapsed is None:
                elapsed = (time.perf_counter() - start) * 1e3
            if line == "event: end":
                break
    if elapsed is None:
        raise RuntimeError(f"{job['id']} ended without a metric event")
    return elapsed


def main() -> None:
    with deployment() as running, httpx2.Client(base_url=running.url, timeout=60) as client:
        for _ in range(WARM_UP):
            first_metric_ms(client)
        times = [first_metric_ms(client) for _ in range(REPEATS)]
    figures = {
        "median_ms": round(quantile(times, 0.5), 1),
        "p90_ms": round(quantile(times, 0.9), 1),
        "repeats": REPEATS,
    }
    write_result("latency", "warm submit to first metric event at the client", "python -m bench latency", figures)


if __name__ == "__main__":
    main()
