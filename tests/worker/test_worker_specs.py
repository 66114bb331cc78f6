"""Specs of every kind through a job: submitted, trained, published, loaded again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nets.export import load_npz
from nets.losses import LOSSES
from nets.optimizers import OPTIMIZERS
from nets.weights import Predictor
from store.datasets import DatasetStore
from store.files import LocalArtifacts
from store.records import Job
from store.transitions import Status
from tests.worker.runner_parts import Bench, pause_after_a_point

FORMULA = {"name": "custom", "expression": "x * sigmoid(beta*x)", "beta": 1.5}


def load(bench: Bench, job: Job) -> dict[str, np.ndarray]:
    """The published arrays."""
    assert job.result is not None, job.error
    with LocalArtifacts(bench.site.data_dir).open(job.result["key"]) as file:
        return load_npz(file.read())


def accuracy(bench: Bench, job: Job, dataset: str) -> float:
    """Of the published weights on the whole data set."""
    arrays = load(bench, job)
    predictor = Predictor.from_arrays(arrays)
    predictor.verify(arrays["golden_inputs"], arrays["golden_outputs"])
    info, x, y = DatasetStore(bench.site.store.redis, bench.site.data_dir).load(dataset)
    wanted = np.array(info["classes"])[y]
    return float((np.array(predictor.predict(x).predictions) == wanted).mean())


@pytest.mark.parametrize("optimizer", [name for name, row in OPTIMIZERS.items() if not row.searches])
def test_norm_dropout_and_a_formula_train_with_every_optimizer(bench: Bench, optimizer: str) -> None:
    spec: dict[str, Any] = {
        "net": {"hidden": [32], "activation": FORMULA, "batch_norm": True, "dropout": 0.2},
        "loss": {"name": "softmax", "label_smoothing": 0.1},
        "optimizer": {"name": optimizer},
        "training": {"epochs": 150},
    }
    (job,) = bench.run(spec)
    assert job.status == Status.SUCCEEDED, job.error
    assert accuracy(bench, job, "iris") > 0.9


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_tells_two_classes_apart(bench: Bench, loss: str) -> None:
    (job,) = bench.run({"loss": loss, "training": {"epochs": 15}}, dataset="breast_cancer")
    assert job.status == Status.SUCCEEDED, job.error
    assert accuracy(bench, job, "breast_cancer") > 0.93


def test_random_search_runs_as_a_job_and_beats_chance(bench: Bench) -> None:
    (job,) = bench.run({"net": {"hidden": []}, "optimizer": {"name": "random_search"}, "training": {"epochs": 300}})
    assert job.status == Status.SUCCEEDED, job.error
    assert accuracy(bench, job, "iris") > 0.6


def test_folds_run_in_the_jobs_own_stack_and_their_figures_are_the_jobs(bench: Bench) -> None:
    training = {"epochs": 15, "folds": 5, "checkpoint_every_s": 0.1}
    (job,) = bench.run({"training": training}, dataset="digits")
    (plain,) = bench.run({"training": training | {"folds": None}}, dataset="digits")
    assert job.status == Status.SUCCEEDED, job.error
    assert plain.metrics.items() <= job.metrics.items()
    scores = [job.metrics[f"fold{fold}_val_accuracy"] for fold in range(1, 6)]
    assert len(set(scores)) > 1
    assert min(scores) > 0.9
    assert job.metrics["cv_val_accuracy"] == pytest.approx(np.mean(scores))
    assert job.metrics["cv_val_accuracy_std"] == pytest.approx(np.std(scores, ddof=1))
    bench.site.check()
    own, expected = (load(bench, one) for one in (job, plain))
    assert all(np.array_equal(own[name], expected[name]) for name in ("W1", "b1", "W2", "b2", "input_mean"))


def test_a_paused_job_goes_on_with_its_folds(bench: Bench, release: Callable[[], None]) -> None:
    spec = {"net": {"hidden": [8]}, "training": {"epochs": 300, "batch_size": 32, "folds": 3}}
    paused = pause_after_a_point(bench, bench.site.submit(spec, "iris"))
    bench.site.store.request(paused.id, "resume")
    release()
    bench.runner.run(bench.claim(1))
    job = bench.site.store.get(paused.id)
    (whole,) = bench.run(spec)
    assert (job.status, job.metrics) == (Status.SUCCEEDED, whole.metrics)
    bench.site.check()
