"""Rows that validate and test, over HTTP and through a worker's runner: by column, by fraction, of other data sets."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from store.jobs import JobStore
from tests.service.api_parts import assert_problem, claimed, submitted
from tests.service.test_service_training import run_next, trained, uploaded

NET = {"hidden": [8]}


def cells(rows: int = 150, seed: int = 0, classes: str = "abc") -> list[dict[str, str]]:
    """Rows with size, colour, fold and label."""
    rng = np.random.default_rng(seed)
    label = np.arange(rows) % len(classes)
    size = label + 0.3 * rng.normal(size=rows)
    colour = np.where(rng.random(rows) < 0.8, label, 0)
    folds = ("train", "train", "train", "val", "test")
    return [
        {"size": f"{s:.5f}", "colour": ("red", "green", "blue")[c], "fold": folds[n % 5], "label": classes[y]}
        for n, (s, c, y) in enumerate(zip(size, colour, label, strict=True))
    ]


def sent(api: httpx2.Client, columns: list[str], rows: list[dict[str, str]], filename: str) -> str:
    """These columns of the rows as a data set that asks for the label."""
    lines = [",".join(columns), *(",".join(row[column] for column in columns) for row in rows)]
    file = (filename, "\n".join(lines).encode())
    answer = api.post("/v1/datasets", files={"file": file}, data={"options": '{"target": "label"}'})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def table(api: httpx2.Client, rows: int = 150, seed: int = 0, classes: str = "abc", **more: str) -> str:
    """A CSV with the columns size, colour, fold, label; `more` are columns of one value."""
    found = [row | more for row in cells(rows, seed, classes)]
    return sent(api, ["size", "colour", "fold", *more, "label"], found, f"table{seed}.csv")


SPLIT = {"column": "fold", "validation": ["val"], "test": ["test"]}


def evaluated(api: httpx2.Client, job: dict[str, Any], dataset: str) -> dict[str, Any]:
    answer = api.post(f"/v1/jobs/{job['id']}/evaluate", json={"dataset": dataset})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_column_splits_and_the_job_tells_figures_of_the_rows_that_test(
    api: httpx2.Client, jobs: JobStore, service_data: Path
) -> None:
    dataset = table(api)
    spec = {"dataset": dataset, "net": NET, "training": {"epochs": 40, "split": SPLIT}}
    dry = api.post("/v1/jobs", params={"dry_run": "true"}, json=spec).json()
    assert dry["rows"] == {"train": 90, "validation": 30, "test": 30}
    assert dry["gradient_check"]["ok"]
    assert dry["parameters"] == 4 * 8 + 8 + 8 * 3 + 3  # size, three colours; fold is none of them
    job = trained(api, jobs, service_data, **spec)
    assert job["spec"]["training"]["split"] == SPLIT
    named = {"test_loss", "test_accuracy", "test_balanced_accuracy", "test_macro_f1"}
    assert named <= job["metrics"].keys()
    only_test = _rows_of(api, "test")
    found = evaluated(api, job, only_test)["metrics"]
    assert {f"test_{name}": value for name, value in found.items()} == pytest.approx(
        {name: job["metrics"][name] for name in named}
    )
    rows = [{"size": 0.1, "colour": "red"}]
    assert api.post(f"/v1/jobs/{job['id']}/predict", json={"rows": rows}).status_code == 200


def _rows_of(api: httpx2.Client, fold: str) -> str:
    """The rows of `table` with this fold, as a data set without that column, the others in another order."""
    return sent(api, ["colour", "label", "size"], [row for row in cells() if row["fold"] == fold], "rows.csv")


def _rows_only(api: httpx2.Client) -> str:
    """The rows of `table` that train, without that column."""
    return sent(api, ["size", "colour", "label"], [row for row in cells() if row["fold"] == "train"], "apart.csv")


def test_other_data_sets_validate_and_test_by_the_names_of_their_columns(
    api: httpx2.Client, jobs: JobStore, service_data: Path
) -> None:
    val, test = _rows_of(api, "val"), _rows_of(api, "test")
    training = {"epochs": 40, "validation_dataset": val, "test_dataset": test}
    features = {"split": {"column": "fold", "test": ["val", "test"]}}
    dataset = table(api)
    assert_problem(api.post("/v1/jobs", json={"dataset": dataset, "training": training | features}), 422)
    # the same rows named by a column, and as data sets: the same weights and figures
    apart = _rows_only(api)
    one = trained(api, jobs, service_data, dataset=apart, net=NET, training=training)
    other = trained(api, jobs, service_data, dataset=dataset, net=NET, training={"epochs": 40, "split": SPLIT})
    assert one["spec"]["training"]["validation_fraction"] == 0.0
    assert one["metrics"] == other["metrics"]
    assert _arrays(api, one)["W1"].tobytes() == _arrays(api, other)["W1"].tobytes()


def _arrays(api: httpx2.Client, job: dict[str, Any], **query: str) -> dict[str, np.ndarray]:
    answer = api.get(f"/v1/jobs/{job['id']}/weights", params=query)
    assert answer.status_code == 200, answer.text
    with np.load(io.BytesIO(answer.content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def test_a_fraction_tests_regression_in_the_targets_own_unit(
    api: httpx2.Client, jobs: JobStore, service_data: Path
) -> None:
    job = trained(api, jobs, service_data, dataset="diabetes", training={"epochs": 30, "test_fraction": 0.2})
    figures = job["metrics"]
    assert {"test_loss", "test_rmse", "test_mae", "test_r2"} <= figures.keys()
    assert 30 < figures["test_rmse"] < 120
    assert figures["test_mae"] < figures["test_rmse"]


def test_a_checkpoint_of_a_split_job_has_the_preprocessing_of_its_training_rows(
    api: httpx2.Client, jobs: JobStore, service_data: Path
) -> None:
    training = {"epochs": 2000, "batch_size": 8, "checkpoint_every_s": 0.1, "split": SPLIT}
    job = trained(api, jobs, service_data, dataset=table(api, seed=9), net=NET, training=training)
    (service_data / "datasets" / job["dataset"] / "x.npy").unlink()  # it is in the checkpoint: no cell is read again
    result, checkpoint = _arrays(api, job), _arrays(api, job, checkpoint="latest")
    for name in ("input_mean", "input_std", "input_median", "input_slots"):
        np.testing.assert_array_equal(result[name], checkpoint[name])


def test_data_sets_that_a_job_validates_or_tests_on_stay_until_it_has_ended(
    api: httpx2.Client, jobs: JobStore, service_data: Path
) -> None:
    dataset, val, test = _rows_only(api), _rows_of(api, "val"), _rows_of(api, "test")
    training = {"epochs": 2, "validation_dataset": val, "test_dataset": test}
    submitted(api, dataset=dataset, training=training)
    for one in (dataset, val, test):
        assert_problem(api.delete(f"/v1/datasets/{one}"), 409, "conflict")
    run_next(jobs, service_data)
    for one in (dataset, val, test):
        assert api.delete(f"/v1/datasets/{one}").status_code == 204
    cancelled = submitted(api, dataset=_rows_only(api), training={"test_dataset": _rows_of(api, "test")})
    assert api.post(f"/v1/jobs/{cancelled['id']}/cancel").status_code == 202
    assert api.delete(f"/v1/datasets/{cancelled['spec']['training']['test_dataset']}").status_code == 204


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no such column": (
        {"split": SPLIT | {"column": "part"}},
        "/training/split/column",
        "must be one of the columns size",
    ),
    "no such value": ({"split": SPLIT | {"test": ["dev"]}}, "/training/split/test/0", '"train", "val"'),
    "no training row": (
        {"split": {"column": "fold", "validation": ["train", "val"], "test": ["test"]}},
        "/training/split",
        "leaves no row to train on",
    ),
    "no such data set": ({"test_dataset": "ds_0123456789abcdef01234567"}, "/training/test_dataset", "no such data set"),
    "another task": ({"test_dataset": "diabetes"}, "/training/test_dataset", "has the task regression"),
    "other columns": ({"validation_dataset": "iris"}, "/training/validation_dataset", "has no column 'size'"),
    "twice": ({"test_fraction": 0.1, "split": SPLIT}, "/training/test_fraction", "so is split.test"),
    "strange fraction": ({"test_fraction": 0.95}, "/training/test_fraction", "is 0.95; must be > 0 and <= 0.9"),
    "true for a text": ({"test_dataset": True}, "/training/test_dataset", "is true; must be a string"),
    "too few": ({"test_fraction": 0.9, "validation_fraction": 0.9}, "/training/test_fraction", "to train 3 classes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_split_that_cannot_be_is_422_at_its_field(api: httpx2.Client, case: str) -> None:
    training, pointer, said = REFUSED[case]
    rows = 20 if case == "too few" else 150
    for query in ({}, {"dry_run": "true"}):
        answer = api.post("/v1/jobs", params=query, json={"dataset": table(api, rows), "training": training})
        (error,) = assert_problem(answer, 422)["errors"]
        assert error["pointer"] == pointer
        assert said in error["detail"]


def test_the_data_set_itself_cannot_test_and_an_unknown_class_cannot_be_tested(api: httpx2.Client) -> None:
    dataset, other = table(api), table(api, classes="abd", seed=1)
    for name, said in ((dataset, "must be another one"), (other, "has the class 'd'; the job's are a, b, c")):
        answer = api.post("/v1/jobs", json={"dataset": dataset, "training": {"test_dataset": name}})
        (error,) = assert_problem(answer, 422)["errors"]
        assert error["pointer"] == "/training/test_dataset"
        assert said in error["detail"]


def test_a_plain_draw_that_leaves_a_class_out_is_422_before_anything_is_recorded(api: httpx2.Client) -> None:
    lines = ["x,label"] + [f"{n}.5,{'rare' if n == 19 else 'often'}" for n in range(20)]
    dataset = uploaded(api, "\n".join(lines).encode(), "rare.csv")
    answers = [
        api.post("/v1/jobs", json={"dataset": dataset, "training": {"stratify": False, "seed": seed}})
        for seed in range(25)
    ]
    assert {answer.status_code for answer in answers} == {202, 422}
    (error,) = next(answer for answer in answers if answer.status_code == 422).json()["errors"]
    assert error == {
        "pointer": "/training/stratify",
        "detail": 'is false and leaves no training row for class "rare"',
    }


def test_a_cancel_is_heard_while_the_result_is_tested(
    api: httpx2.Client, jobs: JobStore, service_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow blocks: the job is cancelled within them, and publishes nothing."""
    import time

    from nets.weights import Predictor

    score = Predictor.scores

    def slowly(self: Predictor, cells: np.ndarray) -> np.ndarray:
        if len(cells) > 100:
            job = jobs.page().items[0].id
            if jobs.get(job).status == "running":
                jobs.request(job, "cancel")
            time.sleep(0.5)
        return score(self, cells)

    monkeypatch.setattr(Predictor, "scores", slowly)
    file = io.BytesIO()
    np.savez(file, X=np.arange(60_000.0).reshape(-1, 2) % 7, y=np.arange(30_000) % 2)
    dataset = uploaded(api, file.getvalue(), "many.npz")
    file = io.BytesIO()
    np.savez(file, X=np.arange(80.0).reshape(-1, 2) % 7, y=np.arange(40) % 2)
    job_id = submitted(
        api,
        dataset=uploaded(api, file.getvalue(), "few.npz"),
        training={"epochs": 2, "test_dataset": dataset},
    )["id"]
    began = time.monotonic()
    run_next(jobs, service_data)
    took = time.monotonic() - began
    job = api.get(f"/v1/jobs/{job_id}").json()
    assert job["status"] == "cancelled"
    assert not [name for name in job["metrics"] if name.startswith("test_")]
    assert took < 3.0, took


def test_what_was_made_of_a_job_survives_a_claim_by_another(api: httpx2.Client, jobs: JobStore) -> None:
    """The record names the data sets that are read until the end, whoever holds the job."""
    test = _rows_of(api, "test")
    job = submitted(api, dataset=_rows_only(api), training={"test_dataset": test})
    claim = claimed(jobs)
    jobs.crashed(claim.job_id, claim.fence, "crashed", "gone")
    assert_problem(api.delete(f"/v1/datasets/{test}"), 409)
    assert jobs.get(job["id"]).status == "queued"
