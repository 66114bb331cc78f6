"""The store away: whoever needs it hears 503 within a second, the process lives, streams go on afterwards."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from mlpq.embedded import EmbeddedServer
from store.connection import connect
from store.jobs import JobStore
from store.transitions import Status
from tests.processes import Processes, Service, http_client, wait_until
from tests.service.api_parts import SPEC, SentEvent, assert_problem, claimed, events_of, point, submitted


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path / "own")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own(own_valkey: EmbeddedServer, tmp_path: Path, data_dir: Path) -> Iterator[Service]:
    with Processes(tmp_path, own_valkey.url, data_dir) as processes:
        yield processes.service().ready()


def needs_store(job_id: str) -> list[tuple[str, str, dict | None]]:
    job = f"/v1/jobs/{job_id}"
    return [
        ("POST", "/v1/jobs", SPEC),
        ("GET", "/v1/jobs", None),
        ("GET", job, None),
        ("PATCH", job, {"name": "x"}),
        ("DELETE", job, None),
        ("POST", f"{job}/cancel", None),
        ("GET", f"{job}/events", None),
        ("GET", f"/v1/events?jobs={job_id}", None),
        ("GET", f"{job}/metrics", None),
        ("GET", f"{job}/weights", None),
        ("GET", f"{job}/checkpoints", None),
        ("POST", f"{job}/predict", {"rows": [[1, 2, 3, 4]]}),
        ("GET", "/v1/datasets", None),
        ("GET", "/v1/queue", None),
        ("GET", "/v1/workers", None),
        ("GET", "/readyz", None),
    ]


def shortest_refusal(api: httpx2.Client, method: str, path: str, body: dict | None) -> float:
    """Seconds until the 503: the best of three where a busy machine delays the first."""
    took: list[float] = []
    while not took or (took[-1] >= 1.0 and len(took) < 3):
        time.sleep(0.3)  # so that this request is the one that finds out
        started = time.monotonic()
        answer = api.request(method, path, json=body) if body else api.request(method, path)
        took.append(time.monotonic() - started)
        assert_problem(answer, 503, "store_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
    return min(took)


@pytest.mark.parametrize("how", ["killed", "hanging"])
def test_without_a_store_every_route_that_needs_it_is_503_within_a_second(
    own: Service, own_valkey: EmbeddedServer, how: str
) -> None:
    assert own_valkey.process is not None
    with http_client(own.url, timeout_s=10) as api:
        job = submitted(api)
        if how == "killed":
            own_valkey.kill()
        else:
            own_valkey.process.send_signal(signal.SIGSTOP)
        try:
            routes = needs_store(job["id"])
            for method, path, body in routes if how == "killed" else routes[::3]:
                assert shortest_refusal(api, method, path, body) < 1.0, path
            assert api.get("/healthz").status_code == 200
            assert api.get("/v1/capabilities").status_code == 200
            assert "mlpq_store_up 0.0" in api.get("/metrics").text
        finally:
            if how == "hanging":
                own_valkey.process.send_signal(signal.SIGCONT)
            else:
                own_valkey.start()
        wait_until(lambda: api.get("/readyz").status_code == 200, what="the store is found again")
        assert api.get(f"/v1/jobs/{job['id']}").json()["status"] == "queued"
        submitted(api)


def test_who_waits_for_an_end_is_told_too(own: Service, own_valkey: EmbeddedServer) -> None:
    with http_client(own.url) as api, http_client(own.url, timeout_s=40) as waiting, ThreadPoolExecutor(1) as pool:
        job = submitted(api)
        future = pool.submit(waiting.get, f"/v1/jobs/{job['id']}?wait_s=30")
        wait_until(lambda: "mlpq_waiting 1.0" in api.get("/metrics").text, what="it waits")
        time.sleep(0.1)
        own_valkey.kill()
        refused = future.result(20)
        assert_problem(refused, 503, "store_unavailable")
        assert int(refused.headers["retry-after"]) >= 1


def test_a_crowd_is_told_within_a_second_too(own: Service, own_valkey: EmbeddedServer) -> None:
    assert own_valkey.process is not None
    clients = [http_client(own.url, timeout_s=10) for _ in range(64)]
    for client in clients:
        assert client.get("/healthz").status_code == 200

    def slowest_of_crowd(path: str, status: int) -> float:
        def ask(client: httpx2.Client) -> float:
            started = time.monotonic()
            assert client.get(path).status_code == status
            return time.monotonic() - started

        with ThreadPoolExecutor(64) as pool:
            return max(pool.map(ask, clients))

    slowest: list[float] = []  # of each crowd; another one is asked where a busy machine delayed the first
    while not slowest or (slowest[-1] >= 1.3 and len(slowest) < 3):
        lateness = slowest_of_crowd("/healthz", 200)  # of our own 64 threads: this path needs no store
        own_valkey.process.send_signal(signal.SIGSTOP)
        try:
            slowest.append(slowest_of_crowd("/v1/jobs", 503) - lateness)
        finally:
            own_valkey.process.send_signal(signal.SIGCONT)
        wait_until(lambda: clients[0].get("/readyz").status_code == 200, what="the store is found again")
    for client in clients:
        client.close()
    assert min(slowest) < 1.3, slowest


def test_an_open_stream_survives_an_outage_without_gap_or_duplicate(own: Service, own_valkey: EmbeddedServer) -> None:
    received: list[SentEvent] = []
    with http_client(own.url, timeout_s=30) as api:
        job = submitted(api)
        store = JobStore(connect(own_valkey.url, "patient"))
        claim = claimed(store)
        store.write(claim, events=[point(1)])
        opened = threading.Event()

        def follow() -> None:
            path = f"/v1/jobs/{job['id']}/events"
            with http_client(own.url, timeout_s=30) as client, client.stream("GET", path) as answer:
                for event in events_of(answer.iter_lines()):
                    received.append(event)
                    opened.set()

        reader = threading.Thread(target=follow)
        reader.start()
        assert opened.wait(30)
        own_valkey.kill()
        time.sleep(2.0)
        own_valkey.start()
        store.write(claim, events=[point(2)])
        store.finish(claim, Status.SUCCEEDED)
        reader.join(60)
        assert not reader.is_alive()
    assert [int(event.id) for event in received] == list(range(1, len(received) + 1))
    assert received[-1].type == "end"
