"""Dropout and batch normalisation: against an independent reference, in stacks, across resumes, at prediction."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from kernels.errors import InvalidInput
from kernels.random import permutation
from nets import batch_norm
from nets.dropout import kept
from nets.export import load_npz, load_safetensors
from nets.gradient_check import TOLERANCE, check_prepared, gradient_check
from nets.losses import LOSSES
from nets.parameters import Layout
from nets.resolve import parameter_count, stack_key
from nets.tape import call
from nets.trainer import Command, Ending, fit
from nets.weight_formats import EXPORTERS
from nets.weights import Predictor, pack
from tests.nets.support import BACKEND, Recorder, assert_same_arrays, blobs, line, member_for, run, spec_for

HIDDEN = [9, 7]
NET = {"hidden": HIDDEN, "activation": ["tanh", "relu"]}
ADAM = {"name": "adam", "learning_rate": 0.01, "l2": 0.01}


def mask(seed: int, step: int, layer: int, rate: float, shape: tuple[int, int]) -> np.ndarray:
    """(B, H), word by word as the documentation of the layout says."""
    units, batch = shape
    philox = np.random.Philox(key=np.array([seed, 4], np.uint64), counter=np.array([0, 0, step, layer], np.uint64))
    words = [int(word) for word in philox.random_raw((units * batch + 1) // 2)]
    halves = [half for word in words for half in (word & 0xFFFFFFFF, word >> 32)]
    stays = np.array([half < (1 - rate) * 2**32 for half in halves[: units * batch]])
    return stays.reshape(units, batch).T / (1 - rate)


def train(member, rate: float, normalise: bool) -> tuple[dict[str, np.ndarray], list[float]]:
    """Textbook loops in float64: tanh layers, softmax, plain SGD; parameters by name and the loss of every epoch."""
    data, training = member.data, member.spec.training
    p = {name: view.copy() for name, view in member.layout.named(member.initial_parameters()).items()}
    lr, batch, step, curve = member.spec.optimizer.options["learning_rate"], training.batch_size, 0, []
    for epoch in range(training.epochs):
        order, total = permutation(training.seed, epoch, len(data.x_train)), 0.0
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            n, a, saved = len(rows), data.x_train[rows], []
            for layer in (1, 2):
                z, below = a @ p[f"W{layer}"] + p[f"b{layer}"], a
                hat, spread = z, np.ones(z.shape[1])
                if normalise:
                    spread = np.sqrt(z.var(axis=0) + 1e-5)
                    hat = (z - z.mean(axis=0)) / spread
                    for name, now in (("running_mean", z.mean(axis=0)), ("running_var", z.var(axis=0))):
                        p[f"{name}{layer}"] = 0.9 * p[f"{name}{layer}"] + 0.1 * now
                    z = p[f"gamma{layer}"] * hat + p[f"beta{layer}"]
                keep = mask(training.seed, step, layer, rate, (z.shape[1], batch))[:n] if rate else 1.0
                saved.append((below, hat, spread, np.tanh(z), keep))
                a = np.tanh(z) * keep
            scores = a @ p["W3"] + p["b3"]
            q = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
            total -= np.log(q[np.arange(n), data.y_train[rows]]).sum()
            d = (q - np.eye(scores.shape[1])[data.y_train[rows]]) / n
            slopes = {"W3": a.T @ d, "b3": d.sum(axis=0)}
            d = d @ p["W3"].T
            for layer in (2, 1):
                below, hat, spread, t, keep = saved[layer - 1]
                d = d * keep * (1 - t * t)
                if normalise:
                    slopes[f"gamma{layer}"], slopes[f"beta{layer}"] = (d * hat).sum(axis=0), d.sum(axis=0)
                    d = d * p[f"gamma{layer}"]
                    d = (d - d.mean(axis=0) - hat * (d * hat).mean(axis=0)) / spread
                slopes[f"W{layer}"], slopes[f"b{layer}"] = below.T @ d, d.sum(axis=0)
                d = d @ p[f"W{layer}"].T
            for name, slope in slopes.items():
                p[name] = p[name] - lr * slope
            step += 1
        curve.append(total / len(order))
    return p, curve


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_training_follows_an_independent_reference(rate, normalise):
    member = member_for(
        blobs(), net={"hidden": HIDDEN, "activation": "tanh", "dropout": rate, "batch_norm": normalise},
        optimizer={"name": "sgd", "learning_rate": 0.05, "momentum": 0.0, "l2": 0.0}, schedule="constant",
        training={"epochs": 4, "batch_size": 32, "seed": 3, "precision": "float64"},
    )  # fmt: skip
    assert len(member.data.x_train) % 32, "the last batch is short: its padding must not count"
    expected, curve = train(member, rate, normalise)
    recorder = run(member)
    np.testing.assert_allclose([p["train_loss"] for p in recorder.points[0]], curve, rtol=1e-9)
    assert expected.keys() == recorder.outcomes[0].parameters.keys()
    for name, found in recorder.outcomes[0].parameters.items():
        np.testing.assert_allclose(found, expected[name], rtol=1e-7, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rate", [0.0, 0.4])
@pytest.mark.parametrize("activation", ["gelu", "elu", "sigmoid"])
def test_gradients_through_norm_and_dropout_are_right(activation, rate, loss):
    table = blobs(classes=2 if LOSSES[loss].one_output else 3)
    net = {"hidden": [6, 5], "activation": activation, "batch_norm": True, "dropout": rate}
    spec = spec_for(table, net=net, loss=loss, training={"precision": "float64"})
    member = member_for(table, **{**spec.to_json(), "training": {"precision": "float64"}})
    layout, rng = member.layout, np.random.default_rng(2)
    check = check_prepared(spec, member.data, rows=12, parameters=rng.normal(size=layout.count))
    assert check.errors.keys() == {"W1", "b1", "gamma1", "beta1", "W2", "b2", "gamma2", "beta2", "W3", "b3"}
    assert check.ok, check.errors


@pytest.mark.parametrize("tensor", ["gamma", "beta", "W"])
def test_a_wrong_sign_in_the_norm_is_caught(tensor, monkeypatch):
    right = batch_norm.BatchNorm.backward

    def backward(self, d, shares, gradient):
        tape = right(self, d, shares, gradient)
        wrong = {"gamma": gradient.gamma, "beta": gradient.beta, "W": d}[tensor]
        call(tape, np.negative, wrong, out=wrong)
        return tape

    monkeypatch.setattr(batch_norm.BatchNorm, "backward", backward)
    check = gradient_check(spec_for(blobs(), net={"hidden": [6], "batch_norm": True, "activation": "tanh"}), blobs())
    assert check.errors[f"{tensor}1"] > 0.1
    assert check.errors["W2"] <= TOLERANCE


def test_masks_keep_the_right_share_and_depend_on_seed_step_and_layer_alone():
    shape = (50, 40)
    for rate in (0.0, 0.1, 0.5, 0.9):
        drawn = kept(7, 3, 1, rate, shape, np.dtype(np.float32))
        assert drawn.mean() == pytest.approx(1.0, abs=0.25)
        assert (drawn > 0).mean() == pytest.approx(1 - rate, abs=0.04)
        assert set(np.unique(drawn)) <= {np.float32(0), np.float32(1 / (1 - rate))}
    keys = [(7, 3, 1), (8, 3, 1), (7, 4, 1), (7, 3, 2)]
    masks = [kept(*key, 0.5, shape, np.dtype(np.float64)) for key in keys]
    for i, one in enumerate(masks):
        assert np.array_equal(one, mask(*keys[i], 0.5, shape).T)
        assert not any(np.array_equal(one, other) for other in masks[:i])


def members(normalise: bool):
    return [
        member_for(
            blobs(rows=150 + 17 * i, seed=i),
            net={**NET, "dropout": (0.2, 0.5, 0.01)[i], "batch_norm": normalise},
            optimizer={**ADAM, "learning_rate": 0.002 * (i + 1)},
            training={"epochs": 3 + i, "batch_size": 32, "seed": i},
        )
        for i in range(3)
    ]  # fmt: skip


@pytest.mark.parametrize("normalise", [False, True])
def test_stacked_training_with_own_rates_equals_solo_bit_for_bit(normalise):
    stack = members(normalise)
    together = run(*stack)
    for i, one in enumerate(stack):
        alone = run(one)
        assert together.curve(i) == alone.curve(0)
        assert together.outcomes[i].metrics == alone.outcomes[0].metrics
        assert_same_arrays(together.outcomes[i].parameters, alone.outcomes[0].parameters)


def test_a_norm_without_dropout_is_the_same_in_a_stack():
    stack = [
        member_for(
            line(rows=90 + i, seed=i), net={"hidden": HIDDEN, "batch_norm": True},
            training={"epochs": 4, "seed": i, "batch_size": 16},
        )
        for i in range(3)
    ]  # fmt: skip
    together = run(*stack)
    for i, one in enumerate(stack):
        assert_same_arrays(together.outcomes[i].parameters, run(one).outcomes[0].parameters)


def test_resume_from_any_step_is_bit_identical():
    one = members(True)[1]
    whole = run(one)
    for chunks in (1, 3, 6, 9):
        seen = iter(range(10**9))
        limit = dict.fromkeys(range(chunks), Command.CONTINUE)
        recorder = Recorder(lambda _, seen=seen, limit=limit: limit.get(next(seen), Command.PAUSE))
        ticks = iter(range(10**9))
        fit([one], BACKEND, recorder, recorder, clock=lambda ticks=ticks: float(next(ticks)))
        assert recorder.outcomes[0].kind is Ending.PAUSED
        second = run(replace(one, state=recorder.checkpoints[0][-1]))
        assert recorder.curve() + second.curve() == whole.curve()
        assert_same_arrays(second.outcomes[0].parameters, whole.outcomes[0].parameters)


def test_plain_numpy_predicts_the_same_from_the_running_figures_and_without_dropout():
    table = blobs(rows=300)
    net = {"hidden": [16], "activation": "relu", "batch_norm": True, "dropout": 0.3}
    member = member_for(table, net=net, training={"epochs": 15})
    outcome = run(member).outcomes[0]
    arrays = pack(outcome.parameters, member.data.preprocessing, member.spec, table.info, outcome.metrics)
    for name, load in (("npz", load_npz), ("safetensors", load_safetensors)):
        assert_same_arrays(load(EXPORTERS[name](arrays)), arrays)
    w = np.load(io.BytesIO(EXPORTERS["npz"](arrays)), allow_pickle=False)
    x = (table.x - w["input_mean"]) / w["input_std"]
    z = (x @ w["W1"] + w["b1"] - w["running_mean1"]) / np.sqrt(w["running_var1"] + 1e-5)
    scores = np.maximum(w["gamma1"] * z + w["beta1"], 0) @ w["W2"] + w["b2"]
    predictor = Predictor.from_arrays(arrays)
    np.testing.assert_allclose(predictor.scores(table.x), scores, atol=1e-4)
    assert outcome.metrics["val_accuracy"] > 0.8
    again = Predictor.from_arrays(arrays).predict(table.x).probabilities
    assert np.array_equal(predictor.predict(table.x).probabilities, again), "nothing is random at prediction"


def test_early_stopping_restores_the_running_figures_of_the_best_epoch():
    member = member_for(
        blobs(rows=60), net={"hidden": [64], "batch_norm": True}, optimizer={"name": "adam", "learning_rate": 0.05},
        training={"epochs": 200, "early_stopping": {"metric": "val_loss", "patience": 5}},
    )  # fmt: skip
    recorder = run(member)
    assert recorder.outcomes[0].kind is Ending.EARLY_STOPPED
    best = min(point["val_loss"] for point in recorder.points[0])
    assert recorder.outcomes[0].metrics["val_loss"] == pytest.approx(best, rel=1e-6)


def test_running_figures_are_not_counted_as_parameters_and_begin_neutral():
    spec = spec_for(blobs(), net={"hidden": [5], "batch_norm": True})
    assert parameter_count(spec, 4, 3) == 4 * 5 + 5 + 2 * 5 + 5 * 3 + 3
    layout = Layout((4, 5, 3), True, True)
    named = layout.named(np.arange(layout.count, dtype=float))
    assert list(named) == ["W1", "b1", "gamma1", "beta1", "running_mean1", "running_var1", "W2", "b2"]
    assert np.concatenate([view.ravel() for view in named.values()]).tolist() == list(range(layout.count))
    start = member_for(blobs(), net={"hidden": [5], "batch_norm": True}).initial_parameters()
    first = layout.named(start)
    assert [set(first[k].tolist()) for k in ("gamma1", "beta1", "running_mean1", "running_var1")] == [
        {1},
        {0},
        {0},
        {1},
    ]


def test_specs_show_the_norm_only_where_it_is_on_and_stacks_know_it():
    assert "batch_norm" not in spec_for(blobs()).to_json()["net"]
    assert spec_for(blobs(), net={"batch_norm": True}).to_json()["net"]["batch_norm"] is True
    keys = {
        stack_key(spec_for(blobs(), net=net), 4, 3, "classification")
        for net in ({}, {"batch_norm": True}, {"dropout": 0.1}, {"dropout": 0.9}, {"dropout": 0.1, "batch_norm": True})
    }
    assert len(keys) == 4, "only the rate of dropout may differ"


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        ({"net": {"hidden": [], "dropout": 0.5}}, "/net/dropout"),
        ({"net": {"hidden": [], "batch_norm": True}}, "/net/batch_norm"),
        ({"net": {"dropout": 1.0}}, "/net/dropout"),
        ({"net": {"batch_norm": True}, "training": {"batch_size": 1}}, "/training/batch_size"),
        ({"net": {"batch_norm": True}, "optimizer": {"name": "random_search"}}, "/net/batch_norm"),
        ({"net": {"dropout": 0.1}, "optimizer": {"name": "random_search"}}, "/net/dropout"),
    ],
)
def test_what_cannot_be_regularised_is_refused_at_the_field(spec, pointer):
    with pytest.raises(InvalidInput) as caught:
        spec_for(blobs(), **spec)
    assert caught.value.errors[0].pointer == pointer
