"""Evaluations cost what they may: two at a time, and of a large mapped data set no more memory than a few blocks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from redis import Redis

from store.jobs import JobStore
from tests.processes import Processes, Service, http_client
from tests.service.api_parts import assert_problem, submitted
from tests.service.test_service_large_weights import memory_watched
from tests.service.test_service_training import run_next

ROWS, COLUMNS = 1_000_000, 24
LIMIT = 112 << 20
"""Bytes of memory for two evaluations; the cells of each are more, and twice as much in the precision of the sums."""
Measured = tuple[httpx2.Client, str, str]


@pytest.fixture
def service(processes: Processes) -> Service:
    return processes.service().ready()


@pytest.fixture
def measured(
    service: Service, redis: Redis, data_dir: Path, tmp_path: Path
) -> Iterator[tuple[httpx2.Client, str, str]]:
    """A client, a job of two classes, and a data set with many more rows like those it learnt from."""
    rng = np.random.default_rng(0)
    with http_client(service.url, timeout_s=120) as api:
        names = []
        for rows in (200, ROWS):
            x = rng.standard_normal((rows, COLUMNS), np.float32)
            path = tmp_path / f"{rows}.npz"
            np.savez(path, X=x, y=(x[:, 0] > 0).astype(np.int64))
            with path.open("rb") as file:
                answer = api.post("/v1/datasets", params={"filename": path.name}, content=file, headers=RAW)
            assert answer.status_code == 201, answer.text
            names.append(answer.json()["id"])
        job = submitted(api, dataset=names[0], net={"hidden": [32]}, training={"epochs": 2})["id"]
        run_next(JobStore(redis), data_dir)
        yield api, job, names[1]


RAW = {"Content-Type": "application/octet-stream"}


def test_a_large_data_set_is_measured_in_little_memory_and_a_third_request_waits_its_turn(
    service: Service, measured: Measured
) -> None:
    api, job, dataset = measured
    path, body = f"/v1/jobs/{job}/evaluate", {"dataset": dataset}
    api.post(path, json={"dataset": api.get(f"/v1/jobs/{job}").json()["dataset"]}).raise_for_status()
    answers: list[httpx2.Response] = []
    refused = None
    with memory_watched(service.pid, LIMIT):
        threads = [
            threading.Thread(target=lambda: answers.append(httpx2.post(service.url + path, json=body, timeout=300)))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            if refused is None:
                answer = api.post(path, json={"dataset": "iris"})
                refused = answer if answer.status_code == 429 else None
            time.sleep(0.05)
        for thread in threads:
            thread.join()
    assert refused is not None, "the third was never refused"
    assert_problem(refused, 429, "busy")
    assert int(refused.headers["retry-after"]) >= 1
    assert [answer.status_code for answer in answers] == [200, 200]
    found = answers[0].json()
    assert found == answers[1].json()
    assert found["n_rows"] == ROWS
    assert 0.5 < found["metrics"]["auc"] <= 1
    assert np.sum(found["confusion_matrix"]) == ROWS
