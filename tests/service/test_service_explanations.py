"""Explanations over HTTP: JSON or a picture, of results, of checkpoints, and of what has neither."""

from __future__ import annotations

import hashlib
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from redis import Redis

from nets.explain.registry import EXPLANATIONS
from nets.export import load_npz
from nets.weights import Predictor
from service.explanations import Explanations
from service.predictors import Predictors
from service.problems import Refused
from service.tables import Tables
from store.checkpoints import Checkpoints
from store.datasets import DatasetStore
from store.files import LocalArtifacts
from store.jobs import JobStore
from tests.service.api_parts import assert_problem, claimed, submitted
from tests.service.test_service_results import published

PNG = {"Accept": "image/png"}
NAMES = (*EXPLANATIONS, "gradient_check")
"""All of them apply to a net on the spiral."""


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height in a PNG's header."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    return width, height


@pytest.mark.parametrize("name", NAMES)
def test_every_explanation_is_json_and_a_picture(
    api: httpx2.Client, jobs: JobStore, service_data: Path, name: str
) -> None:
    job, _ = published(api, jobs, service_data, "spiral")
    path = f"/v1/jobs/{job.id}/explanations/{name}"
    answer = api.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert (found["object"], found["job"], found["dataset"], found["at"]) == (name, job.id, "spiral", "result")
    for picture in (api.get(path, headers=PNG), api.get(f"{path}?format=png")):
        assert picture.headers["content-type"] == "image/png"
        assert size_of(picture.content)[0] == 900
        assert picture.headers["content-disposition"] == f'inline; filename="{job.id}-{name}.png"'
        assert picture.headers["etag"] == f'"{hashlib.sha256(picture.content).hexdigest()}"'
    assert size_of(api.get(f"{path}?format=png&width=300").content)[0] == 300
    for kept in (answer, picture):
        headers = {"If-None-Match": kept.headers["etag"], "Accept": kept.headers["content-type"]}
        again = api.get(path, headers=headers)
        assert (again.status_code, again.content, again.headers["vary"]) == (304, b"", "Accept")


ACCEPTED = {
    "": "application/json",
    "*/*": "application/json",
    "application/*": "application/json",
    "image/png": "image/png",
    "IMAGE/*": "image/png",
    "image/png;q=0.5, application/json;q=0.4": "image/png",
    "image/png;q=0.5, application/json": "application/json",
    "image/png;q=0, */*": "application/json",
    "application/json;q=0, */*;q=0.1": "image/png",
    "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8": "image/png",
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8": "application/json",
}


def test_the_accept_header_decides_and_the_format_overrules_it(
    api: httpx2.Client, jobs: JobStore, service_data: Path
) -> None:
    job, _ = published(api, jobs, service_data)
    path = f"/v1/jobs/{job.id}/explanations/confusion"
    for accept, media_type in ACCEPTED.items():
        assert api.get(path, headers={"Accept": accept}).headers["content-type"] == media_type, accept
    for refused in ("text/html", "image/webp", "image/png;q=0", "image/png;q=x", "nonsense"):
        assert_problem(api.get(path, headers={"Accept": refused}), 406, "not_acceptable")
    asked = api.get(f"{path}?format=json", headers={"Accept": "text/html"})
    assert asked.headers["content-type"] == "application/json"


def test_the_numbers_are_those_of_evaluate_and_of_the_rows_asked_for(
    api: httpx2.Client, jobs: JobStore, service_data: Path
) -> None:
    job, _ = published(api, jobs, service_data)
    path = f"/v1/jobs/{job.id}/explanations/confusion"
    measured = api.post(f"/v1/jobs/{job.id}/evaluate", json={"dataset": "iris"}).json()
    for query in ("rows=all", "dataset=iris&rows=all"):
        found = api.get(f"{path}?{query}").json()
        assert (found["matrix"], found["n_rows"]) == (measured["confusion_matrix"], 150)
        assert found["metrics"]["accuracy"] == measured["metrics"]["accuracy"]
    sizes = {part: api.get(f"{path}?rows={part}").json()["n_rows"] for part in ("train", "validation", "auto")}
    assert sizes == {"train": 120, "validation": 30, "auto": 30}


def test_another_data_set_is_taken_whole(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    job, _ = published(api, jobs, service_data, "spiral")
    rows = "\n".join(f"{k / 9},{-k / 9},arm {1 + k % 3}" for k in range(12))
    other = api.post("/v1/datasets", files={"file": ("other.csv", f"x1,x2,class\n{rows}".encode())}).json()["id"]
    path = f"/v1/jobs/{job.id}/explanations"
    found = api.get(f"{path}/confusion?dataset={other}").json()
    assert (found["n_rows"], found["rows"], found["dataset"], found["dataset_name"]) == (12, "all", other, "other")
    assert api.get(f"{path}/calibration?dataset={other}").json()["n_rows"] == 12
    for query, pointer in (
        (f"dataset={other}&rows=train", "/query/rows"),
        ("dataset=nope", "/query/dataset"),
        ("dataset=iris", "/query/dataset"),
        ("dataset=diabetes", "/query/dataset"),
        ("dataset=%00%ff", "/query/dataset"),
    ):
        problem = assert_problem(api.get(f"{path}/confusion?{query}"), 422, "invalid_input")
        assert [error["pointer"] for error in problem["errors"]] == [pointer], query


def test_a_running_job_is_explained_at_its_newest_checkpoint(
    api: httpx2.Client, jobs: JobStore, service_data: Path
) -> None:
    waiting = submitted(api, net={"hidden": []})["id"]
    path = f"/v1/jobs/{waiting}/explanations/confusion"
    assert_problem(api.get(path), 404, "no_weights")
    assert_problem(api.get(path, headers=PNG), 404, "no_weights")
    claim = claimed(jobs)
    checkpoints = Checkpoints(LocalArtifacts(service_data))
    for step, bias in ((7, [9, 0, 0]), (9, [0, 0, 9])):
        flat = np.concatenate([np.zeros(12), bias]).astype(np.float32)
        manifest = checkpoints.put(waiting, claim.fence, step, 1, {"parameters": flat, "step": np.array(step)})
        jobs.write(claim, checkpoint=manifest)
    newest = api.get(path).json()
    assert (newest["at"], newest["step"]) == ("checkpoint", 9)
    assert newest["matrix"] == [[0, 0, 10]] * 3
    earlier = api.get(f"{path}?checkpoint=7")
    assert (earlier.json()["step"], earlier.json()["matrix"]) == (7, [[10, 0, 0]] * 3)
    assert api.get(path, headers=PNG).content != api.get(f"{path}?checkpoint=7", headers=PNG).content
    assert_problem(api.get(f"{path}?checkpoint=8"), 404, "no_weights")
    assert_problem(api.get(f"{path}?checkpoint=x"), 422)
    for name in EXPLANATIONS:
        assert api.get(f"/v1/jobs/{waiting}/explanations/{name}").status_code in (200, 422), name


def test_equal_parameters_of_different_nets_predict_as_each_net_does(
    api: httpx2.Client, jobs: JobStore, service_data: Path
) -> None:
    """Before they are trained apart, or with renamed classes, the files of two jobs' checkpoints are the same."""
    checkpoints, flat = Checkpoints(LocalArtifacts(service_data)), np.linspace(-1, 1, 3 * 4 + 3 + 3 * 3 + 3)
    found = {}
    for activation in ("relu", "tanh"):
        job_id = submitted(api, net={"hidden": [3], "activation": activation})["id"]
        claim = claimed(jobs)
        arrays = {"parameters": flat.astype(np.float32), "step": np.array(7)}
        jobs.write(claim, checkpoint=checkpoints.put(job_id, claim.fence, 7, 1, arrays))
        path = f"/v1/jobs/{job_id}"
        answer = api.post(f"{path}/predict?checkpoint=7", json={"rows": [[5.0, 3.0, 1.5, 0.2]]}).json()
        weights = load_npz(api.get(f"{path}/weights?checkpoint=7").content)
        rows = Predictor.from_arrays(weights).predict(np.array([[5.0, 3.0, 1.5, 0.2]])).probabilities
        np.testing.assert_allclose(answer["probabilities"], rows, rtol=1e-6, err_msg=activation)
        found[activation] = answer["probabilities"]
    assert found["relu"] != found["tanh"]


def test_the_list_tells_what_a_job_has_and_why_not(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    job, _ = published(api, jobs, service_data, "diabetes")
    links = api.get(f"/v1/jobs/{job.id}").json()["links"]
    listed = {one["id"]: one for one in api.get(links["explanations"]).json()["data"]}
    assert set(listed) == set(NAMES)
    assert {name for name, one in listed.items() if one["available"]} == {
        "templates",
        "importance",
        "histograms",
        "gradient_check",
    }
    for name, one in listed.items():
        answer = api.get(one["links"]["self"])
        picture = api.get(one["links"]["picture"])
        if one["available"]:
            assert (answer.status_code, picture.headers["content-type"]) == (200, "image/png"), name
            continue
        for refused in (answer, picture):
            assert one["reason"] in assert_problem(refused, 422, "not_applicable")["detail"]


def test_images_have_templates_of_their_shape(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    job, arrays = published(api, jobs, service_data, "digits")
    found = api.get(f"/v1/jobs/{job.id}/explanations/templates?limit=3").json()
    assert found["image"] == {"height": 8, "width": 8, "channels": 1}
    assert (len(found["templates"]), found["n_units"]) == (3, 8)
    first = found["templates"][0]
    np.testing.assert_allclose(np.array(first["weights"])[..., 0], arrays["W1"][:, first["unit"]].reshape(8, 8))


BAD = {
    "confusion?rows=some": "/query/rows",
    "confusion?width=199": "/query/width",
    "confusion?width=2401": "/query/width",
    "confusion?width=1e3": "/query/width",
    "confusion?format=svg": "/query/format",
    "calibration?bins=1": "/query/bins",
    "calibration?bins=51": "/query/bins",
    "templates?limit=0": "/query/limit",
    "templates?limit=" + "9" * 400: "/query/limit",
    "boundary?resolution=9": "/query/resolution",
    "boundary?resolution=401": "/query/resolution",
    "importance?repeats=0": "/query/repeats",
    "importance?columns=-1": "/query/columns",
    "importance?metric=f1": "/query/metric",
    "histograms?batch=0": "/query/batch",
    "histograms?bins=NaN": "/query/bins",
    "gradient_check?format=gif": "/query/format",
}


@pytest.mark.parametrize("query", BAD)
def test_a_bad_parameter_is_422_with_its_value_and_what_is_allowed(
    api: httpx2.Client, jobs: JobStore, service_data: Path, query: str
) -> None:
    job, _ = published(api, jobs, service_data, "spiral")
    problem = assert_problem(api.get(f"/v1/jobs/{job.id}/explanations/{query}"), 422, "invalid_input")
    (error,) = problem["errors"]
    assert error["pointer"] == BAD[query]
    assert error["detail"].startswith("is ")
    assert "must be" in error["detail"]


def test_what_is_not_there_is_404(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    for path in ("job_nobody/explanations", "job_nobody/explanations/confusion", "x/explanations/importance"):
        assert_problem(api.get(f"/v1/jobs/{path}"), 404, "not_found")
    job, _ = published(api, jobs, service_data)
    assert_problem(api.get(f"/v1/jobs/{job.id}/explanations/nothing"), 404, "not_found")


def test_a_deleted_data_set_is_named(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    rows = "\n".join(f"{k},{k * k % 7},{'ab'[k % 2]}" for k in range(40))
    dataset = api.post("/v1/datasets", files={"file": ("gone.csv", f"p,q,r\n{rows}".encode())}).json()["id"]
    job, _ = published(api, jobs, service_data, dataset)
    assert api.get(f"/v1/jobs/{job.id}/explanations/confusion").status_code == 200
    assert api.delete(f"/v1/datasets/{dataset}").status_code == 204
    for name in ("", *(f"/{name}" for name in EXPLANATIONS)):
        problem = assert_problem(api.get(f"/v1/jobs/{job.id}/explanations{name}"), 404, "no_dataset")
        assert dataset in problem["detail"]


def test_many_clients_at_once_get_the_same_picture_or_are_asked_to_wait(
    api: httpx2.Client, jobs: JobStore, service_data: Path
) -> None:
    job, _ = published(api, jobs, service_data, "spiral")

    def ask(width: int) -> httpx2.Response:
        return api.get(f"/v1/jobs/{job.id}/explanations/boundary?format=png&width={width}", timeout=60)

    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(ask, [400 + k % 4 for k in range(24)]))
    assert {answer.status_code for answer in answers} <= {200, 429}
    drawn: dict[int, set[bytes]] = {}
    for answer in answers:
        if answer.status_code == 200:
            drawn.setdefault(size_of(answer.content)[0], set()).add(answer.content)
        else:
            assert answer.headers["retry-after"]
    assert all(len(same) == 1 for same in drawn.values())
    assert drawn


def test_who_waits_too_long_for_a_turn_is_asked_to_come_back(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.explanations.WAIT_S", 0.05)
    tables = Tables(DatasetStore(redis, tmp_path))
    explanations = Explanations(Predictors(LocalArtifacts(tmp_path), tables), tables)
    with explanations.turn(), explanations.turn():
        with pytest.raises(Refused, match="2 are being made") as refused, explanations.turn():
            pass
        assert (refused.value.status, refused.value.code, refused.value.headers) == (429, "busy", {"Retry-After": "2"})
    with explanations.turn():
        pass


def test_openapi_and_capabilities_describe_them(api: httpx2.Client) -> None:
    paths = api.get("/openapi.json").json()["paths"]
    for name, row in EXPLANATIONS.items():
        operation = paths[f"/v1/jobs/{{job_id}}/explanations/{name}"]["get"]
        assert set(operation["responses"]["200"]["content"]) == {"application/json", "image/png"}
        assert {"304", "404", "406", "422", "429"} <= set(operation["responses"])
        parameters: dict[str, Any] = {one["name"]: one["schema"] for one in operation["parameters"]}
        expected = {"job_id", "checkpoint", "format", "width", *(option.name for option in row.options)}
        assert set(parameters) == expected | ({"dataset"} if row.elsewhere else set())
        for option in row.options:
            limits = (
                {"enum": list(option.choices)} if option.choices else {"minimum": option.low, "maximum": option.high}
            )
            assert limits.items() <= parameters[option.name].items(), option.name
            assert parameters[option.name]["default"] == option.default
    shown = api.get("/v1/capabilities").json()["explanations"]
    assert [one["name"] for one in shown] == list(EXPLANATIONS)
    check = paths["/v1/jobs/{job_id}/explanations/gradient_check"]["get"]["responses"]["200"]["content"]
    assert set(check) == {"application/json", "image/png"}
