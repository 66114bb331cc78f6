"""The curves of many jobs in one answer, and jobs by their ids."""

from __future__ import annotations

import httpx2
import pytest

from store.jobs import JobStore
from store.transitions import Status
from tests.service.api_parts import assert_problem, claimed, finished, point, submitted

SPIKE = 613


def spiked(api: httpx2.Client, jobs: JobStore) -> str:
    """A job that has ended, with 2 000 points and one spike."""
    submitted(api)
    claim = claimed(jobs)
    for first in range(0, 2000, 500):
        steps = range(first, first + 500)
        jobs.write(claim, events=[point(step, val_loss=99.0 if step == SPIKE else 0.5) for step in steps])
    jobs.finish(claim, Status.SUCCEEDED)
    return claim.job_id


def test_curves_of_many_jobs_come_thinned_with_their_spikes(api: httpx2.Client, jobs: JobStore) -> None:
    long = spiked(api, jobs)
    short = submitted(api)["id"]
    finished(jobs, points=5)
    query = {"jobs": f"{long},job_none,{short},{long}", "names": "val_loss,train_loss", "max_points": 100}
    answer = api.get("/v1/metrics", params=query).raise_for_status().json()
    assert [one["job"] for one in answer["data"]] == [long, short]
    assert (answer["first_id"], answer["last_id"], answer["has_more"]) == (long, short, False)
    thinned, whole = answer["data"]
    assert (thinned["n_points"], whole["n_points"]) == (2000, 5)
    assert whole["curves"] == {"train_loss": {"steps": [0, 1, 2, 3, 4], "values": [1.0, 1 / 2, 1 / 3, 1 / 4, 1 / 5]}}
    curve = thinned["curves"]["val_loss"]
    assert len(curve["steps"]) == len(curve["values"]) <= 100
    assert curve["values"][curve["steps"].index(SPIKE)] == 99.0
    assert (curve["steps"][0], curve["steps"][-1]) == (0, 1999)
    everything = api.get("/v1/metrics", params={"jobs": short}).json()["data"][0]["curves"]
    assert everything.keys() == {"epoch", "train_loss", "attempt"}


def test_a_part_of_a_curve_has_more_of_its_points(api: httpx2.Client, jobs: JobStore) -> None:
    query = {"jobs": spiked(api, jobs), "names": "train_loss", "max_points": 100, "after_step": 599, "until_step": 690}
    [found] = api.get("/v1/metrics", params=query).json()["data"]
    assert found["curves"]["train_loss"]["steps"] == list(range(600, 691))
    rows = api.get(f"/v1/jobs/{query['jobs']}/metrics", params={"after_step": 599, "until_step": 601}).json()
    assert rows["columns"]["step"] == [600, 601]


def test_curves_of_a_deleted_job_are_gone(api: httpx2.Client, jobs: JobStore) -> None:
    job = spiked(api, jobs)
    assert api.get(f"/v1/metrics?jobs={job}").json()["data"]
    api.delete(f"/v1/jobs/{job}").raise_for_status()
    assert api.get(f"/v1/metrics?jobs={job}").json()["data"] == []
    assert_problem(api.get(f"/v1/jobs/{job}/metrics"), 404)


def test_jobs_are_found_by_their_ids(api: httpx2.Client) -> None:
    first, second = submitted(api, name="a")["id"], submitted(api, name="b")["id"]
    page = api.get(f"/v1/jobs?ids={first},job_none,{second}").json()
    assert [job["name"] for job in page["data"]] == ["a", "b"]
    assert page["data"][0] == api.get(f"/v1/jobs/{first}").json()
    assert not page["has_more"]


MANY = ",".join(f"job_{n}" for n in range(101))


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        (f"/v1/metrics?jobs={MANY}", "/query/jobs"),
        ("/v1/metrics", "/query/jobs"),
        ("/v1/metrics?jobs=job_a&max_points=1", "/query/max_points"),
        (f"/v1/jobs?ids={MANY}", "/query/ids"),
        ("/v1/jobs?ids=job_a&status=failed", "/query/ids"),
    ],
)
def test_what_cannot_be_asked_for_is_named(api: httpx2.Client, path: str, pointer: str) -> None:
    problem = assert_problem(api.get(path), 422)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
