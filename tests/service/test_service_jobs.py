"""The life of a job over HTTP, as far as it goes without a worker; the store is driven as a worker drives it."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from store.jobs import JobStore
from store.transitions import Status
from store.workers import WorkerInfo, Workers
from tests.processes import Processes, http_client
from tests.service.api_parts import SPEC, assert_problem, claimed, finished, point, submitted


def test_a_submitted_job_is_recorded_resolved_and_queued(api: httpx2.Client, jobs: JobStore) -> None:
    answer = api.post(
        "/v1/jobs", json={"dataset": "digits", "name": "first try", "tags": ["demo"], "metadata": {"k": 1}}
    )
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["object"] == "job"
    assert job["status"] == "queued"
    assert job["queue_position"] == 0
    assert job["created_at"].endswith("Z")
    assert (job["name"], job["tags"], job["metadata"]) == ("first try", ["demo"], {"k": 1})
    assert job["spec"]["loss"] == "softmax"
    assert job["spec"]["training"]["batch_size"] > 0
    assert job["progress"]["epochs"] == job["spec"]["training"]["epochs"]
    assert api.get(job["links"]["self"]).json() == job
    assert jobs.get(job["id"]).status is Status.QUEUED


def test_the_resolved_spec_submitted_again_is_the_same_spec(api: httpx2.Client) -> None:
    for dataset in ("digits", "diabetes", "spiral"):
        spec = submitted(api, dataset=dataset)["spec"]
        again = api.post("/v1/jobs", json=spec | {"dataset": dataset})
        assert again.status_code == 202, again.text
        assert again.json()["spec"] == spec


def test_a_dry_run_describes_and_queues_nothing(api: httpx2.Client, jobs: JobStore) -> None:
    answer = api.post("/v1/jobs?dry_run=true", json={"dataset": "digits", "net": {"hidden": [16]}})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["object"] == "dry_run"
    assert found["parameters"] == 64 * 16 + 16 + 16 * 10 + 10
    assert found["memory_bytes"] > 4 * found["parameters"]
    assert found["spec"]["net"]["hidden"] == [16]
    assert found["gradient_check"]["ok"]
    assert set(found["gradient_check"]["errors"]) == {"W1", "b1", "W2", "b2"}
    assert found["initial_loss"] == pytest.approx(2.3, abs=1.5)
    assert sum(jobs.counts().values()) == 0


@pytest.mark.parametrize("dataset", ["iris", "diabetes", "spiral"])
def test_a_dry_run_works_on_every_kind_of_data_set(api: httpx2.Client, dataset: str) -> None:
    found = api.post("/v1/jobs?dry_run=true", json={"dataset": dataset}).json()
    assert found["gradient_check"]["ok"], found


def test_a_dry_run_of_a_huge_net_is_described_without_a_check(api: httpx2.Client) -> None:
    answer = api.post("/v1/jobs?dry_run=true", json={"dataset": "digits", "net": {"hidden": [60000, 20000]}})
    assert answer.status_code == 200, answer.text
    assert answer.json()["gradient_check"] is None
    assert answer.json()["parameters"] > 1e9


def test_jobs_are_listed_newest_first_page_by_page(api: httpx2.Client) -> None:
    ids = [submitted(api, name=str(n))["id"] for n in range(7)][::-1]
    seen, after = [], None
    while True:
        page = api.get("/v1/jobs", params={"limit": 3} | ({"after": after} if after else {})).json()
        assert page["object"] == "list"
        assert page["first_id"] == page["data"][0]["id"]
        seen += [job["id"] for job in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert seen == ids


def test_lists_filter_by_status_and_tag(api: httpx2.Client, jobs: JobStore) -> None:
    submitted(api, tags=["a"])
    done = finished(jobs)
    waiting = submitted(api, tags=["a", "b"])["id"]
    of = lambda **query: [job["id"] for job in api.get("/v1/jobs", params=query).json()["data"]]  # noqa: E731
    assert of(status="succeeded") == [done]
    assert of(status="queued", tag="a") == [waiting]
    assert of(tag="a") == [waiting, done]
    assert of(tag="nothing") == []
    empty = api.get("/v1/jobs?tag=nothing").json()
    assert (empty["first_id"], empty["last_id"], empty["has_more"]) == (None, None, False)


def test_a_patch_changes_what_it_names_and_nothing_else(api: httpx2.Client) -> None:
    job = submitted(api, name="before", tags=["x"], metadata={"a": 1})
    changed = api.patch(f"/v1/jobs/{job['id']}", json={"tags": ["y"], "priority": 5}).json()
    assert (changed["name"], changed["tags"], changed["priority"]) == ("before", ["y"], 5)
    assert changed["metadata"] == {"a": 1}
    assert api.patch(f"/v1/jobs/{job['id']}", json={"name": None}).json()["name"] is None
    assert api.patch(f"/v1/jobs/{job['id']}", json={}).status_code == 200
    assert_problem(api.patch(f"/v1/jobs/{job['id']}", json={"status": "succeeded"}), 422)
    assert_problem(api.patch("/v1/jobs/job_none", json={"name": "x"}), 404)


def test_a_higher_priority_moves_a_job_to_the_front(api: httpx2.Client) -> None:
    first, second = submitted(api), submitted(api)
    assert api.get(f"/v1/jobs/{second['id']}").json()["queue_position"] == 1
    api.patch(f"/v1/jobs/{second['id']}", json={"priority": 1})
    assert api.get(f"/v1/jobs/{second['id']}").json()["queue_position"] == 0
    assert api.get(f"/v1/jobs/{first['id']}").json()["queue_position"] == 1


def test_only_an_ended_job_can_be_deleted(api: httpx2.Client, jobs: JobStore) -> None:
    job = submitted(api)
    assert_problem(api.delete(f"/v1/jobs/{job['id']}"), 409, "conflict")
    finished(jobs)
    assert api.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert_problem(api.delete(f"/v1/jobs/{job['id']}"), 404)


def test_queued_jobs_move_at_once(api: httpx2.Client) -> None:
    path = f"/v1/jobs/{submitted(api)['id']}"
    assert api.post(f"{path}/pause").json()["status"] == "paused"
    assert api.post(f"{path}/resume").json()["status"] == "queued"
    answer = api.post(f"{path}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")


def test_a_running_job_moves_when_its_worker_lets_go(api: httpx2.Client, jobs: JobStore) -> None:
    path = f"/v1/jobs/{submitted(api)['id']}"
    claim = claimed(jobs)
    assert api.post(f"{path}/pause").json()["status"] == "pausing"
    jobs.finish(claim, Status.PAUSED)
    assert api.get(path).json()["status"] == "paused"
    api.post(f"{path}/resume")
    claim = claimed(jobs)
    assert api.post(f"{path}/cancel").json()["status"] == "cancelling"
    assert jobs.finish(claim, Status.SUCCEEDED, result={"key": "x"}).status is Status.CANCELLED
    assert api.get(path).json()["status"] == "cancelled"


@pytest.mark.parametrize("action", ["cancel", "pause", "resume"])
def test_an_illegal_move_is_409_and_names_what_is_allowed(api: httpx2.Client, jobs: JobStore, action: str) -> None:
    path = f"/v1/jobs/{submitted(api)['id']}"
    if action == "resume":
        problem = assert_problem(api.post(f"{path}/resume"), 409, "illegal_transition")
        assert "cancel" in problem["detail"]
        assert "pause" in problem["detail"]
        return
    finished(jobs)
    problem = assert_problem(api.post(f"{path}/{action}"), 409, "illegal_transition")
    assert "nothing" in problem["detail"]


def test_the_same_key_and_body_give_the_same_job(api: httpx2.Client) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.post("/v1/jobs", json=SPEC, headers=key), range(24)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(api.get("/v1/jobs").json()["data"]) == 1


def test_the_same_key_with_another_body_is_refused(api: httpx2.Client) -> None:
    key = {"Idempotency-Key": "k-1"}
    assert api.post("/v1/jobs", json=SPEC, headers=key).status_code == 202
    problem = assert_problem(api.post("/v1/jobs", json=SPEC | {"name": "other"}, headers=key), 422)
    assert problem["errors"][0]["pointer"] == "/headers/Idempotency-Key"
    assert_problem(api.post("/v1/jobs", json=SPEC, headers={"Idempotency-Key": "a" * 256}), 422)
    assert_problem(api.post("/v1/jobs", json=SPEC, headers={"Idempotency-Key": "a b"}), 422)


def test_the_same_key_asks_for_a_move_once(api: httpx2.Client) -> None:
    path = f"/v1/jobs/{submitted(api)['id']}"
    for action, status in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        for _ in range(2):
            answer = api.post(f"{path}/{action}", headers={"Idempotency-Key": f"to-{action}"})
            assert (answer.status_code, answer.json()["status"]) == (202, status)
    assert api.post(f"{path}/cancel", headers={"Idempotency-Key": "another"}).status_code == 409
    refused = api.post(f"{path}/pause", headers={"Idempotency-Key": "to-cancel"})
    assert_problem(refused, 422, "invalid_input")


def test_progress_and_metrics_are_those_that_the_worker_wrote(api: httpx2.Client, jobs: JobStore) -> None:
    job = submitted(api)
    claim = claimed(jobs)
    jobs.write(
        claim,
        events=[point(10)],
        progress={"epoch": 1, "epochs": 4, "step": 10, "steps": 40},
        metrics={"train_loss": 0.5, "val_loss": float("nan")},
        device="cpu",
        backend="numpy",
    )
    found = api.get(f"/v1/jobs/{job['id']}").json()
    assert found["status"] == "running"
    assert {k: found["progress"][k] for k in ("epoch", "epochs", "step", "steps")} == {
        "epoch": 1,
        "epochs": 4,
        "step": 10,
        "steps": 40,
    }
    assert found["progress"]["eta_s"] >= 0
    jobs.request(job["id"], "pause")
    assert api.get(f"/v1/jobs/{job['id']}").json()["progress"]["eta_s"] is None
    assert found["metrics"] == {"train_loss": 0.5, "val_loss": None}
    assert (found["device"], found["backend"]) == ("cpu", "numpy")


def test_a_failed_job_says_why(api: httpx2.Client, jobs: JobStore) -> None:
    job = submitted(api)
    claim = claimed(jobs)
    jobs.finish(claim, Status.FAILED, "diverged", error={"code": "diverged", "message": "W1 became non-finite"})
    found = api.get(f"/v1/jobs/{job['id']}").json()
    assert (found["status"], found["status_reason"]) == ("failed", "diverged")
    assert found["error"] == {"code": "diverged", "message": "W1 became non-finite", "param": None}


def test_queue_and_workers_are_what_the_store_says(api: httpx2.Client, jobs: JobStore) -> None:
    submitted(api)
    submitted(api)
    claimed(jobs)
    Workers(jobs.redis).heartbeat(WorkerInfo("w1", "host", 1, "cpu", "numpy", jobs=("job_1",)))
    queue = api.get("/v1/queue").json()
    assert (queue["depth"], queue["jobs"]["running"], queue["workers"]) == (1, 1, 1)
    (worker,) = api.get("/v1/workers").json()["data"]
    assert (worker["id"], worker["device"], worker["jobs"]) == ("w1", "cpu", ["job_1"])
    metrics = api.get("/metrics").text
    assert 'mlpq_jobs{status="queued"} 1.0' in metrics
    assert "mlpq_workers 1.0" in metrics
    assert 'mlpq_requests_total{method="POST",route="/v1/jobs",status="202"}' in metrics


def test_a_full_queue_is_429(processes: Processes) -> None:
    service = processes.service(MLPQ_MAX_QUEUED="2").ready()
    with http_client(service.url) as api:
        key = {"Idempotency-Key": "mine"}
        submitted(api)
        mine = api.post("/v1/jobs", json=SPEC, headers=key).json()
        time.sleep(1.1)  # counted at most a second ago
        refused = api.post("/v1/jobs", json=SPEC)
        assert_problem(refused, 429, "queue_full")
        assert refused.headers["retry-after"]
        again = api.post("/v1/jobs", json=SPEC, headers=key)
        assert (again.status_code, again.json()["id"]) == (202, mine["id"])
        changed = api.post("/v1/jobs", json=SPEC | {"name": "other"}, headers=key)
        assert_problem(changed, 422)
        api.post(f"/v1/jobs/{mine['id']}/cancel")
        api.delete(f"/v1/jobs/{mine['id']}")
        time.sleep(1.1)
        submitted(api)
        time.sleep(1.1)
        assert_problem(api.post("/v1/jobs", json=SPEC, headers=key), 429, "queue_full")


def test_capabilities_come_with_an_entity_tag(api: httpx2.Client) -> None:
    first = api.get("/v1/capabilities")
    assert {row["name"] for row in first.json()["activations"]} >= {"relu", "gelu", "leaky_relu"}
    again = api.get("/v1/capabilities", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert api.get("/v1/capabilities", headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/readyz", "/docs", "/v1/jobs", "/v1/capabilities", "{job}", "{job}/events"]
)
def test_head_is_get_without_its_body(api: httpx2.Client, path: str) -> None:
    path = path.format(job=f"/v1/jobs/{submitted(api)['id']}")
    answer = api.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    with api.stream("GET", path) as whole:
        assert answer.headers["content-type"] == whole.headers["content-type"]
        assert "events" in path or answer.headers["content-length"] == whole.headers["content-length"]
    assert api.head("/v1/jobs/job_1").status_code == 404
