"""A run that blows up says at which step and in which tensor, and keeps the last finite weights."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from kernels.errors import InvalidInput
from kernels.numpy_backend import NumpyBackend
from nets.engine import LayeredEngine
from nets.engines import COMPILED_VARIABLE
from nets.prepare import prepare
from nets.table import Table
from nets.trainer import Ending, fit
from tests.nets.support import BACKEND, Recorder, assert_same_arrays, blobs, line, member_for, run


def wild(**training):
    """Every step multiplies the weights by about -1e5: finite for a few steps only."""
    return member_for(
        blobs(),
        net={"hidden": [8, 6]},
        optimizer={"name": "sgd", "learning_rate": 1.0, "momentum": 0.0, "l2": 5e4},
        schedule="constant",
        training={"epochs": 50, "batch_size": 32, **training},
    )


def first_bad_step(member) -> tuple[int, dict[str, np.ndarray]]:
    """By brute force: step by step, looking at every parameter and every loss."""
    engine = LayeredEngine([member], BACKEND)
    with np.errstate(all="ignore"):
        while True:
            before = engine.state(0)["parameters"]
            engine.advance(1)
            if not (np.isfinite(engine.drain()).all() and engine.finite().all()):
                return engine.steps()[0], member.layout.named(before)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_divergence_names_step_and_tensor_and_keeps_finite_weights(precision):
    member = wild(precision=precision)
    step, before = first_bad_step(member)
    recorder = run(member)
    outcome = recorder.outcomes[0]
    assert outcome.kind is Ending.DIVERGED
    assert outcome.step <= step  # activations or gradients may overflow one step before a weight or a loss does
    assert outcome.step >= step - 1
    assert f"became non-finite at step {outcome.step}" in outcome.error
    assert all(np.isfinite(a).all() for a in outcome.parameters.values())
    if outcome.step == step:
        for name, array in outcome.parameters.items():
            assert np.array_equal(array, before[name])
    json.dumps([recorder.points, outcome.metrics], allow_nan=False)


def test_divergence_report_does_not_depend_on_the_clock():
    usual, ticks = run(wild()).outcomes[0], itertools.count()
    slow = run(wild(), clock=lambda: float(next(ticks))).outcomes[0]
    assert (usual.step, usual.epoch, usual.error, usual.metrics) == (slow.step, slow.epoch, slow.error, slow.metrics)
    for name, array in usual.parameters.items():
        assert np.array_equal(array, slow.parameters[name])


def test_an_overflowing_loss_alone_is_divergence():
    table = line(rows=60)
    member = member_for(
        table, net={"hidden": [4]}, optimizer={"name": "sgd", "learning_rate": 100.0}, training={"epochs": 20}
    )
    outcome = run(member).outcomes[0]
    assert outcome.kind is Ending.DIVERGED
    assert all(np.isfinite(a).all() for a in outcome.parameters.values())


def test_a_huge_but_finite_run_is_not_divergence():
    member = member_for(
        blobs(), net={"hidden": []}, optimizer={"name": "sgd", "learning_rate": 1e5}, training={"epochs": 5}
    )
    outcome = run(member).outcomes[0]
    assert outcome.kind is Ending.COMPLETED
    assert outcome.metrics["train_loss"] > 1e3


class SpoiledOnce(NumpyBackend):
    """A device that gives one product as NaN, and never again: what is run again is not what was run."""

    def __init__(self) -> None:
        super().__init__()
        self.products = 0

    def matmul(self, a, b, out):
        super().matmul(a, b, out)
        self.products += 1
        if self.products == 40:
            out[0] = np.nan  # of the first model alone


def test_a_failure_that_does_not_come_again_ends_its_model_and_no_other(monkeypatch):
    monkeypatch.setenv(COMPILED_VARIABLE, "0")
    members = [
        member_for(blobs(), net={"hidden": [8]}, training={"epochs": 5, "seed": seed, "batch_size": 32})
        for seed in range(2)
    ]
    recorder = Recorder()
    fit(members, SpoiledOnce(), recorder, recorder)
    spoiled, healthy = recorder.outcomes[0], recorder.outcomes[1]
    assert (spoiled.kind, healthy.kind) == (Ending.DIVERGED, Ending.COMPLETED)
    assert spoiled.step > 0
    assert "non-finite" in spoiled.error
    assert all(np.isfinite(array).all() for array in spoiled.parameters.values())
    assert_same_arrays(healthy.parameters, run(members[1]).outcomes[0].parameters)


def test_cells_beyond_the_precision_are_refused_before_training():
    x = np.array([[1e39], [0.0], [1.0], [2.0]])
    table = Table.from_arrays(x, np.array([0, 1, 0, 1]), standardize=False)
    with pytest.raises(InvalidInput, match="not finite"):
        member_for(table, training={"validation_fraction": 0.0})
    spec = member_for(table, training={"validation_fraction": 0.0, "precision": "float64"})
    assert prepare(table, spec.spec).x_train.dtype == np.float64
