"""The lecture over HTTP: rows are listed, and computed when they are asked for."""

from __future__ import annotations

import threading
import time

import httpx2
import pytest

from nets.lecture.registry import ROWS
from tests.processes import Service, http_client


def test_all_rows_are_listed_without_their_numbers(api: httpx2.Client) -> None:
    listed = api.get("/v1/lecture").raise_for_status().json()
    assert [row["id"] for row in listed["data"]] == list(ROWS)
    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == ("L01", "L50", False)
    first = listed["data"][0]
    assert first["chapter"] == "Linear scores and losses"
    assert first["computed"] is True
    assert "claims" not in first


@pytest.mark.parametrize("row", ["L02", "L09", "L38", "L47"])
def test_a_row_has_its_numbers_each_with_what_is_expected(api: httpx2.Client, row: str) -> None:
    found = api.get(f"/v1/lecture/{row}").raise_for_status().json()
    assert found["ok"] is True
    assert found["claims"]
    for claim in found["claims"]:
        assert claim["ok"] is True
        assert abs(claim["got"] - claim["expected"]) <= claim["tolerance"]
    assert any(claim["slide"] for claim in found["claims"])


def test_a_row_that_needs_a_trained_job_says_where_it_is_shown(api: httpx2.Client) -> None:
    found = api.get("/v1/lecture/L29").raise_for_status().json()
    assert (found["ok"], found["claims"], found["link"]) == (None, [], "#/playground")
    assert "test_L29" in found["proof"]


@pytest.mark.parametrize("row", ["L51", "l01", "L", "..", "%00"])
def test_what_is_no_row_is_not_found(api: httpx2.Client, row: str) -> None:
    assert api.get(f"/v1/lecture/{row}").status_code == 404


def test_the_service_answers_others_while_a_row_is_computed(service: Service, api: httpx2.Client) -> None:
    done = threading.Event()

    def compute() -> None:
        with http_client(service.url, timeout_s=60) as client:
            for _ in range(3):
                client.get("/v1/lecture/L28").raise_for_status()
        done.set()

    thread = threading.Thread(target=compute)
    thread.start()
    waits = []
    while not done.is_set():
        begun = time.perf_counter()
        api.get("/healthz").raise_for_status()
        waits.append(time.perf_counter() - begun)
        time.sleep(0.005)
    thread.join()
    assert len(waits) > 10
    assert sorted(waits)[len(waits) // 2] < 0.1
