"""Gradient checks over HTTP, and the new parts of a spec from submit to predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from nets.losses import LOSSES
from nets.optimizers import OPTIMIZERS
from store.checkpoints import Checkpoints
from store.files import LocalArtifacts
from store.jobs import JobStore
from tests.service.api_parts import assert_problem, claimed, submitted
from tests.service.test_service_results import published

POLE = {"name": "custom", "expression": "1/x"}
SWISH = {"name": "custom", "expression": "x * sigmoid(beta*x)", "beta": 1.5}


def test_a_net_is_checked_on_a_data_set(api: httpx2.Client, jobs: JobStore) -> None:
    body = {"dataset": "iris", "net": {"hidden": [6], "activation": "gelu"}, "loss": "svm", "rows": 12}
    answer = api.post("/v1/gradient_checks", json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["object"], found["at"], found["rows"], found["ok"]) == ("gradient_check", "initial", 12, True)
    assert set(found["errors"]) == {"W1", "b1", "W2", "b2"}
    assert 0 < found["max_relative_error"] == max(found["errors"].values()) <= found["tolerance"]
    assert sum(jobs.counts().values()) == 0
    least = api.post("/v1/gradient_checks", json={"dataset": "digits"}).json()
    assert least["ok"]
    assert least["initial_loss"] == pytest.approx(least["expected_loss"], abs=1.5)
    assert least["expected_loss"] == pytest.approx(np.log(10))


def test_a_class_of_one_row_needs_no_split_to_be_checked(api: httpx2.Client) -> None:
    rows = [f"{k}.5,{k * k},class{k}" for k in range(6)]
    uploaded = api.post("/v1/datasets", files={"file": ("one_each.csv", "\n".join(["a,b,label", *rows]).encode())})
    dataset = uploaded.json()["id"]
    answer = api.post("/v1/gradient_checks", json={"dataset": dataset, "net": {"hidden": [5]}})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["ok"], found["rows"]) == (True, 6)
    assert found["expected_loss"] == pytest.approx(np.log(6))


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_is_checked_with_norm_dropout_and_a_formula(api: httpx2.Client, loss: str) -> None:
    net = {"hidden": [6], "activation": SWISH, "batch_norm": True, "dropout": 0.3}
    dataset = "breast_cancer" if loss == "binary_cross_entropy" else "iris"
    found = api.post("/v1/gradient_checks", json={"dataset": dataset, "net": net, "loss": loss}).json()
    assert found["ok"], found
    assert set(found["errors"]) == {"W1", "b1", "gamma1", "beta1", "W2", "b2"}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no data set": ({}, "/dataset"),
    "an unknown data set": ({"dataset": "nope"}, "/dataset"),
    "no rows": ({"dataset": "iris", "rows": 0}, "/rows"),
    "too many rows": ({"dataset": "iris", "rows": 65}, "/rows"),
    "an unknown field": ({"dataset": "iris", "optimizer": "sgd"}, "/optimizer"),
    "svm of a regression": ({"dataset": "diabetes", "loss": "svm"}, "/loss"),
    "softmax of a regression": ({"dataset": "diabetes", "loss": "softmax"}, "/loss"),
    "one output for three classes": ({"dataset": "iris", "loss": "binary_cross_entropy"}, "/loss"),
    "a pole": ({"dataset": "iris", "net": {"activation": POLE}}, "/net/activation/expression"),
    "a net too large": ({"dataset": "iris", "net": {"hidden": [60000, 20000]}}, "/net/hidden"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_checked_is_422_at_the_field(api: httpx2.Client, case: str) -> None:
    body, pointer = BAD[case]
    problem = assert_problem(api.post("/v1/gradient_checks", json=body), 422)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


def test_a_wrong_formula_is_422_and_the_column_is_named_at_submit(api: httpx2.Client, jobs: JobStore) -> None:
    net = {"activation": {"name": "custom", "expression": "x * tanhh(x)"}}
    problem = assert_problem(api.post("/v1/jobs", json={"dataset": "iris", "net": net}), 422)
    assert problem["errors"][0]["pointer"] == "/net/activation/expression"
    assert "column 5: unknown name 'tanhh'" in problem["errors"][0]["detail"]
    assert sum(jobs.counts().values()) == 0


def test_a_job_is_checked_at_its_start_its_checkpoint_and_its_result(
    api: httpx2.Client, jobs: JobStore, service_data: Path
) -> None:
    waiting = submitted(api, net={"hidden": [8]})["id"]
    start = api.get(f"/v1/jobs/{waiting}/explanations/gradient_check?rows=10").json()
    assert (start["at"], start["ok"], start["rows"], start["job"]) == ("initial", True, 10, waiting)
    assert start["loss"] == start["initial_loss"]
    claim = claimed(jobs)
    zeros = {"parameters": np.zeros(4 * 8 + 8 + 8 * 3 + 3, np.float32), "step": np.array(7)}
    manifest = Checkpoints(LocalArtifacts(service_data)).put(waiting, claim.fence, 7, 1, zeros)
    jobs.write(claim, checkpoint=manifest)
    middle = api.get(f"/v1/jobs/{waiting}/explanations/gradient_check").json()
    assert (middle["at"], middle["rows"]) == ("checkpoint", 8)
    assert middle["loss"] == pytest.approx(np.log(3))
    assert middle["initial_loss"] == pytest.approx(start["initial_loss"], rel=0.5), "of the first weights, on 8 rows"
    assert middle["initial_loss"] != middle["loss"]
    done, _ = published(api, jobs, service_data)
    end = api.get(f"/v1/jobs/{done.id}/explanations/gradient_check?rows=10").json()
    assert (end["at"], end["ok"], end["expected_loss"]) == ("result", True, np.log(3))
    assert end["initial_loss"] == start["initial_loss"]
    assert end["loss"] == pytest.approx(start["loss"], rel=1e-5), "the published weights are the initial ones"
    assert_problem(api.get(f"/v1/jobs/{done.id}/explanations/gradient_check?rows=0"), 422)
    assert_problem(api.get("/v1/jobs/job_nobody/explanations/gradient_check"), 404)


def test_the_openapi_document_describes_both(api: httpx2.Client) -> None:
    document = api.get("/openapi.json").json()
    post = document["paths"]["/v1/gradient_checks"]["post"]
    body = post["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
    assert document["components"]["schemas"][body]["required"] == ["dataset"]
    get = document["paths"]["/v1/jobs/{job_id}/explanations/gradient_check"]["get"]
    for operation in (post, get):
        assert "GradientCheckOut" in str(operation["responses"]["200"])
        assert {"422", "429"} <= set(operation["responses"])


def test_capabilities_list_every_loss_and_optimizer(api: httpx2.Client) -> None:
    shown = api.get("/v1/capabilities").json()
    assert [row["name"] for row in shown["losses"]] == list(LOSSES)
    assert [row["name"] for row in shown["optimizers"]] == list(OPTIMIZERS)
    assert shown["activations"][-1]["name"] == "custom"
