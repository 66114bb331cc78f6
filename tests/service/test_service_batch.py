"""POST /v1/jobs:batch: all of them or none, every wrong one named."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from redis import Redis

from store.jobs import JobStore
from tests.processes import Processes, http_client
from tests.service.api_parts import SPEC, assert_problem, finished
from tests.store.store_parts import check_laws


def several(count: int, **changes: Any) -> dict[str, Any]:
    return {"jobs": [SPEC | {"name": f"n{number}"} | changes for number in range(count)]}


def test_a_batch_is_recorded_in_its_order(api: httpx2.Client, jobs: JobStore, redis: Redis) -> None:
    answer = api.post("/v1/jobs:batch", json=several(50))
    assert answer.status_code == 202, answer.text
    body = answer.json()
    assert [job["name"] for job in body["data"]] == [f"n{number}" for number in range(50)]
    assert [job["queue_position"] for job in body["data"]] == list(range(50))
    listed = api.get("/v1/jobs", params={"limit": 100}).json()["data"]
    assert [job["id"] for job in listed] == [job["id"] for job in body["data"]][::-1]
    assert api.get(f"/v1/jobs/{body['first_id']}").json() == body["data"][0]
    assert finished(jobs) == body["first_id"]
    check_laws(redis, jobs)


def test_a_job_of_a_batch_is_what_it_would_be_alone(api: httpx2.Client) -> None:
    spec = {"dataset": "digits", "net": {"hidden": [8]}, "tags": ["a"], "priority": 2, "metadata": {"k": 1}}
    alone = api.post("/v1/jobs", json=spec).json()
    [together] = api.post("/v1/jobs:batch", json={"jobs": [spec]}).json()["data"]
    own = {"id", "created_at", "updated_at", "links", "queue_position"}
    assert {k: v for k, v in alone.items() if k not in own} == {k: v for k, v in together.items() if k not in own}


def test_every_wrong_job_is_named_and_none_is_recorded(api: httpx2.Client, redis: Redis) -> None:
    body = several(60)
    for number in range(0, 60, 2):
        body["jobs"][number]["net"] = {"hidden": [0]}
    body["jobs"][1]["dataset"] = "nothing"
    body["jobs"][3] = {"net": {}, "nets": 1}
    body["jobs"][5]["training"] = {"folds": 999}
    problem = assert_problem(api.post("/v1/jobs:batch", json=body), 422, "invalid_input")
    named = {error["pointer"] for error in problem["errors"]}
    assert {f"/jobs/{number}/net/hidden/0" for number in range(0, 60, 2)} <= named
    assert {"/jobs/1/dataset", "/jobs/3/dataset", "/jobs/5/training/folds"} <= named
    assert redis.zcard("mlpq:jobs") == 0


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/jobs"),
        ({"jobs": []}, "/jobs"),
        ({"jobs": "x"}, "/jobs"),
        ({"jobs": [1]}, "/jobs/0"),
        ({"jobs": [SPEC] * 1001}, "/jobs"),
        ({"jobs": [SPEC], "more": 1}, "/more"),
        ({"jobs": [SPEC | {"priority": 101}]}, "/jobs/0/priority"),
    ],
)
def test_what_is_no_batch_is_refused(api: httpx2.Client, body: Any, pointer: str) -> None:
    problem = assert_problem(api.post("/v1/jobs:batch", json=body), 422, "invalid_input")
    assert pointer in {error["pointer"] for error in problem["errors"]}


def test_the_same_key_gives_the_same_jobs(api: httpx2.Client, redis: Redis) -> None:
    headers = {"Idempotency-Key": "k"}
    first = api.post("/v1/jobs:batch", json=several(3), headers=headers).json()
    second = api.post("/v1/jobs:batch", json=several(3), headers=headers).json()
    assert first == second
    assert redis.zcard("mlpq:jobs") == 3
    assert_problem(api.post("/v1/jobs:batch", json=several(4), headers=headers), 422, "invalid_input")
    assert_problem(api.post("/v1/jobs", json=SPEC, headers=headers), 422, "invalid_input")


def test_the_limit_on_the_queue_counts_every_job(processes: Processes, redis: Redis) -> None:
    url = processes.service(MLPQ_MAX_QUEUED="10").ready().url
    with http_client(url) as api:
        assert_problem(api.post("/v1/jobs:batch", json=several(11)), 429, "queue_full")
        assert redis.zcard("mlpq:jobs") == 0
        assert api.post("/v1/jobs:batch", json=several(10)).status_code == 202


def test_a_thousand_jobs_are_taken_at_once(api: httpx2.Client, redis: Redis) -> None:
    answer = api.post("/v1/jobs:batch", json=several(1000))
    assert answer.status_code == 202, answer.text
    assert len({job["id"] for job in answer.json()["data"]}) == 1000
    assert redis.zcard("mlpq:queue") == redis.llen("rq:queue:mlpq") == 1000
