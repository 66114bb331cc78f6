"""Rows L01-L10, L24 and L28 of the lecture: the exact values, and that they round to what the slides show."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from nets.losses import LOSSES, softmax, value_and_gradient
from nets.member import Member
from nets.parameters import Layout
from nets.resolve import parameter_count
from nets.table import Table
from nets.threads import blas_threads
from nets.trainer import Ending
from tests.nets.support import BACKEND, bare_data, blobs, member_for, run, spec_for


def losses_of(name: str, scores: list, labels: list) -> np.ndarray:
    return value_and_gradient(LOSSES[name], BACKEND, np.array(scores, float), np.array(labels))[0]


def test_l01_linear_classifier_is_a_net_without_hidden_layers():
    x = np.random.default_rng(0).random((20, 3072))
    table = Table.from_arrays(x, np.arange(20) % 10)
    spec = spec_for(table, net={"hidden": []}, training={"epochs": 1})
    assert parameter_count(spec, 3072, 10) == 30_730 == 10 * 3073
    outcome = run(member_for(table, net={"hidden": []}, training={"epochs": 1})).outcomes[0]
    assert outcome.kind is Ending.COMPLETED
    assert outcome.parameters["W1"].shape == (3072, 10)


def test_l02_to_l04_scores_svm_and_softmax_of_the_worked_example():
    W = np.array([[0.01, -0.05, 0.1, 0.05], [0.7, 0.2, 0.05, 0.16], [0, -0.45, -0.2, 0.03]])
    s = W @ [-15, 22, -44, 56] + [0, 0.2, -0.3]
    np.testing.assert_allclose(s, [-2.85, 0.86, 0.28], atol=1e-12)
    assert losses_of("svm", [s], [2])[0] == pytest.approx(1.58, abs=1e-12)
    assert np.round(np.exp(s), 3).tolist() == pytest.approx([0.058, 2.363, 1.323])
    probabilities = softmax(s[None])[0]
    assert np.round(probabilities, 3).tolist() == [0.015, 0.631, 0.353]
    loss = losses_of("softmax", [s], [2])[0]
    assert loss == pytest.approx(-math.log(probabilities[2]), abs=1e-14)
    assert round(loss, 4) == 1.0402
    assert round(loss / math.log(10), 3) == 0.452  # the slide's figure is the base-10 logarithm


def test_l05_cat_car_frog():
    s = [3.2, 5.1, -1.7]
    assert np.round(np.exp(s), 2).tolist() == [24.53, 164.02, 0.18]
    assert np.round(softmax(np.array([s])), 2).tolist() == [[0.13, 0.87, 0.0]]
    assert losses_of("softmax", [s], [0])[0] == pytest.approx(2.0404, abs=5e-5)
    assert losses_of("svm", [s], [0])[0] == pytest.approx(2.9, abs=1e-12)


def test_l06_probabilities_and_cross_entropy_is_kl_for_one_hot():
    rng = np.random.default_rng(6)
    scores = rng.normal(size=(50, 7)) * 30
    labels = rng.integers(7, size=50)
    q = softmax(scores)
    assert (q >= 0).all()
    np.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-12)
    entropy_of_one_hot = 0.0
    kl = -np.log(q[np.arange(50), labels])
    np.testing.assert_allclose(losses_of("softmax", scores, labels), entropy_of_one_hot + kl, rtol=1e-9, atol=1e-15)


def test_l07_softmax_loss_is_positive_and_unbounded():
    gaps = np.array([1e-3, 1, 30, 300, 700.0])
    right = losses_of("softmax", np.stack([gaps, 0 * gaps], 1), [0] * 5)
    wrong = losses_of("softmax", np.stack([gaps, 0 * gaps], 1), [1] * 5)
    assert (right > 0).all()
    assert (np.diff(right) < 0).all()
    np.testing.assert_allclose(wrong[2:], gaps[2:], rtol=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
def test_l08_loss_at_initialisation_is_ln_c(classes):
    assert losses_of("softmax", np.zeros((1, classes)), [0])[0] == pytest.approx(math.log(classes), rel=1e-14)
    table = blobs(rows=40, classes=10)
    member = member_for(
        table, net={"init": "normal:0.0001"}, optimizer={"name": "sgd", "learning_rate": 1e-12}, training={"epochs": 1}
    )
    assert run(member).points[0][0]["train_loss"] == pytest.approx(2.302585, abs=1e-4)


def test_l09_three_score_vectors_need_log1p():
    scores = [[10, -2, 3], [10, 9, 9], [10, -100, -100]]
    assert losses_of("svm", scores, [0, 0, 0]).tolist() == [0, 0, 0]
    np.testing.assert_allclose(losses_of("softmax", scores, [0, 0, 0]), [9.1761e-4, 0.551445, 3.378e-48], rtol=1e-4)


def test_l10_penalty_gradient_is_2_lambda_w_and_biases_are_not_decayed():
    x, y = np.zeros((4, 3), np.float64), np.array([0, 1, 0, 1])  # no signal: with l2 alone, W shrinks
    table = Table.from_arrays(x, y)
    spec = spec_for(
        table,
        net={"hidden": [], "init": "normal:1"},
        optimizer={"name": "sgd", "learning_rate": 0.1, "momentum": 0.0, "l2": 0.25},
        schedule="constant",
        training={"epochs": 1, "validation_fraction": 0.0, "precision": "float64"},
    )
    data = bare_data(x, y, 2)
    member = Member(spec, data)
    before = Layout((3, 2)).named(member.initial_parameters())
    after = run(member).outcomes[0].parameters
    np.testing.assert_allclose(after["W1"], before["W1"] * (1 - 0.1 * 2 * 0.25), rtol=1e-14)
    assert after["b1"].tolist() == [0, 0]  # the two classes are equally frequent, and b is not decayed


def test_l24_without_activation_a_stack_is_one_linear_map():
    member = member_for(
        blobs(), net={"hidden": [8, 6], "activation": "identity", "bias": False}, training={"epochs": 3}
    )
    w = run(member).outcomes[0].parameters
    x = member.data.x_val
    np.testing.assert_allclose(((x @ w["W1"]) @ w["W2"]) @ w["W3"], x @ (w["W1"] @ w["W2"] @ w["W3"]), atol=1e-4)


def twenty_lines(steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[float]]:
    """The lecture's program, in the lecture's words: x, y, first weights, and the loss of every step."""
    rng = np.random.RandomState(0)
    x, y = rng.randn(64, 1000), rng.randn(64, 10)
    w1, w2 = rng.randn(1000, 100), rng.randn(100, 10)
    start = np.concatenate([w1.ravel(), w2.ravel()])
    losses = []
    for _ in range(steps):
        h = 1 / (1 + np.exp(-x.dot(w1)))
        y_pred = h.dot(w2)
        losses.append(float(np.square(y_pred - y).sum()))
        grad_y_pred = 2.0 * (y_pred - y)
        grad_w2 = h.T.dot(grad_y_pred)
        grad_h = grad_y_pred.dot(w2.T)
        grad_w1 = x.T.dot(grad_h * h * (1 - h))
        w1 -= 1e-4 * grad_w1
        w2 -= 1e-4 * grad_w2
    return x, y, start, np.concatenate([w1.ravel(), w2.ravel()]), losses


def test_l28_the_twenty_lines_step_by_step():
    with blas_threads(1):
        x, y, start, end, losses = twenty_lines(2000)
    table = Table.from_arrays(x, y[:, 0], "regression")
    spec = spec_for(
        table,
        net={"hidden": [100], "activation": "sigmoid", "bias": False},
        loss={"name": "squared_error", "reduction": "sum"},
        optimizer={"name": "sgd", "learning_rate": 1e-4, "momentum": 0.0, "l2": 0.0},
        schedule="constant",
        training={
            "epochs": 2000,
            "batch_size": 64,
            "shuffle": False,
            "validation_fraction": 0.0,
            "precision": "float64",
        },
    )
    data = bare_data(x, y, 10, "regression")
    recorder = run(Member(spec, data, {"parameters": start}), threads=1)
    ours = [point["train_loss"] for point in recorder.points[0]]
    assert len(ours) == 2000
    assert round(ours[0], 1) == 24635.9
    assert round(ours[-1], 4) == 4.3485
    assert all(b < a for a, b in pairwise(ours)), "monotone"
    np.testing.assert_allclose(ours, losses, rtol=1e-7)
    outcome = recorder.outcomes[0]
    assert outcome.metrics["train_loss"] < ours[-1]
    np.testing.assert_allclose(outcome.parameters["W1"].ravel(), end[:100_000], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(outcome.parameters["W2"].ravel(), end[100_000:], rtol=1e-6, atol=1e-8)


def test_l48_a_gradient_has_its_variables_shape():
    layout = Layout((5, 7, 3))
    shapes = {name: view.shape for name, view in layout.named(np.zeros(layout.count)).items()}
    assert shapes == {"W1": (5, 7), "b1": (7,), "W2": (7, 3), "b2": (3,)}
