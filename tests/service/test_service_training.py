"""Over HTTP and through a worker's runner: what a job says is what was trained. Among it the lecture's 20 lines."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from kernels.backend import select
from nets.member import Member, State
from nets.origin import Origin
from nets.prepare import PreparedData
from nets.preprocess import Preprocessing
from nets.spec import ResolvedSpec
from nets.table import Table, TableInfo
from store.datasets import DatasetStore
from store.jobs import JobStore
from store.records import Job
from tests.lecture import test_L28_twenty_lines as lecture
from tests.service.api_parts import assert_problem, claimed, submitted
from worker.data import DataCache, Subject
from worker.publish import Files
from worker.runner import Runner


def run_next(jobs: JobStore, data_dir: Path, cache: DataCache | None = None) -> None:
    """Train the next queued job to its end."""
    cache = cache or DataCache(DatasetStore(jobs.redis, data_dir), limit_bytes=1 << 28)
    stopping = threading.Event()
    files, backend = Files(data_dir), select("cpu")
    runner = Runner(jobs, cache, files, backend, stopping, lambda _: None, lambda: None, lambda: False)
    runner.run([claimed(jobs)])


def trained(api: httpx2.Client, jobs: JobStore, data_dir: Path, **spec: Any) -> dict[str, Any]:
    """The job as the API shows it after its run."""
    job_id = submitted(api, **spec)["id"]
    run_next(jobs, data_dir)
    job: dict[str, Any] = api.get(f"/v1/jobs/{job_id}").json()
    assert job["status"] == "succeeded", job["error"]
    return job


def uploaded(api: httpx2.Client, content: bytes, filename: str) -> str:
    answer = api.post("/v1/datasets", files={"file": (filename, content)})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def weighted_table(api: httpx2.Client) -> tuple[str, np.ndarray]:
    """A CSV with columns a, importance, b, label, and its features."""
    rng = np.random.default_rng(0)
    x, label = rng.normal(size=(80, 2)), np.arange(80) % 2
    x[:, 0] += 2 * label
    weight = rng.uniform(0.1, 4.0, 80)
    rows = [f"{a:.6f},{w:.6f},{b:.6f},{'yes' if y else 'no'}" for (a, b), w, y in zip(x, weight, label, strict=True)]
    return uploaded(api, ("a,importance,b,label\n" + "\n".join(rows)).encode(), "weighted.csv"), x


def test_a_column_of_weights_weighs_rows_and_is_no_input(
    api: httpx2.Client, jobs: JobStore, service_data: Path
) -> None:
    dataset, x = weighted_table(api)
    spec = {"dataset": dataset, "net": {"hidden": [4]}, "training": {"epochs": 30, "sample_weight": "importance"}}
    dry = api.post("/v1/jobs", params={"dry_run": "true"}, json=spec).json()
    assert dry["parameters"] == 2 * 4 + 4 + 4 * 2 + 2
    assert dry["gradient_check"]["ok"]
    job = trained(api, jobs, service_data, **spec)
    assert job["spec"]["training"]["sample_weight"] == "importance"
    answer = api.post(f"/v1/jobs/{job['id']}/predict", json={"rows": x.tolist()})
    assert answer.status_code == 200, answer.text
    by_name = [{"a": a, "b": b} for a, b in x.tolist()]
    assert api.post(f"/v1/jobs/{job['id']}/predict", json={"rows": by_name}).json() == answer.json()
    plain = trained(api, jobs, service_data, **{**spec, "training": {"epochs": 30}})
    assert plain["metrics"] != job["metrics"]
    assert api.get(f"/v1/jobs/{job['id']}/explanations/gradient_check").json()["ok"]


def test_a_checkpoint_of_a_weighted_job_is_weights_too(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    dataset, _ = weighted_table(api)
    training = {"epochs": 2000, "batch_size": 8, "sample_weight": "importance", "checkpoint_every_s": 0.1}
    job = trained(api, jobs, service_data, dataset=dataset, net={"hidden": [4]}, training=training)
    answer = api.get(f"/v1/jobs/{job['id']}/weights", params={"checkpoint": "latest"})
    assert answer.status_code == 200, answer.text
    with np.load(io.BytesIO(answer.content), allow_pickle=False) as arrays:
        assert arrays["W1"].shape == (2, 4)


@pytest.mark.parametrize("name", ["nothing", "label", "", 5])
def test_a_column_that_cannot_weigh_is_422_at_the_field(api: httpx2.Client, name: object) -> None:
    dataset, _ = weighted_table(api)
    answer = api.post("/v1/jobs", json={"dataset": dataset, "training": {"sample_weight": name}})
    problem = assert_problem(answer, 422)
    assert [error["pointer"] for error in problem["errors"]] == ["/training/sample_weight"]


@pytest.mark.parametrize(
    ("weights", "words"), [(["-1", "2"], "smallest number is -1"), (["0", "0.0"], "0 in every row")]
)
def test_weights_that_no_row_can_have_are_422_at_submit(api: httpx2.Client, weights: list[str], words: str) -> None:
    rows = [f"{i},{weights[i % 2]},{'yes' if i % 3 else 'no'}" for i in range(30)]
    dataset = uploaded(api, ("a,w,label\n" + "\n".join(rows)).encode(), "weighted.csv")
    answer = api.post("/v1/jobs", json={"dataset": dataset, "training": {"sample_weight": "w"}})
    (error,) = assert_problem(answer, 422)["errors"]
    assert error["pointer"] == "/training/sample_weight"
    assert words in error["detail"]


def test_the_figures_of_folds_are_among_the_metrics(api: httpx2.Client, jobs: JobStore, service_data: Path) -> None:
    job = trained(api, jobs, service_data, dataset="iris", training={"epochs": 20, "folds": 5})
    figures = job["metrics"]
    scores = [figures[f"fold{fold}_val_accuracy"] for fold in range(1, 6)]
    assert figures["cv_val_accuracy"] == pytest.approx(np.mean(scores))
    assert figures["cv_val_loss_std"] > 0
    assert api.get("/v1/capabilities").json()["limits"]["max_folds"] == 20


# ---- row L28


class TheLecturesNumbers(DataCache):
    """Hands the program's own x, y and first weights to whatever job asks: ten targets at once are in no file format.

    All else of the run is a job's: claim, lease, training, events, result.
    """

    def subject(self, job: Job, state: State | None, origin: Origin | None = None) -> Subject:
        x, y, start = lecture.first_numbers()
        spec, about = ResolvedSpec.parse(job.spec), classes_for(x)
        plain = Preprocessing.fit(Table(about, x, np.arange(len(x)) % lecture.C), np.arange(len(x)))
        data = PreparedData(x, y, x[:0], y[:0], lecture.D, lecture.C, "regression", plain)
        member = Member(spec, data, state)
        member = Member(spec, data, state or {"parameters": member.layout.flat(start, np.dtype(np.float64))})
        return Subject(member, about, None)


def classes_for(x: np.ndarray) -> TableInfo:
    """A table of this width whose nets have ten outputs."""
    return Table.from_arrays(x, np.arange(len(x)) % lecture.C, standardize=False).info


def test_L28_a_job_reproduces_the_twenty_lines_step_by_step(
    api: httpx2.Client, jobs: JobStore, service_data: Path
) -> None:
    x, y, start = lecture.first_numbers()
    file = io.BytesIO()
    np.savez(file, X=x, y=np.arange(len(x)) % lecture.C)
    dataset = uploaded(api, file.getvalue(), "lecture.npz")
    job_id = submitted(api, dataset=dataset, **lecture.SPEC)["id"]
    run_next(jobs, service_data, TheLecturesNumbers(DatasetStore(jobs.redis, service_data), 1 << 28))
    assert api.get(f"/v1/jobs/{job_id}").json()["status"] == "succeeded"
    columns = api.get(f"/v1/jobs/{job_id}/metrics").json()["columns"]
    with lecture.blas_threads(1):
        losses, weights = lecture.twenty_lines(x, y, start, lecture.STEPS)
    assert columns["step"] == list(range(1, lecture.STEPS + 1))
    np.testing.assert_allclose(columns["train_loss"], losses, rtol=1e-7)
    assert [round(columns["train_loss"][0], 1), round(columns["train_loss"][-1], 4)] == [24635.9, 4.3485]
    with np.load(io.BytesIO(api.get(f"/v1/jobs/{job_id}/weights").content), allow_pickle=False) as arrays:
        for name, expected in weights.items():
            np.testing.assert_allclose(arrays[name], expected, rtol=1e-6, atol=1e-8, err_msg=name)
