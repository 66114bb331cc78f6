"""Featurisers over HTTP and through a worker's runner: shown, refused at their place, trained, predicted, exported."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from nets.export import load_npz
from store.datasets import DatasetStore
from store.jobs import JobStore
from tests.service.api_parts import assert_problem, submitted
from tests.service.test_service_training import run_next, trained, uploaded
from worker.data import DataCache

ASKED: list[Any] = [{"name": "hog", "cell": 4}, {"name": "bag_of_words", "words": 20}, "color_histogram", "raw"]


def coloured_images(api: httpx2.Client) -> tuple[str, np.ndarray]:
    """Bytes of 6 x 5 images in two colours, as an NPZ."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 120, (60, 6, 5, 3), np.uint8), np.arange(60) % 2
    x[y == 1, :, :, 0] += 120
    file = io.BytesIO()
    np.savez(file, X=x, y=y)
    return uploaded(api, file.getvalue(), "colours.npz"), x


def test_capabilities_list_every_featuriser(api: httpx2.Client) -> None:
    found = api.get("/v1/capabilities").json()
    rows = {row["name"]: row for row in found["features"]}
    assert list(rows) == ["raw", "color_histogram", "hog", "bag_of_words"]
    cell = next(one for one in rows["hog"]["parameters"] if one["name"] == "cell")
    assert cell | {"doc": ""} == {
        "name": "cell", "kind": "integer", "default": 8, "doc": "", "minimum": 2, "maximum": 256,
    }  # fmt: skip
    schema = found["spec_schema"]["properties"]["features"]
    assert (schema["default"], schema["minItems"], schema["maxItems"]) == (["raw"], 1, found["limits"]["max_features"])


def test_a_dry_run_tells_inputs_and_memory(api: httpx2.Client) -> None:
    spec = {"dataset": "digits", "net": {"hidden": []}}
    plain = api.post("/v1/jobs", params={"dry_run": "true"}, json=spec).json()
    found = api.post("/v1/jobs", params={"dry_run": "true"}, json=spec | {"features": ASKED}).json()
    assert (plain["inputs"], plain["parameters"]) == (64, 65 * 10)
    assert "features" not in plain["spec"]
    assert (found["inputs"], found["parameters"]) == (36 + 20 + 8 + 64, (128 + 1) * 10)
    assert found["memory_bytes"] > plain["memory_bytes"]
    assert found["gradient_check"]["ok"]
    assert found["spec"]["features"][0] == {"name": "hog", "cell": 4, "bins": 9}


@pytest.mark.parametrize(
    ("dataset", "features", "pointer", "told"),
    [
        ("iris", ["hog"], "/features/0", "is hog, which is made of images"),
        ("digits", ["raw", "gist"], "/features/1/name", "must be one of raw, color_histogram, hog, bag_of_words"),
        ("digits", [{"name": "hog", "bins": 99}], "/features/0/bins", "is 99; must be an integer >= 2 and <= 36"),
        ("digits", [{"name": "bag_of_words", "patch": 9}], "/features/0/patch", "is 9; must be 2..8"),
        ("digits", "hog", "/features", "must be a list"),
        ("digits", [], "/features", "at least 1"),
        ("digits", ["hog"] * 17, "/features", "at most 16"),
        ("digits", [None], "/features/0", "must be"),
    ],
)
def test_what_cannot_be_is_422_at_its_place(
    api: httpx2.Client, dataset: str, features: Any, pointer: str, told: str
) -> None:
    for query in ({}, {"dry_run": "true"}):
        answer = api.post("/v1/jobs", params=query, json={"dataset": dataset, "features": features})
        (error,) = assert_problem(answer, 422)["errors"]
        assert error["pointer"] == pointer
        assert told in error["detail"]


def test_a_job_of_features_predicts_evaluates_and_goes_home(
    api: httpx2.Client, jobs: JobStore, service_data: Path
) -> None:
    training = {"epochs": 400, "batch_size": 8, "checkpoint_every_s": 0.1}
    job = trained(api, jobs, service_data, dataset="digits", features=ASKED, net={"hidden": []}, training=training)
    assert job["metrics"]["val_accuracy"] > 0.93
    path = f"/v1/jobs/{job['id']}"
    measured = api.post(f"{path}/evaluate", json={"dataset": "digits"}).json()
    assert measured["metrics"]["accuracy"] > 0.93
    _, x, _ = DatasetStore(jobs.redis, service_data).load("digits")
    answer = api.post(f"{path}/predict", json={"rows": x[:20].tolist()}).json()
    assert np.isfinite(answer["probabilities"]).all()
    for name in ("npz", "safetensors", "onnx", "torch", "predict.py"):
        assert api.get(f"{path}/weights", params={"format": name}).status_code == 200
    assert_is_explained(api, path)
    result = load_npz(api.get(f"{path}/weights").content)
    checkpoint = load_npz(api.get(f"{path}/weights", params={"checkpoint": "latest"}).content)
    made = [name for name in result if name.startswith("input_")]
    assert "input_feature1_words" in made
    for name in made:  # a checkpoint carries what prepares its inputs
        np.testing.assert_array_equal(checkpoint[name], result[name], err_msg=name)


def assert_is_explained(api: httpx2.Client, path: str) -> None:
    """Everything but a picture of the first layer, whose inputs are no pixels."""
    assert api.get(f"{path}/explanations/gradient_check").json()["ok"]
    problem = assert_problem(api.get(f"{path}/explanations/templates"), 422, "not_applicable")
    assert "features of images (hog, bag_of_words, color_histogram)" in problem["detail"]
    answers = {name: api.get(f"{path}/explanations/{name}") for name in ("importance", "histograms", "confusion")}
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 200)
    assert answers["importance"].json()["image"] == {"height": 8, "width": 8, "channels": 1}


def test_colour_images_of_bytes_are_told_apart_by_colour(
    api: httpx2.Client, jobs: JobStore, service_data: Path
) -> None:
    dataset, x = coloured_images(api)
    asked = [{"name": "color_histogram", "bins": 3}]
    job = trained(api, jobs, service_data, dataset=dataset, features=asked, training={"epochs": 30})
    assert job["metrics"]["val_accuracy"] == 1.0
    rows = (x[:10].reshape(10, -1) / 255).tolist()
    assert api.post(f"/v1/jobs/{job['id']}/predict", json={"rows": rows}).json()["predictions"] == ["0", "1"] * 5


def test_jobs_of_other_features_share_no_prepared_rows(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    cache = DataCache(DatasetStore(jobs.redis, service_data), limit_bytes=1 << 28)
    widths = []
    for features in (["raw"], ["hog"], [{"name": "hog", "cell": 4}]):
        job = submitted(api, dataset="digits", features=features, net={"hidden": []}, training={"epochs": 1})
        run_next(jobs, service_data, cache)
        weights = load_npz(api.get(f"/v1/jobs/{job['id']}/weights").content)
        widths.append(len(weights["W1"]))
    assert widths == [64, 9, 36]


def test_folds_of_features_are_measured(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    training = {"epochs": 10, "folds": 3}
    job = trained(api, jobs, service_data, dataset="digits", features=ASKED, net={"hidden": []}, training=training)
    assert all(job["metrics"][f"fold{fold}_val_accuracy"] > 0.9 for fold in (1, 2, 3))
