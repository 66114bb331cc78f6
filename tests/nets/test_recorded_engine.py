"""Recorded steps, played on the host from the plan's own numbers, train as the layered engine in float64 does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nets.engine import LayeredEngine
from nets.member import Member
from nets.optimizers import OPTIMIZERS
from nets.step_shape import StepShape, shape_of
from nets.trainer import Command, Ending, fit
from tests.kernels.recorder_support import RecordingBackend
from tests.nets.persistent_parts import SGD, case, train
from tests.nets.recorded_parts import engine_of
from tests.nets.support import BACKEND, Recorder, assert_same_arrays, blobs, line, member_for
from tests.nets.test_divergence import wild
from tests.nets.test_persistent_engine import (
    ADAM,
    LOSS_CASES,
    NESTEROV,
    OPTIMIZER_CASES,
    QUARTETS,
    assert_close,
    crowd,
    wide,
)

GATES = {"float32": 3e-6, "float64": 2e-13}
precisions = pytest.mark.parametrize("precision", GATES)


def assert_trains_like_the_layers(*members: Member, steps: int = 23, gate: float | None = None) -> None:
    gate = gate or GATES[members[0].spec.training.precision]
    recorded, layers = engine_of(*members), LayeredEngine([wide(member) for member in members], BACKEND)
    assert_close(train(recorded, steps), train(layers, steps), gate, "the losses")
    for position, member in enumerate(members):
        expected = layers.state(position)
        for name, array in recorded.state(position).items():
            assert array.dtype == (np.int64 if name == "step" else member.dtype)
            assert_close(array, expected[name], gate, f"{name} of model {position}")


@precisions
def test_a_deep_net_trains_like_the_layers(precision):
    assert_trains_like_the_layers(case(precision, blobs(300, 7, 3), [9, 16, 5], "tanh", training={"batch_size": 32}))


@precisions
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_net_trains_like_the_layers(precision, bias):
    assert_trains_like_the_layers(case(precision, line(90, 5), [], net={"bias": bias, "activation": []}))


def test_a_net_without_biases_trains_like_the_layers():
    assert_trains_like_the_layers(case("float32", blobs(), [9, 6], ["relu", "sigmoid"], net={"bias": False}))


@precisions
@pytest.mark.parametrize("hidden", [[8], [9, 6]])
@pytest.mark.parametrize("batch", [16, 31])
def test_biases_that_stay_out_of_products_train_like_the_layers(precision, hidden, batch, monkeypatch):
    """As those of bfloat16 nets do, whose numbers are too coarse to tell."""
    monkeypatch.setattr(StepShape, "bias_apart", property(lambda _: True))
    options = {"net": {"dropout": 0.3}, "training": {"batch_size": batch, "clip_norm": 0.5}}
    members = [case(precision, blobs(features=6, seed=seed), hidden, "gelu", **options) for seed in range(2)]
    assert_trains_like_the_layers(members[0], steps=9)
    assert_trains_like_the_layers(*members, steps=9)


@pytest.mark.parametrize("quartet", QUARTETS, ids=lambda names: "-".join(names))
def test_every_activation_trains_like_the_layers(quartet):
    hidden = [8, 7, 6, 5][: len(quartet)]
    assert_trains_like_the_layers(case("float64", blobs(features=6), hidden, quartet, optimizer=NESTEROV), steps=9)


def test_activations_keep_their_parameters_and_a_users_formula():
    swish = {"name": "custom", "expression": "x * sigmoid(beta*x)", "beta": 1.5}
    activation = [{"name": "leaky_relu", "alpha": 0.3}, swish, {"name": "elu", "alpha": 2.0}]
    assert_trains_like_the_layers(case("float64", blobs(), [6, 5, 4], activation))


@pytest.mark.parametrize("name", LOSS_CASES)
def test_every_loss_trains_like_the_layers(name):
    loss, optimizer = LOSS_CASES[name]
    table = blobs(classes=2 if name == "binary_cross_entropy" else 4)
    assert_trains_like_the_layers(case("float64", table, [10], "silu", loss=loss, optimizer=optimizer), steps=12)


@pytest.mark.parametrize("outputs", [17, 32, 33, 70])
@pytest.mark.parametrize("name", [name for name in LOSS_CASES if name != "binary_cross_entropy"])
def test_every_loss_of_any_number_of_outputs_trains_like_the_layers(name, outputs):
    loss, optimizer = LOSS_CASES[name]
    table = blobs(200, classes=outputs)
    assert_trains_like_the_layers(case("float64", table, [10], "silu", loss=loss, optimizer=optimizer), steps=3)


@pytest.mark.parametrize("hidden", [[], [9]])
@pytest.mark.parametrize("outputs", [3, 70])
def test_batches_of_no_multiple_of_a_tile_train_like_the_layers(outputs, hidden):
    members = [
        case("float32", blobs(400, 7, outputs, seed=seed), hidden, ["tanh"] * len(hidden), training={"batch_size": 283})
        for seed in range(2)
    ]
    assert_trains_like_the_layers(*members, steps=3, gate=1e-5)


@pytest.mark.parametrize("name", OPTIMIZER_CASES)
def test_every_optimizer_trains_like_the_layers_alone_and_in_a_stack(name):
    own = OPTIMIZER_CASES[name]
    rates = [own["learning_rate"] * factor for factor in (1.0, 0.3, 0.1)]
    members = [
        case("float64", blobs(seed=seed), [10], "gelu", optimizer={**own, "learning_rate": rate})
        for seed, rate in enumerate(rates)
    ]
    assert_trains_like_the_layers(members[0], steps=12)
    assert_trains_like_the_layers(*members, steps=12)


def test_every_optimizer_of_the_registry_is_among_the_cases():
    names = {str(row["name"]) for row in OPTIMIZER_CASES.values()}
    assert names == {name for name, row in OPTIMIZERS.items() if not row.searches}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_models_that_differ_in_everything_train_like_the_layers(optimizer):
    assert_trains_like_the_layers(*crowd(optimizer))


@pytest.mark.parametrize("rows", [17, 15, 1])
def test_a_short_last_batch_weighs_only_its_own_rows(rows):
    table = blobs(64 + rows, 3, 3)
    member = case("float64", table, [5], training={"batch_size": 16, "validation_fraction": 0.0})
    assert_trains_like_the_layers(member, steps=12)


@pytest.mark.parametrize("loss", ["softmax", {"name": "squared_error", "reduction": "sum"}])
def test_class_weights_count_as_in_the_layers(loss):
    training = {"class_weight": {"class 0": 0.0, "class 1": 3.0, "class 2": 0.5}}
    optimizer = {**SGD, "learning_rate": 1e-3}
    assert_trains_like_the_layers(case("float64", blobs(), [7], training=training, loss=loss, optimizer=optimizer))


@precisions
@pytest.mark.parametrize("rates", [(0.4,), (0.0, 0.5, 0.2)])
def test_dropout_leaves_out_the_same_units(rates, precision):
    members = [case(precision, blobs(seed=i), [9, 5], net={"dropout": rate}) for i, rate in enumerate(rates)]
    assert_trains_like_the_layers(*members)


@precisions
@pytest.mark.parametrize("limits", [(0.05,), (None, 0.02, 1e3)])
def test_gradients_are_clipped_as_by_the_layers(limits, precision):
    members = [
        case(precision, blobs(seed=i, features=40), [60], training={"clip_norm": limit})
        for i, limit in enumerate(limits)
    ]
    assert_trains_like_the_layers(*members)


# ---- chunks, stacks, states


def test_recordings_of_16_steps_and_of_1_give_the_same_bits():
    member = case("float32", blobs(600), [9, 7], optimizer=ADAM)
    single, whole = engine_of(member), engine_of(member)
    steps = whole.max_chunk()
    losses = []
    for _ in range(steps):
        single.advance(1)
        losses.append(single.drain())
    whole.advance(steps)
    assert np.array_equal(np.concatenate(losses), whole.drain())
    assert_same_arrays(single.state(0), whole.state(0))
    played = [engine._backend.recorder.recordings[0].played for engine in (single, whole)]
    assert played == [[1] * steps, [0] * (steps // 16) + [1] * (steps % 16)]
    assert 16 < steps < 32


def test_the_next_chunk_is_made_before_anybody_waits_for_this_one(monkeypatch):
    engine, made = engine_of(case("float32", blobs(600), [5])), []
    prepare = engine._chunks.next
    monkeypatch.setattr(engine._chunks, "next", lambda n: made.append((n, len(engine._pending))) or prepare(n))
    engine.advance(4)
    engine.advance(4)
    engine.advance(3)
    assert made == [(4, 0), (4, 1), (4, 2), (3, 2), (3, 3)]
    assert len(engine.drain()) == 11


def test_models_that_leave_change_nothing_and_the_stack_is_planned_anew_once_it_is_half_empty():
    members = crowd()
    left, whole = engine_of(*members), engine_of(*members)
    train(left, 8)
    left.keep_copy()
    kept = left.kept_state(3)
    left.keep([0, 3, 1])
    plans = left._backend.recorder.plans
    assert len(plans) == 1
    losses = [train(left, 3)]
    left.keep([1, 2])
    assert len(plans) == 2
    assert plans[1].by_name["parameters"].size == 2 * members[0].layout.count
    losses.append(train(left, 6))
    expected = train(whole, 17)
    assert np.array_equal(losses[0], expected[8:11, [0, 3, 1]])
    assert np.array_equal(losses[1], expected[11:, [3, 1]])
    for place, position in enumerate([3, 1]):
        assert_same_arrays(left.state(place), whole.state(position))
        assert np.array_equal(left.weights([place])[0], whole.weights([position])[0])
    assert_same_arrays(left.kept_state(0), kept)
    assert left.finite().tolist() == [True, True]
    assert left.steps() == [17, 17]


# ---- through the trainer


def trained(*members: Member, script: Any = None) -> Recorder:
    recorder = Recorder(script)
    fit(members, RecordingBackend(), recorder, recorder)
    return recorder


def dropping(seed: int = 0, **spec: Any) -> Member:
    """A net that only recorded steps train on a device, beside the layers."""
    training = {"epochs": 4, "seed": seed, **spec.pop("training", {})}
    return case("float32", blobs(seed=seed), [8], net={"dropout": 0.2}, training=training, **spec)


def test_a_stack_run_by_the_trainer_equals_solo_runs_and_says_how_it_ran():
    members = [dropping(seed, training={"epochs": 2 + seed}) for seed in range(3)]
    stacked = trained(*members)
    said = {(info["engine"], info["products"], info["recorded"]) for info in stacked.info.values()}
    assert said == {("recorded", "float32", "on the host")}
    for i, member in enumerate(members):
        alone = trained(member)
        assert alone.curve(0) == stacked.curve(i)
        assert_same_arrays(alone.outcomes[0].parameters, stacked.outcomes[i].parameters)


def test_a_run_paused_and_resumed_equals_one_without_a_break():
    member = dropping(optimizer=ADAM)
    whole, polls = trained(member), iter([Command.CONTINUE] * 2 + [Command.PAUSE])
    paused = trained(member, script=lambda _: next(polls, Command.CONTINUE))
    assert paused.outcomes[0].kind is Ending.PAUSED
    (state,) = paused.checkpoints[0]
    assert 0 < int(state["step"]) < member.total_steps
    resumed = trained(replace(member, state=state))
    assert_same_arrays(resumed.outcomes[0].parameters, whole.outcomes[0].parameters)
    assert [*paused.curve(0), *resumed.curve(0)] == whole.curve(0)


def test_divergence_is_named_as_on_the_cpu():
    member = wild()
    options = member.spec.training.model_copy(update={"clip_norm": 1e9})
    member = replace(member, spec=member.spec.model_copy(update={"training": options}))
    cpu = Recorder()
    fit([member], BACKEND, cpu, cpu)
    recorded = trained(member)
    assert recorded.info[0]["engine"] == "recorded"
    assert recorded.outcomes[0].kind is Ending.DIVERGED
    assert recorded.outcomes[0].error == cpu.outcomes[0].error
    assert all(np.isfinite(array).all() for array in recorded.outcomes[0].parameters.values())


# ---- what it leaves to the layered engine


def test_only_settings_that_plans_have_are_recorded():
    assert shape_of([case("float32", blobs(), [8], net={"batch_norm": True})]) is None
    assert shape_of([member_for(blobs(), net={"hidden": [8]}, optimizer="random_search")]) is None
