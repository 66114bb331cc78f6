"""Rows L01-L10: linear scores, the SVM and softmax losses, the penalty."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nets.gradient_check import gradient_check
from nets.losses import LOSSES, softmax, value_and_gradient
from nets.member import Member
from nets.parameters import Layout
from nets.resolve import parameter_count
from nets.spec import TrainingSpec
from nets.table import Table
from nets.trainer import Ending
from tests.lecture.parts import play_net
from tests.nets.support import BACKEND, bare_data, blobs, member_for, run, spec_for

W = np.array([[0.01, -0.05, 0.1, 0.05], [0.7, 0.2, 0.05, 0.16], [0, -0.45, -0.2, 0.03]])
X = np.array([-15.0, 22, -44, 56])
B = np.array([0, 0.2, -0.3])
Y = 2
SCORES = np.array([-2.85, 0.86, 0.28])
CAT_CAR_FROG = np.array([3.2, 5.1, -1.7])


def loss_of(name: str, scores, label: int = 0) -> float:
    return float(value_and_gradient(LOSSES[name], BACKEND, np.array([scores], float), np.array([label]))[0][0])


def test_L01_a_net_without_hidden_layers_is_a_legal_job():
    x = np.random.default_rng(0).random((20, 3072))
    table = Table.from_arrays(x, np.arange(20) % 10)
    spec = spec_for(table, net={"hidden": []}, training={"epochs": 1})
    assert parameter_count(spec, 32 * 32 * 3, 10) == 10 * 3073 == 30_730
    outcome = run(member_for(table, net={"hidden": []}, training={"epochs": 1})).outcomes[0]
    assert outcome.kind is Ending.COMPLETED
    assert outcome.parameters["W1"].shape == (3072, 10)
    assert outcome.parameters["b1"].shape == (10,)


def test_L01_the_bias_is_a_row_of_weights_behind_a_column_of_ones():
    rng = np.random.default_rng(1)
    weights, bias, x = rng.normal(size=(3072, 10)), rng.normal(size=10), rng.normal(size=(5, 3072))
    scores = play_net({"W1": weights, "b1": bias}, x).scores
    np.testing.assert_allclose(scores, x @ weights + bias, rtol=1e-12, atol=1e-12)
    folded = play_net({"W1": np.vstack([weights, bias])}, np.hstack([x, np.ones((5, 1))])).scores
    np.testing.assert_allclose(folded, scores, rtol=1e-12, atol=1e-12)


def test_L02_scores_of_the_worked_example():
    (scores,) = play_net({"W1": W.T, "b1": B}, X[None]).scores
    np.testing.assert_allclose(scores, SCORES, rtol=0, atol=1e-14)
    assert np.round(scores, 2).tolist() == [-2.85, 0.86, 0.28]


def test_L03_svm_loss_of_the_worked_example():
    (loss,) = play_net({"W1": W.T, "b1": B}, X[None], loss="svm", targets=np.array([Y])).losses
    assert loss == pytest.approx(max(0, -2.85 - 0.28 + 1) + max(0, 0.86 - 0.28 + 1), abs=1e-14)
    assert loss == pytest.approx(0 + 1.58, abs=1e-14)
    assert round(loss, 2) == 1.58


def test_L04_softmax_cross_entropy():
    powers = np.exp(SCORES)
    assert [f"{p:.3g}" for p in powers] == ["0.0578", "2.36", "1.32"]
    assert round(float(powers[0]), 3) == 0.058
    (probabilities,) = softmax(SCORES[None])
    np.testing.assert_allclose(probabilities, powers / powers.sum(), rtol=1e-14)
    assert [f"{p:.3g}" for p in probabilities] == ["0.0154", "0.631", "0.353"]
    (loss,) = play_net({"W1": W.T, "b1": B}, X[None], loss="softmax", targets=np.array([Y])).losses
    assert loss == pytest.approx(-math.log(powers[Y] / powers.sum()), rel=1e-14)
    assert round(loss, 4) == 1.0402
    assert round(loss / math.log(10), 3) == 0.452, "the slide shows the base-10 logarithm"


def test_L05_cat_car_frog():
    powers = np.exp(CAT_CAR_FROG)
    assert [f"{powers[0]:.1f}", f"{powers[1]:.1f}", f"{powers[2]:.2f}"] == ["24.5", "164.0", "0.18"]
    assert np.round(softmax(CAT_CAR_FROG[None])[0], 2).tolist() == [0.13, 0.87, 0.0]
    loss = loss_of("softmax", CAT_CAR_FROG)
    assert loss == pytest.approx(math.log(powers.sum()) - 3.2, rel=1e-14)
    assert round(loss, 4) == 2.0404
    assert loss_of("svm", CAT_CAR_FROG) == pytest.approx(max(0, 5.1 - 3.2 + 1) + max(0, -1.7 - 3.2 + 1), rel=1e-15)
    assert round(loss_of("svm", CAT_CAR_FROG), 1) == 2.9


@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0, 300.0])
def test_L06_cross_entropy_is_entropy_plus_divergence(spread):
    rng = np.random.default_rng(6)
    scores, p = rng.normal(size=(40, 7)) * spread, rng.dirichlet(np.ones(7), size=40)
    q = softmax(scores)
    assert (q >= 0).all()
    np.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-12)
    columns = [value_and_gradient(LOSSES["softmax"], BACKEND, scores, np.full(40, c))[0] for c in range(7)]
    minus_log_q = np.stack(columns, axis=1)  # the product's -ln q_c for every class c
    cross_entropy = (p * minus_log_q).sum(axis=1)  # H(P, Q)
    entropy = -(p * np.log(p)).sum(axis=1)  # H(P)
    divergence = (p * (np.log(p) + minus_log_q)).sum(axis=1)  # KL(P‖Q)
    np.testing.assert_allclose(cross_entropy, entropy + divergence, rtol=1e-10)
    assert (divergence >= 0).all()
    representable = q > 1e-300  # below, q itself has lost digits
    np.testing.assert_allclose(minus_log_q[representable], -np.log(q[representable]), rtol=1e-10, atol=1e-15)


def test_L06_for_one_hot_targets_cross_entropy_is_the_divergence():
    scores, label = np.array([[0.3, -1.2, 2.0]]), 1
    p, q = np.eye(3)[label], softmax(scores)[0]
    entropy = 0.0  # of a certain outcome
    divergence = float(p[label] * math.log(p[label] / q[label]))
    assert loss_of("softmax", scores[0], label) == pytest.approx(entropy + divergence, rel=1e-14)
    assert divergence == pytest.approx(-math.log(q[label]), rel=1e-14)


def test_L07_softmax_loss_comes_as_near_to_0_as_float64_can_and_never_reaches_it():
    gaps = np.array([1e-3, 1, 30, 300, 700.0])
    scores = np.stack([gaps, np.zeros(5)], axis=1)
    right = value_and_gradient(LOSSES["softmax"], BACKEND, scores, np.zeros(5, int))[0]
    np.testing.assert_allclose(right, np.log1p(np.exp(-gaps)), rtol=1e-14)
    assert (right > 0).all()
    assert (np.diff(right) < 0).all()
    assert right[-1] < 1e-304


def test_L07_softmax_loss_has_no_upper_bound():
    gaps = np.array([1.0, 30, 300, 700, 1e5, 1e300])
    scores = np.stack([gaps, np.zeros(6)], axis=1)
    wrong = value_and_gradient(LOSSES["softmax"], BACKEND, scores, np.ones(6, int))[0]
    np.testing.assert_allclose(wrong, gaps + np.log1p(np.exp(-gaps)), rtol=1e-14)


@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
def test_L08_equal_scores_cost_ln_c(classes):
    assert loss_of("softmax", np.zeros(classes)) == pytest.approx(math.log(classes), rel=1e-15)


def test_L08_small_initial_weights_give_ln_c_and_the_check_reports_both():
    assert f"{math.log(10):.6f}" == "2.302585"
    table = blobs(rows=200, classes=10)
    check = gradient_check(spec_for(table, net={"init": "normal:0.0001"}), table)
    assert check.expected_loss == math.log(10)
    assert check.initial_loss == pytest.approx(math.log(10), abs=1e-5)
    assert round(check.to_json()["initial_loss"], 1) == 2.3
    still = {"name": "sgd", "learning_rate": 1e-12}
    member = member_for(table, net={"init": "normal:0.0001"}, optimizer=still, training={"epochs": 1})
    assert run(member).points[0][0]["train_loss"] == pytest.approx(math.log(10), abs=1e-5)


def test_L09_the_svm_is_content_and_softmax_never_is():
    vectors = [[10, -2, 3], [10, 9, 9], [10, -100, -100]]
    assert [loss_of("svm", scores) for scores in vectors] == [0, 0, 0]
    exact = [math.log1p(math.exp(-12) + math.exp(-7)), math.log1p(2 * math.exp(-1)), 2 * math.exp(-110)]
    found = [loss_of("softmax", scores) for scores in vectors]
    np.testing.assert_allclose(found, exact, rtol=1e-14)
    assert [f"{loss:.4e}" for loss in found[:1]] == ["9.1761e-04"]
    assert [f"{found[1]:.6f}", f"{found[2]:.3e}"] == ["0.551445", "3.378e-48"]
    assert -np.log(softmax(np.array([vectors[2]], float))[0, 0]) == 0, "the naive form loses the third one"


def test_L10_the_penalty_pulls_weights_by_2_lambda_w_and_leaves_biases_alone():
    x, y = np.zeros((4, 3)), np.array([0, 1, 0, 1])  # no signal in the data: what moves W is the penalty alone
    spec = spec_for(
        Table.from_arrays(x, y),
        net={"hidden": [], "init": "normal:1"},
        optimizer={"name": "sgd", "learning_rate": 0.1, "momentum": 0.0, "l2": 0.25},
        schedule="constant",
        training={"epochs": 1, "validation_fraction": 0.0, "precision": "float64"},
    )
    fresh = Member(spec, bare_data(x, y, 2))
    state = fresh.initial_parameters()
    before = Layout((3, 2)).named(state)
    before["b1"][...] = 0.3  # equal for both equally frequent classes: no gradient from the data either
    after = run(Member(spec, fresh.data, {"parameters": state})).outcomes[0].parameters
    np.testing.assert_allclose((before["W1"] - after["W1"]) / 0.1, 2 * 0.25 * before["W1"], rtol=1e-12)
    assert np.array_equal(after["b1"], [0.3, 0.3])


def test_L10_the_data_term_is_a_mean_over_the_rows():
    rng = np.random.default_rng(10)
    x, y = rng.normal(size=(12, 4)), rng.integers(3, size=12)
    weights = {"W1": rng.normal(size=(4, 3))}
    once = play_net(weights, x, loss="softmax", targets=y)
    twice = play_net(weights, np.tile(x, (2, 1)), loss="softmax", targets=np.tile(y, 2))
    np.testing.assert_allclose(twice.gradients["W1"], once.gradients["W1"], rtol=1e-12)
    still = {"name": "sgd", "learning_rate": 1e-300, "momentum": 0.0, "l2": 0.5}
    options = {"epochs": 1, "validation_fraction": 0.0, "precision": "float64", "batch_size": 12}
    spec = spec_for(Table.from_arrays(x, y), net={"hidden": [], "bias": False}, optimizer=still, training=options)
    recorder = run(Member(spec, bare_data(x, y, 3), {"parameters": weights["W1"].reshape(-1)}))
    reported = recorder.points[0][0]["train_loss"]  # the data term; λ ΣW² is not counted in
    assert reported == pytest.approx(once.losses.mean(), rel=1e-13)
    assert TrainingSpec.parse({"optimizer": {"name": "sgd", "l2": 0.5}}).optimizer.number("l2") == 0.5
