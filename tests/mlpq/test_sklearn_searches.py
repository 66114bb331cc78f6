"""Searches and cross-validation over the scikit-learn estimators: in processes, one by one, and together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlpq import Client, ConflictError, InvalidInputError, MLPClassifier, MLPRegressor, NotFoundError
from mlpq.estimators import together
from mlpq.estimators.together import shared
from mlpq.estimators.training import TAG

IRIS = load_iris(return_X_y=True)
DIABETES = load_diabetes(return_X_y=True)
pytestmark = pytest.mark.usefixtures("everywhere")


def test_it_is_searched_and_validated_in_several_processes_and_leaves_nothing_on_the_service(
    client: Client, tidy: None
) -> None:
    x, y = IRIS
    before = {dataset.id for dataset in client.datasets()}
    steps = make_pipeline(StandardScaler(), MLPClassifier(max_iter=40, learning_rate_init=0.02, random_state=0))
    grid = {"mlpclassifier__hidden_layer_sizes": [(), (16,)], "mlpclassifier__alpha": [1e-3, 10.0]}
    search = GridSearchCV(steps, grid, cv=2, n_jobs=2).fit(x, y)
    assert search.best_score_ > 0.93
    assert search.best_params_["mlpclassifier__alpha"] == 1e-3
    assert cross_val_score(MLPRegressor(max_iter=40, random_state=0), *DIABETES, cv=2).min() > 0.3
    assert {dataset.id for dataset in client.datasets()} == before
    assert list(client.jobs(tag=TAG)) == []


@pytest.mark.parametrize("kind", ["grid", "random"])
def test_a_search_together_finds_what_it_finds_one_by_one(kind: str, client: Client) -> None:
    long = {"max_iter": 500, "batch_size": 4, "tol": None}  # no fit ends before the next is submitted
    net = MLPClassifier(hidden_layer_sizes=(32,), random_state=0, keep=True, client=client, **long)
    values = {"alpha": [1e-4, 1e-2], "learning_rate_init": [1e-3, 1e-1]}

    def search() -> Any:
        if kind == "grid":
            return GridSearchCV(net, values, cv=2).fit(*IRIS)
        return RandomizedSearchCV(net, values, n_iter=3, cv=2, random_state=1).fit(*IRIS)

    alone = search()
    before = {job.id for job in client.jobs(tag=TAG, limit=None)}
    with together() as tag:
        found = search()
    told = {name for name in alone.cv_results_ if not name.endswith("_time")}
    for name in told:
        assert np.array_equal(np.asarray(found.cv_results_[name]), np.asarray(alone.cv_results_[name])), name
    assert found.best_params_ == alone.best_params_
    assert all(map(np.array_equal, found.best_estimator_.coefs_, alone.best_estimator_.coefs_))
    [sweep] = [one for one in client.sweeps(limit=None) if one.record["name"] == tag]
    jobs = sorted((job for job in client.jobs(tag=TAG, limit=None) if job.id not in before), key=moment_of)
    assert {job.id for job in jobs} == {trial.id for trial in sweep.refresh().trials}, "they are one sweep"
    assert {trial.point["optimizer"]["l2"] for trial in sweep.trials[:-1]} > {sweep.trials[-1].point["optimizer"]["l2"]}
    fits = jobs[: len(told_splits(found))]
    assert {job.id for job in jobs} == {job.id for job in client.jobs(tag=tag, limit=None)}, "they are listed as one"
    assert len({job.record.dataset for job in fits}) == 2, "each fold is sent once"
    waited = [
        sum(other.record.created_at < one.record.finished_at for other in fits[place:])
        for place, one in enumerate(fits)
    ]
    assert max(waited) > 1, "several were submitted before one had ended"
    assert sweep.best is not None
    sweep.delete()
    for job in client.jobs(tag=TAG, limit=None):
        job.delete()


def moment_of(job: Any) -> Any:
    return job.record.created_at


def told_splits(search: Any) -> list[tuple[int, int]]:
    """The fits of a search, beside the last one on all rows."""
    return [(point, fold) for point in range(len(search.cv_results_["params"])) for fold in range(2)]


def test_what_fits_share_is_gone_when_they_are_no_longer_together(client: Client, tidy: None) -> None:
    before = {dataset.id for dataset in client.datasets()}
    with together() as tag:
        cross_val_score(MLPClassifier(hidden_layer_sizes=(8,), max_iter=3), *IRIS, cv=2)
        cross_val_score(MLPRegressor(max_iter=3, early_stopping=True), *DIABETES, cv=2)
        with pytest.raises(InvalidInputError) as refused:
            MLPClassifier(solver={"name": "sgd", "momentum": 7.0}).fit(*IRIS)
        assert [error.pointer for error in refused.value.errors] == ["/optimizer/momentum"]
        sweeps = [one for one in client.sweeps(limit=None) if one.record["name"] == tag]
        assert {one.objective: one.done for one in sweeps} == {"train_loss": (2, 2), "val_loss": (2, 2)}
    assert {dataset.id for dataset in client.datasets()} == before
    assert list(client.jobs(tag=TAG)) == []
    assert tag not in {one.record["name"] for one in client.sweeps(limit=None)}


def test_a_search_whose_sweep_was_cancelled_does_not_go_on(client: Client, tidy: None) -> None:
    net = MLPClassifier(hidden_layer_sizes=(8,), max_iter=2)
    endless = {"dataset": "iris", "tags": [TAG], "training": {"epochs": 1_000_000, "validation_fraction": 0.0}}
    with together() as tag:
        common = shared()
        assert common is not None
        common.submit(client, endless, keep=False)
        [sweep] = [one for one in client.sweeps(limit=None) if one.record["name"] == tag]
        sweep.cancel()
        with pytest.raises(ConflictError, match="is cancelled"):
            net.fit(*IRIS)
    assert list(client.jobs(tag=TAG)) == []


def test_longer_searches_are_several_sweeps(client: Client, tidy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlpq.estimators.growing.MOST_JOBS", 3)
    with together() as tag:
        cross_val_score(MLPClassifier(hidden_layer_sizes=(8,), max_iter=1), *IRIS, cv=5)
        sweeps = [one for one in client.sweeps(limit=None) if one.record["name"] == tag]
        assert sorted(one.done for one in sweeps) == [(2, 2), (3, 3)]
    assert tag not in {one.record["name"] for one in client.sweeps(limit=None)}


def test_a_fit_that_comes_when_the_search_is_over_leaves_nothing(client: Client, tidy: None) -> None:
    with together() as tag:
        common = shared()
        assert common is not None
        job = common.submit(client, {"dataset": "iris", "net": {"hidden": []}, "tags": [TAG]}, keep=False)
    assert tag not in {one.record["name"] for one in client.sweeps(limit=None)}
    with pytest.raises(NotFoundError):
        job.refresh()
    with pytest.raises(RuntimeError, match="the search is over"):
        common.submit(client, {"dataset": "iris"}, keep=False)


def test_a_sweep_whose_answer_never_came_is_gone_at_the_end(
    client: Client, tidy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Client, *given: Any, **told: Any) -> Any:
        sweep(self, *given, **told)
        raise KeyboardInterrupt

    sweep = Client.sweep
    monkeypatch.setattr(Client, "sweep", interrupted)
    with pytest.raises(KeyboardInterrupt), together() as tag:
        MLPClassifier(hidden_layer_sizes=(8,), max_iter=1_000_000, tol=None).fit(*IRIS)
    assert tag not in {one.record["name"] for one in client.sweeps(limit=None)}
    assert list(client.jobs(tag=tag)) == []


def test_large_weights_do_not_stay_until_a_search_ends(
    client: Client, tidy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlpq.estimators.training.LARGE_BYTES", 100)
    with together() as tag:
        MLPClassifier(hidden_layer_sizes=(8,), max_iter=2).fit(*IRIS)
        assert list(client.jobs(tag=tag)) == []
