"""Specs of every kind through a job: submitted, trained, published, loaded again."""

from __future__ import annotations

from collections.abc import Iterator
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
from tests.site import Site
from tests.worker.test_worker_runner import Bench

FORMULA = {"name": "custom", "expression": "x * sigmoid(beta*x)", "beta": 1.5}


@pytest.fixture
def bench(site: Site) -> Iterator[Bench]:
    bench = Bench(site)
    yield bench
    bench.stopping.set()


def accuracy(bench: Bench, job: Job, dataset: str) -> float:
    """Of the published weights on the whole data set."""
    assert job.result is not None, job.error
    with LocalArtifacts(bench.site.data_dir).open(job.result["key"]) as file:
        arrays = load_npz(file.read())
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
