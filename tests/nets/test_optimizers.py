"""Each optimizer alone: its first steps by hand, what it may not touch, and the search without a gradient."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.random import Stream, normal
from nets.losses import softmax
from nets.member import Member
from nets.optimizers import OPTIMIZERS
from nets.trainer import Ending
from tests.nets.support import bare_data, blobs, member_for, run, spec_for

GRADIENT_BASED = [name for name, row in OPTIMIZERS.items() if not row.searches]


@pytest.mark.parametrize("name", GRADIENT_BASED)
def test_every_optimizer_learns_the_blobs(name):
    outcome = run(member_for(blobs(rows=300), optimizer={"name": name}, training={"epochs": 30})).outcomes[0]
    assert outcome.kind is Ending.COMPLETED
    assert outcome.metrics["train_accuracy"] > 0.85
    assert outcome.metrics["train_loss"] < 0.5


@pytest.mark.parametrize("name", ["adagrad", "rmsprop", "adam", "adamw"])
def test_the_first_step_does_not_depend_on_the_size_of_the_gradient(name):
    """Each divides by the gradient's own size: lr for adagrad and Adam, lr/√(1-ρ) for rmsprop."""
    wide = {"weight_decay": 0.0} if name == "adamw" else {"l2": 0.0}
    x, y = np.array([[1000.0, 0.001]]), np.array([0])
    table = blobs(classes=2, features=2)
    spec = spec_for(
        table, net={"hidden": [], "init": "zeros"}, optimizer={"name": name, "learning_rate": 0.01, **wide},
        schedule="constant", training={"epochs": 1, "batch_size": 1, "precision": "float64"},
    )  # fmt: skip
    w = run(Member(spec, bare_data(x, y, 2))).outcomes[0].parameters["W1"]
    expected = 0.01 / np.sqrt(0.1) if name == "rmsprop" else 0.01
    np.testing.assert_allclose(w, [[expected, -expected]] * 2, rtol=1e-3)


def test_decoupled_decay_shrinks_weights_alone_and_by_the_same_factor():
    x, y = np.zeros((4, 3)), np.array([0, 1, 0, 1])
    spec = spec_for(
        blobs(classes=2, features=3), net={"hidden": [], "init": "normal:1"},
        optimizer={"name": "adamw", "learning_rate": 0.1, "weight_decay": 0.5}, schedule="constant",
        training={"epochs": 3, "batch_size": 4, "precision": "float64"},
    )  # fmt: skip
    member = Member(spec, bare_data(x, y, 2))
    after = run(member).outcomes[0].parameters
    before = member.layout.named(member.initial_parameters())
    np.testing.assert_allclose(after["W1"], before["W1"] * 0.95**3, rtol=1e-12)
    assert after["b1"].tolist() == [0, 0]


def searched(tries: int, seed: int = 3, **more) -> tuple[Member, dict]:
    member = member_for(
        blobs(rows=120), net={"hidden": []}, optimizer={"name": "random_search", "scale": 0.5},
        training={"epochs": tries, "seed": seed, "precision": "float64"} | more,
    )  # fmt: skip
    return member, run(member)


def test_random_search_keeps_the_best_of_the_draws_it_documents():
    member, recorder = searched(60)
    x, y = member.data.x_train, member.data.y_train
    losses = []
    for step in range(60):
        flat = normal(3, Stream.SEARCH, (15,), step=step) * 0.5
        probabilities = softmax(x @ flat[:12].reshape(4, 3) + flat[12:])
        losses.append(-np.log(probabilities[np.arange(len(y)), y]).mean())
    best = int(np.argmin(losses))
    flat = normal(3, Stream.SEARCH, (15,), step=best) * 0.5
    np.testing.assert_array_equal(recorder.outcomes[0].parameters["W1"].ravel(), flat[:12])
    np.testing.assert_array_equal(recorder.outcomes[0].parameters["b1"], flat[12:])
    np.testing.assert_allclose([p["train_loss"] for p in recorder.points[0]], losses, rtol=1e-12)
    assert recorder.outcomes[0].metrics["train_loss"] == pytest.approx(min(losses), rel=1e-12)


def test_more_draws_are_never_worse_and_defaults_try_a_thousand():
    assert searched(1)[0].spec.training.batch_size == 96
    assert spec_for(blobs(), optimizer={"name": "random_search"}).training.epochs == 1000
    found = [searched(tries)[1].outcomes[0].metrics["train_loss"] for tries in (1, 10, 100)]
    assert found[0] >= found[1] >= found[2]
    assert found[2] < found[0]


def test_a_search_that_meets_overflow_ends_with_the_best_weights_before():
    member = member_for(
        blobs(), net={"hidden": [4], "activation": "identity"}, loss="squared_error",
        optimizer={"name": "random_search", "scale": 1000.0}, training={"epochs": 5, "precision": "float32"},
    )  # fmt: skip
    member.data.x_train[:] *= 1e30
    outcome = run(member).outcomes[0]
    assert outcome.kind is Ending.DIVERGED
    np.testing.assert_array_equal(outcome.parameters["W1"], member.layout.named(member.initial_parameters())["W1"])
