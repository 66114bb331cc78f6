"""/v1/sweeps over HTTP: what is recorded, what is shown, what is refused."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from redis import Redis

from store.jobs import JobStore
from store.transitions import Status
from tests.service.api_parts import assert_problem, claimed, point
from tests.store.store_parts import check_laws

BASE = {"training": {"epochs": 3}, "tags": ["t"]}
GRID = {"optimizer.learning_rate": [0.01, 0.1], "net.hidden": [[], [4], [8, 8]]}
SPACE = {"optimizer.learning_rate": {"log_uniform": [1e-3, 1.0]}}
ASHA = {"n": 9, "seed": 1, "space": SPACE, "min_epochs": 1, "max_epochs": 9, "reduction": 3}


def swept(api: httpx2.Client, **changes: Any) -> dict[str, Any]:
    body = {"dataset": "iris", "base": BASE} | (changes or {"grid": GRID})
    answer = api.post("/v1/sweeps", json=body)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/sweeps/{answer.json()['id']}"
    return answer.json()


def run_one(jobs: JobStore, val_loss: float, to: Status = Status.SUCCEEDED) -> str:
    claim = claimed(jobs)
    jobs.write(claim, events=[point(1, val_loss=val_loss)], metrics={"val_loss": val_loss})
    jobs.finish(claim, to)
    return claim.job_id


def test_a_grid_is_a_job_for_each_point_in_order(api: httpx2.Client, jobs: JobStore, redis: Redis) -> None:
    sweep = swept(api)
    assert (sweep["status"], sweep["kind"], sweep["n_jobs"]) == ("queued", "grid", 6)
    assert (sweep["objective"], sweep["direction"], sweep["best"]) == ("val_loss", "minimize", None)
    points = [job["point"] for job in sweep["jobs"]]
    assert points == [
        {"optimizer.learning_rate": rate, "net.hidden": hidden}
        for rate in GRID["optimizer.learning_rate"]
        for hidden in GRID["net.hidden"]
    ]
    for shown in sweep["jobs"]:
        job = api.get(f"/v1/jobs/{shown['id']}").json()
        assert job["spec"]["optimizer"]["learning_rate"] == shown["point"]["optimizer.learning_rate"]
        assert job["spec"]["net"]["hidden"] == shown["point"]["net.hidden"]
        assert (job["sweep"], job["point"], job["tags"]) == (sweep["id"], shown["point"], ["t"])
    check_laws(redis, jobs)


def test_a_job_of_a_sweep_is_what_the_same_request_is(api: httpx2.Client) -> None:
    sweep = swept(api)
    job = api.get(f"/v1/jobs/{sweep['jobs'][1]['id']}").json()
    defaults = api.post("/v1/jobs?dry_run=true", json={"dataset": "iris"} | BASE).json()["spec"]
    request = {"optimizer": {**defaults["optimizer"], "learning_rate": 0.01}, "net": {"hidden": [4]}}
    assert job["spec"] == api.post("/v1/jobs", json={"dataset": "iris"} | BASE | request).json()["spec"]


def test_the_best_of_those_that_succeeded_is_told_with_curves(api: httpx2.Client, jobs: JobStore) -> None:
    sweep = swept(api)
    ids = [run_one(jobs, 0.5), run_one(jobs, 0.2), run_one(jobs, 0.1, Status.FAILED), run_one(jobs, 0.3)]
    assert ids == [job["id"] for job in sweep["jobs"][:4]]
    shown = api.get(f"/v1/sweeps/{sweep['id']}").json()
    assert shown["status"] == "running"
    assert (shown["best"]["id"], shown["best"]["objective"]) == (ids[1], 0.2)
    assert shown["counts"]["succeeded"] == 3
    assert [job["objective"] for job in shown["jobs"][:4]] == [0.5, 0.2, 0.1, 0.3]
    assert list(shown["curves"]) == [ids[1], ids[3], ids[0]]
    assert shown["curves"][ids[1]] == {"epoch": [1], "val_loss": [0.2]}
    fewer = api.get(f"/v1/sweeps/{sweep['id']}", params={"curves": 1}).json()
    assert list(fewer["curves"]) == [ids[1]]
    for value in (0.4, 0.6):
        run_one(jobs, value)
    assert api.get(f"/v1/sweeps/{sweep['id']}").json()["status"] == "succeeded"


def test_maximize_turns_the_order_round(api: httpx2.Client, jobs: JobStore) -> None:
    sweep = swept(api, grid=GRID, objective="val_accuracy")
    assert sweep["direction"] == "maximize"
    worst = swept(api, grid=GRID, direction="maximize")
    for value in range(12):
        run_one(jobs, value / 10)
    best = api.get(f"/v1/sweeps/{worst['id']}").json()["best"]
    assert best["objective"] == 1.1


def test_random_draws_are_those_of_their_seed_whatever_their_number(api: httpx2.Client) -> None:
    space = SPACE | {"training.batch_size": {"int": [4, 64]}, "net.activation": {"choice": ["relu", "tanh"]}}
    few = swept(api, random={"n": 3, "seed": 5, "space": space})
    many = swept(api, random={"n": 8, "seed": 5, "space": space})
    other = swept(api, random={"n": 3, "seed": 6, "space": space})
    points = [[job["point"] for job in sweep["jobs"]] for sweep in (few, many, other)]
    assert points[0] == points[1][:3]
    assert points[0] != points[2]
    assert len({str(one) for one in points[1]}) == 8


def test_a_list_says_each_job_itself(api: httpx2.Client) -> None:
    overrides = [{}, {"optimizer": {"name": "sgd"}}, {"optimizer.name": "adagrad"}, {"net": {"hidden": [3]}}]
    sweep = swept(api, list=overrides, name="by hand")
    specs = [api.get(f"/v1/jobs/{job['id']}").json()["spec"] for job in sweep["jobs"]]
    assert [spec["optimizer"]["name"] for spec in specs] == ["adam", "sgd", "adagrad", "adam"]
    assert specs[3]["net"]["hidden"] == [3]
    assert sweep["list"] == overrides
    assert sweep["jobs"][1]["name"] == "by hand #1"


def test_points_are_added_to_a_list(api: httpx2.Client, jobs: JobStore, redis: Redis) -> None:
    sweep = swept(api, list=[{"net.hidden": [3]}], name="a study", base=BASE)
    url = f"/v1/sweeps/{sweep['id']}"
    assert run_one(jobs, 0.5) == sweep["jobs"][0]["id"]
    assert api.get(url).json()["status"] == "succeeded"
    more = [{"net.hidden": []}, {"optimizer.learning_rate": 1.0, "dataset": "wine"}]
    answers = [api.post(f"{url}/points", json={"list": more}, headers={"Idempotency-Key": "more"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202], answers[0].text
    added, again = (answer.json()["data"] for answer in answers)
    assert [job["id"] for job in added] == [job["id"] for job in again]
    assert [(job["point"], job["sweep"], job["tags"]) for job in added] == [(one, sweep["id"], ["t"]) for one in more]
    assert [(job["name"], job["dataset"]) for job in added] == [("a study #1", "iris"), ("a study #2", "wine")]
    shown = api.get(url).json()
    assert (shown["status"], shown["n_jobs"]) == ("running", 3)
    assert shown["list"] == [{"net.hidden": [3]}, *more]
    assert "list" not in api.get("/v1/sweeps").json()["data"][0], "lists of sweeps stay short"
    assert [job["id"] for job in shown["jobs"]] == [sweep["jobs"][0]["id"], *(job["id"] for job in added)]
    assert run_one(jobs, 0.2) == added[0]["id"]
    assert api.get(url).json()["best"]["id"] == added[0]["id"]
    check_laws(redis, jobs)


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ({"list": [{}, {"net.hidden": [0]}]}, "/list/1/net.hidden/0", "1"),
        ({"list": [{"dataset": "ds_gone"}]}, "/list/0/dataset", "ds_gone"),
        ({"list": [{"name": "x"}]}, "/list/0/name", "must be dataset or begin with"),
        ({"list": [{"dataset.name": "x"}]}, "/list/0/dataset.name", "must be dataset or begin with"),
        ({"list": []}, "/list", "at least 1"),
        ({"points": [{}]}, "/points", ""),
    ],
    ids=["value", "data set", "path", "below a data set", "none", "field"],
)
def test_points_that_no_job_can_have_are_named(api: httpx2.Client, body: Any, pointer: str, words: str) -> None:
    sweep = swept(api, list=[{}])
    problem = assert_problem(api.post(f"/v1/sweeps/{sweep['id']}/points", json=body), 422)
    assert pointer in [error["pointer"] for error in problem["errors"]], problem
    assert words in str(problem["errors"])
    assert api.get(f"/v1/sweeps/{sweep['id']}").json()["n_jobs"] == 1


def test_points_are_added_to_a_sweep_that_ended_and_was_to_be_cancelled(api: httpx2.Client, jobs: JobStore) -> None:
    sweep = swept(api, list=[{}])
    run_one(jobs, 0.5)
    assert api.post(f"/v1/sweeps/{sweep['id']}/cancel").json()["status"] == "succeeded"
    assert api.post(f"/v1/sweeps/{sweep['id']}/points", json={"list": [{}]}).status_code == 202


def test_points_on_a_base_whose_data_set_is_gone_are_a_conflict(api: httpx2.Client, jobs: JobStore) -> None:
    rows = "".join(f"{n},{'ab'[n > 9]}\n" for n in range(20))
    dataset = api.post("/v1/datasets?filename=rows.csv", content=f"x,y\n{rows}".encode()).json()["id"]
    sweep = swept(api, dataset=dataset, list=[{}])
    run_one(jobs, 0.5)
    assert api.delete(f"/v1/datasets/{dataset}").status_code == 204
    answer = api.post(f"/v1/sweeps/{sweep['id']}/points", json={"list": [{"dataset": "iris"}]})
    assert dataset in assert_problem(answer, 409, "conflict")["detail"]


def test_a_sweep_that_takes_no_points_says_why(api: httpx2.Client) -> None:
    grid, cancelled, full = swept(api), swept(api, list=[{}]), swept(api, list=[{}] * 1000)
    api.post(f"/v1/sweeps/{cancelled['id']}/cancel")
    answers = [api.post(f"/v1/sweeps/{one['id']}/points", json={"list": [{}]}) for one in (grid, cancelled, full)]
    assert "only a list takes more" in assert_problem(answers[0], 409, "conflict")["detail"]
    assert "is cancelled" in assert_problem(answers[1], 409, "conflict")["detail"]
    (error,) = assert_problem(answers[2], 422, "invalid_input")["errors"]
    assert (error["pointer"], "at most 1000" in error["detail"]) == ("/list", True)
    assert_problem(api.post("/v1/sweeps/swp_none/points", json={"list": [{}]}), 404)


def test_cancel_ends_all_and_delete_forgets_them(api: httpx2.Client, jobs: JobStore, redis: Redis) -> None:
    sweep = swept(api)
    first, running = run_one(jobs, 0.5), claimed(jobs)
    assert_problem(api.delete(f"/v1/sweeps/{sweep['id']}"), 409, "conflict")
    cancelled = api.post(f"/v1/sweeps/{sweep['id']}/cancel")
    assert cancelled.status_code == 202
    assert cancelled.json()["status"] == "cancelling"
    assert jobs.finish(running, Status.SUCCEEDED).status is Status.CANCELLED
    shown = api.get(f"/v1/sweeps/{sweep['id']}").json()
    assert (shown["status"], shown["counts"]["cancelled"], shown["counts"]["succeeded"]) == ("cancelled", 5, 1)
    assert shown["jobs"][2]["status_reason"] == "sweep_cancelled"
    assert api.post(f"/v1/sweeps/{sweep['id']}/cancel").status_code == 202
    check_laws(redis, jobs)
    assert api.delete(f"/v1/sweeps/{sweep['id']}").status_code == 204
    assert_problem(api.get(f"/v1/sweeps/{sweep['id']}"), 404)
    assert_problem(api.get(f"/v1/jobs/{first}"), 404)
    assert {key for key in redis.keys("*swp*") if b"deleted" not in key} == set()
    check_laws(redis, jobs)


def test_sweeps_are_listed_newest_first_and_their_jobs_by_filter(api: httpx2.Client, jobs: JobStore) -> None:
    ids = [swept(api)["id"] for _ in range(3)]
    api.post("/v1/jobs", json={"dataset": "iris"})
    page = api.get("/v1/sweeps", params={"limit": 2}).json()
    assert ([one["id"] for one in page["data"]], page["has_more"]) == (ids[:0:-1], True)
    rest = api.get("/v1/sweeps", params={"limit": 2, "after": page["last_id"]}).json()
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (ids[:1], False)
    run_one(jobs, 0.1)
    found = api.get("/v1/jobs", params={"sweep": ids[0], "status": "queued"}).json()["data"]
    assert (len(found), {job["sweep"] for job in found}) == (5, {ids[0]})
    assert len(api.get("/v1/jobs", params={"sweep": ids[1]}).json()["data"]) == 6
    assert_problem(api.get("/v1/sweeps", params={"after": "swp_nothing"}), 422)


def test_jobs_of_a_sweep_are_found_by_tag_and_status_too_page_by_page(api: httpx2.Client, jobs: JobStore) -> None:
    (sweep, other), newest_first = (swept(api), swept(api)), []
    for place, job in enumerate(sweep["jobs"]):
        tags = ["t", "half"] if place % 2 else ["t"]
        assert api.patch(f"/v1/jobs/{job['id']}", json={"tags": tags}).status_code == 200
        newest_first = [job["id"], *newest_first] if place % 2 else newest_first
    asked = {"sweep": sweep["id"], "tag": "half"}

    def found(**more: Any) -> tuple[list[str], bool]:
        page = api.get("/v1/jobs", params=asked | more).json()
        return [job["id"] for job in page["data"]], page["has_more"]

    assert found() == (newest_first, False)
    assert found(limit=2) == (newest_first[:2], True)
    assert found(limit=2, after=newest_first[1]) == (newest_first[2:], False)
    assert found(limit=3) == (newest_first, False)
    api.post(f"/v1/jobs/{newest_first[1]}/cancel")
    assert found(status="cancelled") == ([newest_first[1]], False)
    assert found(status="queued", limit=1) == (newest_first[:1], True)
    assert found(status="running") == found(tag="none") == ([], False)
    assert found(sweep=other["id"], tag="t", limit=100)[0] == [job["id"] for job in other["jobs"][::-1]]


def test_an_objective_may_come_from_what_each_point_sets(api: httpx2.Client) -> None:
    sweep = swept(api, grid={"training.folds": [2, 3]}, objective="cv_val_accuracy")
    assert (sweep["direction"], sweep["n_jobs"]) == ("maximize", 2)


@pytest.mark.parametrize(
    ("training", "objective"),
    [
        ({"folds": 3}, "cv_val_loss"),
        ({"early_stopping": {"patience": 2}}, "val_loss"),
        ({"max_runtime_s": 60.0}, "val_accuracy"),
        ({"folds": 2, "early_stopping": {"patience": 2}, "max_runtime_s": 9.0}, "cv_val_accuracy"),
    ],
)
def test_trials_that_halve_may_have_folds_stop_early_and_have_a_limit(
    api: httpx2.Client, training: dict[str, Any], objective: str
) -> None:
    sweep = swept(api, asha=ASHA, base={"training": training}, objective=objective)
    spec = api.get(f"/v1/jobs/{sweep['jobs'][0]['id']}").json()["spec"]["training"]
    assert spec["epochs"] == 9
    assert all(spec[name] is not None for name in training)


def test_the_same_key_gives_the_same_sweep(api: httpx2.Client, redis: Redis) -> None:
    body, headers = {"dataset": "iris", "grid": GRID}, {"Idempotency-Key": "k"}
    first = api.post("/v1/sweeps", json=body, headers=headers).json()
    assert api.post("/v1/sweeps", json=body, headers=headers).json() == first
    assert redis.zcard("mlpq:jobs") == 6
    assert_problem(api.post("/v1/sweeps", json=body | {"name": "other"}, headers=headers), 422)


RANDOM = {"n": 3, "space": SPACE}
BAD = [
    ({}, ""),
    ({"grid": GRID, "random": RANDOM}, ""),
    ({"grid": {}}, "/grid"),
    ({"grid": {"net.hidden": []}}, "/grid/net.hidden"),
    ({"grid": {"tags": [["iris"]]}}, "/grid/tags"),
    ({"grid": {"optimizer": ["sgd"], "optimizer.name": ["adam"]}}, "/grid"),
    ({"list": [{"training": {"epochs": [[[]]]}, "training.epochs": 3}]}, "/list/0"),
    ({"grid": {"optimizer.speed": [1]}}, "/grid/optimizer.speed/0"),
    ({"grid": {"optimizer.learning_rate": [0.1, -1]}}, "/grid/optimizer.learning_rate/1"),
    ({"grid": {"net.hidden": [[8], [8, 0]]}}, "/grid/net.hidden/1/1"),
    ({"grid": {"net.hidden.3": [8]}}, "/grid/net.hidden.3/0"),
    ({"grid": {"training.seed.x": [8]}}, "/grid/training.seed.x/0"),
    ({"grid": {"net.bias": [True, True]}}, "/grid"),
    ({"grid": {"net.bias": [True, 1]}}, "/grid/net.bias/1"),
    ({"grid": {f"training.a{i}": list(range(1000)) for i in range(3)}}, "/grid"),
    ({"random": RANDOM | {"n": 1_000_000_000}}, "/random/n"),
    ({"random": RANDOM | {"n": 0}}, "/random/n"),
    ({"random": RANDOM | {"n": True}}, "/random/n"),
    ({"random": {"n": 3, "space": {}}}, "/random/space"),
    ({"random": RANDOM | {"space": {"net.dropout": {"uniform": [1e999, 1]}}}}, "/random/space/net.dropout/uniform/0"),
    ({"random": RANDOM | {"space": {"net.dropout": {"uniform": [0.5, 0.1]}}}}, "/random/space/net.dropout/uniform"),
    ({"random": RANDOM | {"space": {"net.dropout": {"uniform": [0.5]}}}}, "/random/space/net.dropout/uniform"),
    ({"random": RANDOM | {"space": {"net.dropout": {"log_uniform": [0, 1]}}}}, "/random/space/net.dropout/log_uniform"),
    ({"random": RANDOM | {"space": {"net.dropout": {"int": [0, 0.5]}}}}, "/random/space/net.dropout/int/1"),
    ({"random": RANDOM | {"space": {"net.dropout": {}}}}, "/random/space/net.dropout"),
    ({"random": RANDOM | {"space": {"net.dropout": {"normal": [0, 1]}}}}, "/random/space/net.dropout/normal"),
    ({"random": RANDOM | {"space": {"net.dropout": {"uniform": [5, 6]}}}}, "/random/space/net.dropout"),
    ({"list": []}, "/list"),
    ({"list": [{"net.width": 3}]}, "/list/0/net.width"),
    ({"list": [{}, {"net.hidden": "x"}]}, "/list/1/net.hidden"),
    ({"list": [{}] * 1001}, "/list"),
    ({"list": [{}], "objective": "speed"}, "/objective"),
    ({"list": [{}], "objective": "val_r2"}, "/objective"),
    ({"list": [{}], "direction": "up"}, "/direction"),
    ({"list": [{}], "base": {"net": {"hidden": [0]}}}, "/base/net/hidden/0"),
    ({"list": [{}], "base": {"training": 3}}, "/base/training"),
    ({"list": [{}], "base": {"dataset": "wine"}}, "/base/dataset"),
    ({"list": [{}], "dataset": "nothing"}, "/dataset"),
    ({"list": [{}], "more": 1}, "/more"),
    ({"asha": ASHA | {"reduction": 1}}, "/asha/reduction"),
    ({"asha": ASHA | {"min_epochs": 9}}, "/asha/min_epochs"),
    ({"asha": ASHA | {"max_epochs": 2001}}, "/asha/max_epochs"),
    ({"asha": ASHA | {"n": 1}}, "/asha/n"),
    ({"asha": ASHA | {"space": {"training.epochs": {"int": [1, 2]}}}}, "/asha/space"),
    ({"asha": ASHA, "base": {"training": {"epochs": 5}}}, "/base/training/epochs"),
    ({"asha": ASHA, "objective": "cv_val_loss"}, "/objective"),
    ({"grid": {"training.folds": [None, 3]}, "objective": "cv_val_loss"}, "/objective"),
    ({"asha": ASHA, "base": {"training": {"folds": 1}}}, "/base/training/folds"),
    ({"asha": ASHA, "base": {"training": {"folds": 3}}, "objective": "cv_val_loss_std"}, "/objective"),
    ({"asha": ASHA, "objective": "train_accuracy"}, "/objective"),
    ({"asha": ASHA, "base": {"training": {"validation_fraction": 0.0}}}, "/objective"),
]


@pytest.mark.parametrize(("body", "pointer"), BAD, ids=[f"{place}{pointer}" for place, (_, pointer) in enumerate(BAD)])
def test_what_cannot_be_swept_is_refused_by_name(
    api: httpx2.Client, redis: Redis, body: dict[str, Any], pointer: str
) -> None:
    content = as_json(body if "dataset" in body else {"dataset": "iris"} | body)
    answer = api.post("/v1/sweeps", content=content, headers={"Content-Type": "application/json"})
    problem = assert_problem(answer, 422, "invalid_input")
    assert pointer in {error["pointer"] for error in problem["errors"]}, problem["errors"]
    assert redis.zcard("mlpq:jobs") == redis.zcard("mlpq:sweeps") == 0


def test_two_plans_at_once_are_told_which(api: httpx2.Client) -> None:
    body = {"dataset": "iris", "grid": {"training.seed": [1]}, "list": [{"training.seed": 1}]}
    (problem,) = assert_problem(api.post("/v1/sweeps", json=body), 422, "invalid_input")["errors"]
    assert problem["detail"] == "names grid and list; must name exactly one of grid, random, list, asha"


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()
