"""Analytic against numerical gradients through whole nets, and that the check can fail."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from kernels.operations import ACTIVATIONS, Operation
from nets import network
from nets.gradient_check import TOLERANCE, check_prepared, gradient_check
from nets.losses import LOSSES
from nets.prepare import prepare
from tests.nets.support import blobs, line, spec_for


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_with_every_loss_passes(activation, loss):
    table, outputs = (blobs(classes=2), 1) if LOSSES[loss].one_output else (blobs(), 3)
    spec = spec_for(table, net={"hidden": [6, 5], "activation": activation}, loss=loss)
    rng = np.random.default_rng(1)
    data = prepare(
        table, spec.model_copy(update={"training": spec.training.model_copy(update={"precision": "float64"})})
    )
    parameters = rng.normal(size=4 * 6 + 6 + 6 * 5 + 5 + 5 * outputs + outputs) * 0.7
    exact = spec.model_copy(update={"training": spec.training.model_copy(update={"precision": "float64"})})
    check = check_prepared(exact, data, rows=12, parameters=parameters)
    assert check.errors.keys() == {"W1", "b1", "W2", "b2", "W3", "b3"}
    assert check.ok, (activation, loss, check.errors)
    assert check.checked > 0.5 * len(parameters)
    assert max(check.errors.values()) > 0, "two different computations never agree exactly"


def test_regression_and_parameterised_activations_pass():
    assert gradient_check(spec_for(line(), net={"hidden": [5], "activation": "tanh"}), line()).ok
    assert gradient_check(spec_for(blobs(), net={"activation": {"name": "elu", "alpha": 2.5}}), blobs()).ok


def test_initial_loss_of_softmax_is_compared_with_ln_c():
    check = gradient_check(spec_for(blobs(), net={"init": "normal:0.0001"}), blobs())
    assert check.expected_loss == math.log(3)
    assert check.initial_loss == pytest.approx(math.log(3), abs=1e-3)
    shown = check.to_json()
    assert shown["ok"] is True
    assert shown["max_relative_error"] <= TOLERANCE


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_wrong_sign_in_any_activation_is_caught(name, monkeypatch):
    right = ACTIVATIONS[name]
    wrong = Operation(
        right.name, right.value, f"-({right.gradient})", right.doc, right.source, right.parameters, right.kinks
    )
    monkeypatch.setattr(network, "ACTIVATIONS", {**ACTIVATIONS, name: wrong})
    check = gradient_check(spec_for(blobs(), net={"hidden": [6], "activation": name}), blobs())
    assert not check.ok
    assert check.errors["W1"] > 0.1
    assert check.errors["W2"] <= TOLERANCE, "the layer above does not see the wrong gradient"


@pytest.mark.parametrize("name", LOSSES)
def test_a_wrong_sign_in_any_loss_is_caught(name, monkeypatch):
    from nets import gradient_check as module
    from nets.tape import call

    right = LOSSES[name]

    def bind(backend, at, options):
        tape = right.bind(backend, at, options)
        call(tape, backend.xp.negative, at.scores, out=at.scores)
        return tape

    monkeypatch.setattr(module, "LOSSES", {**LOSSES, name: replace(right, bind=bind)})
    table = blobs(classes=2)
    assert gradient_check(spec_for(table, loss=name), table).ok is False
