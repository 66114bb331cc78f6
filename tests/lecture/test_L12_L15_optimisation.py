"""Rows L12-L15: numerical and analytic gradients, the check of one by the other, descent by minibatches."""

from __future__ import annotations

import numpy as np
import pytest

from nets.batches import RowOrder
from nets.gradient_check import TOLERANCE, gradient_check
from nets.member import Member
from nets.spec import TrainingSpec
from nets.table import Table
from tests.lecture.parts import play_net, random_parameters
from tests.nets.support import bare_data, blobs, line, run, spec_for

SLIDE = np.array([-2.5, 0.6, 0, 0.2, 0.7, -0.5, 1.1, 1.3, -2.1])
"""The slide's analytic gradient; a loss that is linear around W has it exactly."""


def whole_net(seed: int = 14):
    """(loss as a function of the flat parameters, its analytic gradient) of a net on a batch."""
    rng = np.random.default_rng(seed)
    x, y, start = rng.normal(size=(12, 4)), rng.integers(3, size=12), random_parameters((4, 6, 3), seed)

    def unflatten(flat):
        parts, used = {}, 0
        for name, array in start.items():
            parts[name] = flat[used : used + array.size].reshape(array.shape)
            used += array.size
        return parts

    def loss(flat):
        return play_net(unflatten(flat), x, "tanh", loss="softmax", targets=y).losses.mean()

    at = np.concatenate([array.ravel() for array in start.values()])
    played = play_net(unflatten(at), x, "tanh", loss="softmax", targets=y)
    return loss, at, np.concatenate([played.gradients[name].ravel() for name in start])


def test_L14_the_directional_derivative_is_a_dot_product():
    loss, at, gradient = whole_net()
    rng, h = np.random.default_rng(0), 1e-5
    for _ in range(20):
        u = rng.normal(size=at.size)
        u /= np.linalg.norm(u)
        along = (loss(at + h * u) - loss(at - h * u)) / (2 * h)
        assert along == pytest.approx(gradient @ u, abs=1e-9)


def test_L14_minus_the_gradient_is_the_steepest_descent():
    loss, at, gradient = whole_net()
    rng, h = np.random.default_rng(1), 1e-4
    steepest = loss(at - h * gradient / np.linalg.norm(gradient))
    assert steepest == pytest.approx(loss(at) - h * np.linalg.norm(gradient), abs=1e-7)
    for _ in range(100):
        u = rng.normal(size=at.size)
        assert loss(at + h * u / np.linalg.norm(u)) > steepest


def test_L14_central_differences_are_exact_to_second_order_and_forward_ones_to_first():
    loss, at, gradient = whole_net()
    u = np.ones(at.size) / np.sqrt(at.size)
    forward, central = [], []
    for h in (2e-2, 1e-2):
        forward.append(abs((loss(at + h * u) - loss(at)) / h - gradient @ u))
        central.append(abs((loss(at + h * u) - loss(at - h * u)) / (2 * h) - gradient @ u))
    assert forward[0] / forward[1] == pytest.approx(2, rel=0.05)
    assert central[0] / central[1] == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_L14_a_user_checks_the_gradient_of_their_own_net_and_rows(precision):
    for table in (blobs(), line()):
        spec = spec_for(table, net={"hidden": [7, 5], "activation": "gelu"}, training={"precision": precision})
        check = gradient_check(spec, table, rows=10)
        assert check.ok
        assert 0 < max(check.errors.values()) <= TOLERANCE
        assert check.rows == 10
        assert list(check.to_json()["errors"]) == ["W1", "b1", "W2", "b2", "W3", "b3"]


def descent(x, y, parameters, batches, learning_rate):
    """The slide's loop: evaluate the gradient, step against it."""
    weights, curve = {name: array.copy() for name, array in parameters.items()}, []
    for rows in batches:
        played = play_net(weights, x[rows], loss="softmax", targets=y[rows])
        curve.append(played.losses.sum())
        for name, gradient in played.gradients.items():
            weights[name] += -learning_rate * gradient
    return weights, curve


@pytest.mark.parametrize("batch_size", [32, 64, 128, 256, 600])
def test_L15_the_trainer_is_the_slides_loop_over_minibatches(batch_size):
    rng, epochs = np.random.default_rng(15), 3
    x, y, start = rng.normal(size=(600, 4)), rng.integers(3, size=600), random_parameters((4, 8, 3))
    spec = spec_for(
        Table.from_arrays(x, y),
        net={"hidden": [8]},
        optimizer={"name": "sgd", "learning_rate": 0.1, "momentum": 0.0, "l2": 0.0},
        schedule="constant",
        training={
            "epochs": epochs,
            "batch_size": batch_size,
            "shuffle": False,
            "validation_fraction": 0.0,
            "precision": "float64",
        },
    )
    member = Member(spec, bare_data(x, y, 3))
    state = {"parameters": member.layout.flat(start, np.dtype(np.float64))}
    recorder = run(Member(spec, member.data, state))
    batches = [slice(first, first + batch_size) for _ in range(epochs) for first in range(0, 600, batch_size)]
    weights, curve = descent(x, y, start, batches, 0.1)
    per_epoch = np.array(curve).reshape(epochs, -1).sum(axis=1) / 600
    np.testing.assert_allclose([p["train_loss"] for p in recorder.points[0]], per_epoch, rtol=1e-12)
    assert recorder.outcomes[0].step == len(batches)
    for name, array in recorder.outcomes[0].parameters.items():
        np.testing.assert_allclose(array, weights[name], rtol=1e-10, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("batch_size", [32, 64, 128, 256])
def test_L15_a_shuffled_epoch_shows_every_row_once(batch_size):
    assert TrainingSpec.parse({"training": {"batch_size": batch_size}}).training.batch_size == batch_size
    order = RowOrder(seed=3, count=1000, batch=batch_size, offset=0, shuffle=True, row_weight=None)
    first, second = order.epoch(0), order.epoch(1)
    for epoch in (first, second):
        assert epoch.rows.shape == (-(-1000 // batch_size), batch_size)
        assert sorted(epoch.rows[epoch.weight > 0]) == list(range(1000))
    assert not np.array_equal(first.rows, second.rows)
