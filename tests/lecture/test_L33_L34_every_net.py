"""Rows L33 and L34: SVM with a penalty on two layers; every loss with every activation; wrong signs are caught.

Which losses and activations exist is read from the tables, so a new row is held to the same laws.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernels.numpy_backend import NumpyBackend
from kernels.operations import ACTIVATIONS
from nets import gradient_check as check_module
from nets import network
from nets.gradient_check import TOLERANCE, gradient_check
from nets.losses import LOSSES
from nets.member import Member
from nets.table import Table
from nets.tape import call
from nets.trainer import Ending
from tests.lecture.parts import (
    assert_close,
    check_net,
    numerical_gradient,
    outputs_of,
    play_net,
    random_parameters,
    targets_for,
)
from tests.nets.support import bare_data, blobs, member_for, run, spec_for


def test_L33_svm_on_two_layers_with_a_penalty_on_both():
    rng, penalty, rate = np.random.default_rng(33), 0.1, 1e-3
    x, y, start = rng.normal(size=(10, 4)), rng.integers(3, size=10), random_parameters((4, 6, 3), bias=False)

    def objective():
        data = play_net(start, x, loss="svm", targets=y).losses.mean()
        return data + penalty * (start["W1"] ** 2).sum() + penalty * (start["W2"] ** 2).sum()

    options = {"epochs": 1, "batch_size": 10, "validation_fraction": 0.0, "precision": "float64"}
    spec = spec_for(
        Table.from_arrays(x, y),
        net={"hidden": [6], "bias": False},
        loss="svm",
        optimizer={"name": "sgd", "learning_rate": rate, "momentum": 0.0, "l2": penalty},
        schedule="constant",
        training=options,
    )
    member = Member(spec, bare_data(x, y, 3))
    state = {"parameters": member.layout.flat(start, np.dtype(np.float64))}
    after = run(Member(spec, member.data, state)).outcomes[0].parameters
    stepped = {name: (start[name] - array) / rate for name, array in after.items()}  # one step shows the gradient
    assert_close(stepped, numerical_gradient(objective, start), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_L34_every_loss_sits_on_every_activation_without_deriving_anew(activation, loss):
    seed = 100 * list(ACTIVATIONS).index(activation) + list(LOSSES).index(loss)
    rng, parameters = np.random.default_rng(seed), random_parameters((4, 5, 4, outputs_of(loss)), seed)
    x, targets = rng.normal(size=(7, 4)), targets_for(loss, 7, seed)
    upstream = rng.normal(size=7)  # every row weighs differently, some negatively: an upstream of 1 hides errors

    def weighted():
        return float(upstream @ play_net(parameters, x, activation, loss=loss, targets=targets).losses)

    played = play_net(parameters, x, activation, loss=loss, targets=targets, upstream=upstream)
    assert_close(played.gradients, numerical_gradient(weighted, parameters), rtol=2e-6, atol=2e-8)
    assert all(np.abs(gradient).max() > 1e-3 for gradient in played.gradients.values()), "nothing is trivially 0"


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_L34_the_products_own_check_passes(activation, loss):
    check = check_net(activation, loss)
    assert check.ok, (activation, loss, check.errors)
    assert check.errors.keys() == {"W1", "b1", "W2", "b2", "W3", "b3"}
    assert check.checked > check.at_kinks


def test_L34_layers_may_mix_all_activations():
    names = list(ACTIVATIONS)
    parameters = random_parameters((4, *[5] * len(names), 3), 34)
    rng = np.random.default_rng(34)
    x, upstream, y = rng.normal(size=(6, 4)), rng.normal(size=6), rng.integers(3, size=6)

    def weighted():
        return float(upstream @ play_net(parameters, x, names, loss="softmax", targets=y).losses)

    played = play_net(parameters, x, names, loss="softmax", targets=y, upstream=upstream)
    assert_close(played.gradients, numerical_gradient(weighted, parameters), rtol=1e-5, atol=1e-8)


def test_L34_swapping_the_loss_changes_one_word_of_a_spec():
    members = {loss: member_for(blobs(), loss=loss, training={"epochs": 30}) for loss in ("svm", "softmax")}
    first, second = (member.spec.to_json() for member in members.values())
    assert {name for name in first if first[name] != second[name]} == {"loss"}
    for loss, member in members.items():
        recorder = run(member)
        curve = [point["train_loss"] for point in recorder.points[0]]
        assert recorder.outcomes[0].kind is Ending.COMPLETED
        assert curve[-1] < 0.7 * curve[0], loss


# ---- the check can fail: one wrong sign anywhere is found


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_L34_a_wrong_sign_in_an_activation_is_caught(activation, loss, monkeypatch):
    right = ACTIVATIONS[activation]
    monkeypatch.setattr(
        network, "ACTIVATIONS", {**ACTIVATIONS, activation: replace(right, gradient=f"-({right.gradient})")}
    )
    check = check_net(activation, loss)
    assert not check.ok
    assert check.errors["W3"] <= TOLERANCE, "the layer above the wrong gates does not see them"
    assert check.errors["W2"] > 0.1, "one wrong sign"
    assert check.errors["W1"] <= TOLERANCE, "two wrong signs cancel: every tensor must be looked at"


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_L34_a_wrong_sign_in_a_loss_is_caught(activation, loss, monkeypatch):
    right = LOSSES[loss]

    def bind(backend, at, options):
        tape = right.bind(backend, at, options)
        call(tape, backend.xp.negative, at.scores, out=at.scores)
        return tape

    monkeypatch.setattr(check_module, "LOSSES", {**LOSSES, loss: replace(right, bind=bind)})
    check = check_net(activation, loss)
    assert not check.ok
    assert min(check.errors.values()) > 0.1, "every tensor is wrong"


class WrongProduct(NumpyBackend):
    """A backend that returns one product of the backward pass with the wrong sign."""

    def __init__(self, left: tuple[int, ...], right: tuple[int, ...]) -> None:
        super().__init__()
        self.shapes, self.hits = (left, right), 0

    def matmul(self, a, b, out):
        super().matmul(a, b, out)
        if (a.shape, b.shape) == self.shapes:
            self.hits += 1
            np.negative(out, out=out)


PRODUCTS = {  # of a net 4 → 8 → 6 → 3 on 12 rows: (left, right), each shape pair used once in a step
    "dW1": ((1, 5, 12), (1, 12, 8)),
    "dW2": ((1, 9, 12), (1, 12, 6)),
    "dW3": ((1, 7, 12), (1, 12, 3)),
    "da1": ((1, 8, 6), (1, 6, 12)),
    "da2": ((1, 6, 3), (1, 3, 12)),
}


@pytest.mark.parametrize("product", PRODUCTS)
def test_L34_a_wrong_sign_in_any_product_is_caught(product):
    table = blobs()
    spec = spec_for(table, net={"hidden": [8, 6], "activation": "tanh"})
    backend = WrongProduct(*PRODUCTS[product])
    check = gradient_check(spec, table, rows=12, backend=backend)
    assert backend.hits == 1, "once, in the one backward pass"
    wrong = {name for name, error in check.errors.items() if error > 0.1}
    layer = int(product[-1])
    below = {f"{kind}{n}" for kind in "Wb" for n in range(1, layer + 1)}
    assert wrong == (below if product.startswith("da") else {f"W{layer}", f"b{layer}"})
