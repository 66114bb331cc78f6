"""Rows L01-L10: linear scores, the SVM and softmax losses, the penalty."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nets.gradient_check import gradient_check
from nets.lecture.play import loss_of
from nets.losses import LOSSES, softmax, value_and_gradient
from nets.member import Member
from nets.parameters import Layout
from nets.resolve import parameter_count
from nets.spec import TrainingSpec
from nets.table import Table
from nets.trainer import Ending
from tests.lecture.parts import play_net
from tests.nets.support import BACKEND, bare_data, blobs, member_for, run, spec_for


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
