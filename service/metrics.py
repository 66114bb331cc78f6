"""What Prometheus reads at /metrics: this process's requests and streams, and the store's jobs and workers."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class Metrics:
    """One registry per application, so that two of them in one process do not share counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._latency = Histogram(
            "mlpq_request_seconds",
            "Time from the first byte of a request to the last of its answer, of those that did not wait for an end",
            ["method", "route"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self._answers = Counter(
            "mlpq_requests", "Answered requests", ["method", "route", "status"], registry=self.registry
        )
        self.streams = Gauge("mlpq_streams", "Open event streams", registry=self.registry)
        self.waiting = Gauge("mlpq_waiting", "Requests that wait for a job or a sweep to end", registry=self.registry)
        self.events = Counter("mlpq_stream_events", "Events read for the open streams", registry=self.registry)
        self._jobs = Gauge("mlpq_jobs", "Jobs by status", ["status"], registry=self.registry)
        self._depth = Gauge("mlpq_queue_depth", "Jobs that wait for a worker", registry=self.registry)
        self._workers = Gauge("mlpq_workers", "Workers with a recent heartbeat", registry=self.registry)
        self._up = Gauge("mlpq_store_up", "1 if the job store answered just now", registry=self.registry)

    def request(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """Count one answered request; `route` is a template, never a path, so that labels stay few.

        `seconds` are None where they tell how long the client wanted to wait.
        """
        method = method if method in _METHODS else "other"
        if seconds is not None:
            self._latency.labels(method, route).observe(seconds)
        self._answers.labels(method, route, str(status)).inc()

    def store(self, counts: Mapping[str, int] | None, workers: int) -> None:
        """What the store said when asked; None when it did not answer."""
        self._up.set(0 if counts is None else 1)
        if counts is not None:
            for status, number in counts.items():
                self._jobs.labels(status).set(number)
            self._depth.set(counts.get("queued", 0))
            self._workers.set(workers)

    def page(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)


_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})
