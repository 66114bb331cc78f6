"""The scikit-learn estimators against a real service: what scikit-learn's own checks cannot know."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.neural_network import MLPClassifier as TheirClassifier

from kernels.expressions import MACROS
from kernels.operations import ACTIVATIONS
from kernels.tape import FUNCTIONS
from mlpq import Client, InvalidInputError, MLPClassifier, MLPRegressor, NotFoundError, ServiceUnreachableError
from mlpq.estimators.activations import _CALLS, activate
from mlpq.estimators.training import TAG
from tests.kernels.references import VALUES, parameter_sets
from tests.processes import wait_until

IRIS = load_iris(return_X_y=True)
DIABETES = load_diabetes(return_X_y=True)
pytestmark = pytest.mark.usefixtures("everywhere")


@pytest.mark.parametrize(
    ("activation", "more"),
    [
        ("logistic", {"loss": "softmax"}),
        (["gelu", {"name": "leaky_relu", "alpha": 0.2}], {"loss": "svm", "batch_norm": True}),
        ({"name": "custom", "expression": "where(x > 0, x, 0.1*x) * sigmoid(c*x)", "c": 1.5}, {"dropout": 0.2}),
        ("tanh", {"loss": {"name": "squared_error"}, "standardize": False}),
    ],
)
def test_a_pickled_classifier_says_without_the_service_what_the_service_says(
    client: Client, activation: Any, more: dict[str, Any]
) -> None:
    x, y = IRIS
    net = MLPClassifier((16, 8), activation, max_iter=20, random_state=1, keep=True, **more).fit(x, y)
    rows = np.random.default_rng(0).normal(x.mean(axis=0), 2 * x.std(axis=0), (200, 4))
    job = client.job(net.job_id_)
    said = job.predict(rows)
    away = in_another_process(net, rows)
    assert away["predict"].tolist() == [int(name) for name in said.predictions]
    if said.probabilities is None:
        assert not hasattr(net, "predict_proba")
    else:
        assert np.abs(away["predict_proba"] - said.probabilities).max() < 1e-5
    assert [coef.shape for coef in net.coefs_] == [(4, 16), (16, 8), (8, 3)]
    job.delete()


def test_one_score_tells_two_classes_apart(client: Client) -> None:
    x, y = load_iris(return_X_y=True)
    rows, labels = x[:100], np.array(["setosa", "versicolor"])[y[:100]]
    net = MLPClassifier((8,), loss="binary_cross_entropy", max_iter=60, random_state=0, keep=True).fit(rows, labels)
    job = client.job(net.job_id_)
    said = job.predict(rows)
    assert said.probabilities is not None
    assert np.abs(net.predict_proba(rows) - said.probabilities).max() < 1e-5
    assert np.abs(np.exp(net.predict_log_proba(rows)) - net.predict_proba(rows)).max() < 1e-12
    assert ((net.decision_function(rows) > 0) == (net.predict(rows) == "versicolor")).all()
    assert net.score(rows, labels) == 1.0
    job.delete()


@pytest.mark.parametrize("loss", ["squared_error", {"name": "huber", "delta": 0.5}, "absolute_error"])
def test_a_pickled_regressor_says_without_the_service_what_the_service_says(client: Client, loss: Any) -> None:
    x, y = DIABETES
    net = MLPRegressor((16,), "selu", loss=loss, max_iter=20, random_state=1, keep=True).fit(x, 1e3 * y)
    job = client.job(net.job_id_)
    said = np.asarray(job.predict(x[:100]).predictions, float)
    away = in_another_process(net, x[:100])["predict"]
    assert np.abs(away - said).max() < 1e-5 * np.abs(said).max()
    job.delete()


def in_another_process(net: Any, rows: np.ndarray[Any, Any]) -> dict[str, Any]:
    """What a pickled estimator answers where no service is."""
    code = (
        "import pickle, sys\nnet, rows = pickle.load(sys.stdin.buffer)\n"
        "asked = [name for name in ('predict', 'predict_proba') if hasattr(net, name)]\n"
        "sys.stdout.buffer.write(pickle.dumps({name: getattr(net, name)(rows) for name in asked}))"
    )
    nowhere = os.environ | {"MLPQ_URL": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps((net, rows)), env=nowhere, capture_output=True, check=True
    )
    found: dict[str, Any] = pickle.loads(done.stdout)
    return found


def test_every_activation_is_the_one_of_the_service() -> None:
    x = np.linspace(-6.0, 6.0, 1001)
    for row in ACTIVATIONS.values():
        for parameters in parameter_sets(row):
            formula = {"expression": row.value, **parameters}
            assert np.allclose(activate(x, formula), VALUES[row.name](x, parameters), 1e-12, 1e-14), row.name


def test_every_call_of_a_formula_is_known_here() -> None:
    assert set(_CALLS) == {*FUNCTIONS, *MACROS}


@pytest.mark.parametrize(
    "labels",
    [["b", "a"], [False, True], [-5, 7], [2.0, 0.0], ["ä" * 40, "🙂"]],
    ids=lambda labels: str(labels[0]),
)
def test_labels_of_any_kind_come_back_as_they_were(labels: list[Any]) -> None:
    x = np.repeat([[0.0], [1.0]], 10, axis=0)
    y = np.repeat(np.array(labels), 10)
    net = MLPClassifier((), max_iter=100, learning_rate_init=0.1, random_state=0).fit(x, y)
    assert net.classes_.tolist() == sorted(labels)
    found = net.predict(x)
    assert found.dtype == y.dtype
    assert found.tolist() == y.tolist()


def test_weights_of_rows_and_classes_count() -> None:
    x, y = IRIS
    x, y = x[:100], y[:100].copy()
    y[::4] = 1 - y[::4]
    right = np.ones(100)
    right[::4] = 0.0
    plain = {"hidden_layer_sizes": (), "max_iter": 100, "learning_rate_init": 0.05, "random_state": 0}
    lying = MLPClassifier(**plain).fit(x, y)
    weighted = MLPClassifier(**plain).fit(x, y, sample_weight=right)
    truth = np.arange(100) // 50
    assert weighted.score(x, truth) == 1.0
    assert weighted.predict_proba(x).max(axis=1).mean() > lying.predict_proba(x).max(axis=1).mean() + 0.1
    towards = MLPClassifier(**plain, class_weight={0: 1000.0, 1: 1e-3}).fit(x, y)
    assert (towards.predict(x) == 0).mean() > 0.95
    names = np.array(["rare", "usual"])[(np.arange(100) >= 3).astype(int)]
    noise = np.random.default_rng(0).normal(size=(100, 1))
    balanced = MLPClassifier(**plain, class_weight="balanced").fit(noise, names)
    assert 0.3 < balanced.predict_proba(noise)[:, 0].mean() < 0.7
    with pytest.raises(ValueError, match="class_weight names 'absent'"):
        MLPClassifier(class_weight={"absent": 1.0}).fit(noise, names)
    with pytest.raises(ValueError, match="Negative"):
        MLPClassifier().fit(x, y, sample_weight=right - 0.5)


def test_early_stopping_holds_rows_out_and_keeps_the_best_weights() -> None:
    x, y = load_digits(return_X_y=True)
    net = MLPClassifier((32,), early_stopping=True, n_iter_no_change=3, max_iter=200, random_state=0).fit(x, y)
    assert 3 < net.n_iter_ < 200
    assert len(net.validation_scores_) == len(net.loss_curve_) == net.n_iter_
    assert net.best_validation_score_ == max(net.validation_scores_[:-3]) > 0.93
    assert net.score(x, y) > 0.95
    whole = MLPClassifier((32,), tol=None, max_iter=5, random_state=0).fit(x, y)
    assert (whole.n_iter_, len(whole.loss_curve_), whole.validation_scores_) == (5, 5, None)
    assert whole.loss_ == whole.loss_curve_[-1] == whole.best_loss_
    without_progress = MLPClassifier((), solver="sgd", learning_rate_init=1e-9, n_iter_no_change=4, max_iter=50)
    assert without_progress.fit(x, y).n_iter_ == 5


def test_partial_fit_goes_on_and_keeps_one_job(client: Client, tidy: None) -> None:
    x, y = load_digits(return_X_y=True)
    net = MLPClassifier((32,), learning_rate_init=0.01, random_state=0)
    scores = []
    for start in range(0, 1500, 300):
        net.partial_fit(x[start : start + 300], y[start : start + 300], classes=np.arange(10))
        scores.append(net.score(x[1500:], y[1500:]))
        assert [job.id for job in client.jobs(tag=TAG)] == [net.job_id_]
    assert scores[-1] > 0.8 > scores[0]
    assert (net.n_iter_, len(net.loss_curve_), net.t_) == (5, 5, 1500)
    before = net.coefs_[0]
    again = pickle.loads(pickle.dumps(net)).partial_fit(x[:20], y[:20])
    assert 0 < np.abs(again.coefs_[0] - before).max() < 1
    with pytest.raises(NotFoundError):
        net.partial_fit(x[:20], y[:20])  # its job went with the call of its copy
    again.fit(x[:300], y[:300])
    assert (again.n_iter_ == len(again.loss_curve_), again.job_id_) == (True, None)
    assert list(client.jobs(tag=TAG)) == []
    with pytest.raises(AttributeError, match="partial_fit") as refused:
        again.partial_fit(x, y)
    assert "keep=True" in str(refused.value.__cause__)
    kept = MLPClassifier((), max_iter=3, keep=True).fit(x, y)
    assert kept.partial_fit(x, y).n_iter_ == 4
    for job in list(client.jobs(tag=TAG)):
        job.delete()
        client.delete_dataset(job.record.dataset)


def test_partial_fit_knows_classes_that_a_call_does_not_have(client: Client) -> None:
    x = np.repeat(np.eye(3), 20, axis=0)
    y = np.repeat(["a", "b", "c"], 20)
    net = MLPClassifier((), learning_rate_init=0.05, random_state=0)
    with pytest.raises(ValueError, match="classes must be passed"):
        net.partial_fit(x, y)
    net.partial_fit(x[:40], y[:40], classes=["c", "b", "a"])
    assert net.classes_.tolist() == ["a", "b", "c"]
    for place, name in enumerate("cba"):
        one = y == name
        before = net.predict_proba(x[one])[:, 2 - place]
        net.partial_fit(x[one], y[one], sample_weight=np.full(20, 2.0) if place else None)
        assert (net.predict_proba(x[one])[:, 2 - place] > before + 0.01).all()
    with pytest.raises(ValueError, match="'d'"):
        net.partial_fit(x[:1], ["d"])
    client.job(net.job_id_).delete()


def test_partial_fit_of_numbers_converges(client: Client, tidy: None) -> None:
    x, y = DIABETES
    net = MLPRegressor((), solver="sgd", learning_rate_init=0.02, random_state=0, keep=True)
    first = net.partial_fit(x[:221], y[:221]).score(x, y)
    kept = {net.job_id_}
    for _ in range(5):
        kept.add(net.partial_fit(x[221:], y[221:]).job_id_)
        net.partial_fit(x[:221], y[:221])
        kept.add(net.job_id_)
    assert net.score(x, y) > max(0.3, first + 0.1)
    assert {job.id for job in client.jobs(tag=TAG)} == kept
    for job in list(client.jobs(tag=TAG)):
        job.delete()
        client.delete_dataset(job.record.dataset)


def test_alpha_means_what_it_means_in_scikit_learn() -> None:
    x, y = IRIS
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    theirs = TheirClassifier((), solver="lbfgs", alpha=5.0, max_iter=2000, tol=1e-10, random_state=0).fit(x, y)
    given = {"batch_size": 150, "learning_rate_init": 0.05, "max_iter": 3000, "tol": None, "standardize": False}
    ours = MLPClassifier((), alpha=5.0, random_state=0, **given).fit(x, y)
    assert np.abs(ours.coefs_[0] - theirs.coefs_[0]).max() < 2e-3
    stronger = MLPClassifier((), alpha=10.0, random_state=0, **given).fit(x, y)
    assert np.abs(stronger.coefs_[0] - theirs.coefs_[0]).max() > 0.1


def test_settings_of_every_kind_reach_the_job(client: Client) -> None:
    net = MLPClassifier(
        8, "logistic", solver="sgd", momentum=0.5, nesterovs_momentum=True, batch_size=10, schedule="linear",
        init="xavier", clip_norm=1.0, precision="float64", dropout=0.1, shuffle=False, max_iter=2, keep=True,
        random_state=np.random.RandomState(3), verbose=False,
    ).fit(*IRIS)  # fmt: skip
    job = client.job(net.job_id_)
    spec = job.spec
    assert (spec["net"]["hidden"], spec["net"]["activation"], spec["net"]["dropout"]) == ([8], ["sigmoid"], 0.1)
    assert spec["net"]["init"] == "xavier"
    assert (spec["optimizer"]["name"], spec["optimizer"]["momentum"], spec["optimizer"]["nesterov"]) == (
        "sgd",
        0.5,
        True,
    )
    assert spec["schedule"]["name"] == "linear"
    training = spec["training"]
    assert (training["batch_size"], training["clip_norm"], training["precision"]) == (10, 1.0, "float64")
    assert (training["shuffle"], training["epochs"], training["validation_fraction"]) == (False, 2, 0.0)
    assert job.record.tags == (TAG,)
    job.delete()
    adam = MLPClassifier((), solver={"name": "adam", "beta1": 0.5}, max_iter=1, keep=True).fit(*IRIS)
    job = client.job(adam.job_id_)
    assert job.spec["optimizer"]["beta1"] == 0.5
    client.delete_dataset(job.record.dataset)
    job.delete()


def test_names_of_columns_are_kept_and_checked() -> None:
    x, y = IRIS
    table = pa.table({f"column {j}": x[:, j] for j in range(4)})
    net = MLPClassifier((), max_iter=5).fit(table, y)
    assert net.feature_names_in_.tolist() == table.column_names
    with pytest.raises(ValueError, match="feature names should match"):
        net.predict(table.select(table.column_names[::-1]))


def test_a_clone_and_a_copy_have_the_same_client(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    net = MLPClassifier((), client=client, max_iter=2, verbose=True)
    assert clone(net).client is client
    elsewhere = pickle.loads(pickle.dumps(net))
    assert elsewhere.client.url == client.url
    for one in (net, clone(net), elsewhere):
        assert one.fit(*IRIS).n_iter_ == 2
    elsewhere.client.close()
    assert capsys.readouterr().out.count("Iteration 2, loss = ") == 3


def test_a_service_that_is_away_is_named() -> None:
    address = "http://127.0.0.1:9"
    with Client(address, patience_s=0.0) as away, pytest.raises(ServiceUnreachableError, match=address):
        MLPClassifier(client=away).fit(*IRIS)


def test_what_the_service_refuses_is_told_and_leaves_nothing(client: Client) -> None:
    before = {dataset.id for dataset in client.datasets()}
    with pytest.raises(InvalidInputError, match="lbfgs"):
        MLPRegressor(solver="lbfgs").fit(*DIABETES)
    assert {dataset.id for dataset in client.datasets()} == before


def test_ctrl_c_stops_the_job_and_leaves_nothing(client: Client, tidy: None) -> None:
    before = {dataset.id for dataset in client.datasets()}
    code = (
        "import numpy as np; from mlpq import MLPRegressor\n"
        "MLPRegressor((256, 256), tol=None, max_iter=1_000_000).fit(np.eye(200), np.arange(200.0))"
    )
    fitting = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    wait_until(lambda: [job for job in client.jobs(tag=TAG) if job.status == "running"], 60, "the fit trains")
    fitting.send_signal(signal.SIGINT)
    _, said = fitting.communicate(timeout=30)
    assert b"KeyboardInterrupt" in said
    assert list(client.jobs(tag=TAG)) == []
    assert {dataset.id for dataset in client.datasets()} == before


def test_a_fit_that_is_interrupted_before_it_knows_its_job_leaves_none(client: Client, tidy: None) -> None:
    class Interrupted(Client):
        def submit(self, specification: Any) -> Any:
            super().submit(specification)
            raise KeyboardInterrupt

    before = {dataset.id for dataset in client.datasets()}
    with Interrupted(client.url) as other, pytest.raises(KeyboardInterrupt):
        MLPRegressor((256, 256), tol=None, max_iter=1_000_000, client=other).fit(np.eye(200), np.arange(200.0))
    assert list(client.jobs(tag=TAG)) == []
    assert {dataset.id for dataset in client.datasets()} == before


def test_what_the_docs_show_runs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "sklearn.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    accuracy = float(done.stdout.split()[0])
    assert accuracy > 0.95
