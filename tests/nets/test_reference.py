"""The trainer against an independent float64 implementation, and float32 against float64."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.random import permutation
from nets.gradient_check import gradient_check
from nets.losses import LOSSES
from tests.nets import reference
from tests.nets.support import blobs, line, member_for, run, spec_for

SGD = {"name": "sgd", "learning_rate": 0.03, "momentum": 0.9, "l2": 0.01}
ADAM = {"name": "adam", "learning_rate": 0.01, "l2": 0.01}


def train_both(table, epochs=4, seed=3, hidden=(9, 7), **spec):
    """(our outcome and points, reference result) from equal initial weights and row orders, in float64."""
    training = {"epochs": epochs, "batch_size": 32, "seed": seed, "precision": "float64", **spec.pop("training", {})}
    member = member_for(
        table,
        net={"hidden": list(hidden), **spec.pop("net", {})},
        training=training,
        **{"schedule": "constant", **spec},
    )
    named = member.layout.named(member.initial_parameters())
    data, resolved = member.data, member.spec
    orders = [permutation(seed, epoch, len(data.x_train)) for epoch in range(epochs)]
    expected = reference.train(
        [v.copy() for k, v in named.items() if k[0] == "W"],
        [v.copy() for k, v in named.items() if k[0] == "b"],
        data.x_train,
        data.y_train,
        orders,
        batch=32,
        activation=[one.name for one in resolved.net.activation],
        loss=resolved.loss.name,
        optimizer={"name": resolved.optimizer.name, **resolved.optimizer.options},
        reduction=resolved.loss.options.get("reduction", "mean"),
        row_weight=data.row_weight,
        clip_norm=resolved.training.clip_norm,
        loss_options={k: v for k, v in resolved.loss.options.items() if k != "reduction"},
    )
    recorder = run(member)
    return recorder.outcomes[0], recorder.points[0], expected


def assert_equal_training(outcome, points, expected, rtol=1e-9):
    weights, biases, curve = expected
    np.testing.assert_allclose([p["train_loss"] for p in points], curve, rtol=rtol)
    for layer, weight in enumerate(weights, start=1):
        np.testing.assert_allclose(outcome.parameters[f"W{layer}"], weight, rtol=1e-6, atol=1e-10)
    for layer, bias in enumerate(biases, start=1):
        np.testing.assert_allclose(outcome.parameters[f"b{layer}"], bias, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_activation_with_every_loss_trains_as_the_reference_does(activation, loss):
    table = blobs(classes=2 if LOSSES[loss].one_output else 3)
    assert_equal_training(*train_both(table, net={"activation": activation}, loss=loss, optimizer=SGD))


@pytest.mark.parametrize(
    "loss",
    [
        {"name": "softmax", "label_smoothing": 0.1},
        {"name": "softmax", "label_smoothing": 0.9},
        {"name": "huber", "delta": 0.3},
        {"name": "svm", "margin": 0.1},
    ],
    ids=str,
)
def test_settings_of_losses_train_as_the_reference_does(loss):
    if loss["name"] != "svm":  # whose reference has the margin 1 built in
        assert_equal_training(*train_both(blobs(), loss=loss, optimizer=SGD))
    check = gradient_check(spec_for(blobs(), net={"activation": "tanh"}, loss=loss), blobs())
    assert check.ok, check.errors


@pytest.mark.parametrize("loss", ["huber", "absolute_error"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_robust_losses_of_a_regression_train_as_the_reference_does(loss, reduction):
    optimizer = {**SGD, "learning_rate": 0.003 if reduction == "mean" else 1e-4}
    assert_equal_training(*train_both(line(), loss={"name": loss, "reduction": reduction}, optimizer=optimizer))


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD,
        ADAM,
        {**SGD, "nesterov": True},
        {**SGD, "momentum": 0.0},
        {**SGD, "l2": 0.0},
        {"name": "adagrad", "learning_rate": 0.05, "l2": 0.01},
        {"name": "rmsprop", "learning_rate": 0.003, "decay": 0.8, "l2": 0.01},
        {"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.5},
        {"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.0},
    ],
    ids=str,
)
def test_every_optimizer_trains_as_the_reference_does(optimizer):
    assert_equal_training(*train_both(blobs(), optimizer=optimizer))


def test_no_biases_no_hidden_layer_and_regression_train_as_the_reference_does():
    assert_equal_training(*train_both(blobs(), net={"bias": False}, optimizer=SGD))
    assert_equal_training(*train_both(blobs(), hidden=(), optimizer=SGD))
    assert_equal_training(*train_both(line(), optimizer={**SGD, "learning_rate": 0.003}))
    assert_equal_training(
        *train_both(
            line(), loss={"name": "squared_error", "reduction": "sum"}, optimizer={**SGD, "learning_rate": 1e-4}
        )
    )


def test_class_weights_and_clipping_train_as_the_reference_does():
    assert_equal_training(*train_both(blobs(), optimizer=SGD, training={"class_weight": "balanced"}))
    weights = {"class 0": 3.0, "class 2": 0.5}
    assert_equal_training(*train_both(blobs(), optimizer=SGD, training={"class_weight": weights}))
    assert_equal_training(*train_both(blobs(), optimizer=SGD, training={"clip_norm": 0.05}))


def test_large_nets_updated_in_blocks_train_as_the_reference_does():
    assert_equal_training(*train_both(blobs(), hidden=(700, 500), epochs=1, optimizer=ADAM), rtol=1e-8)


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
def test_float32_follows_float64(optimizer):
    curves, weights = [], []
    for precision in ("float32", "float64"):
        training = {"epochs": 5, "precision": precision}
        recorder = run(member_for(blobs(), optimizer=optimizer, training=training))
        assert recorder.outcomes[0].parameters["W1"].dtype == precision
        curves.append([point["train_loss"] for point in recorder.points[0]])
        weights.append(recorder.outcomes[0].parameters["W1"])
    np.testing.assert_allclose(curves[0], curves[1], rtol=2e-5)
    np.testing.assert_allclose(weights[0], weights[1], atol=2e-4)
