"""The persistent kernel, its exact source run on the host, trains as the layered engine in float64 does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kernels.operations import ACTIVATIONS
from nets.engine import LayeredEngine
from nets.losses import LOSSES
from nets.member import Member, State
from nets.optimizers import OPTIMIZERS
from nets.persistent_program import program_for
from nets.trainer import Command, Ending, fit
from tests.kernels.block_support import BlockBackend, HostCompiler
from tests.nets.persistent_parts import SGD, case, engine_of, train
from tests.nets.support import BACKEND, Recorder, assert_same_arrays, blobs, line, member_for
from tests.nets.test_divergence import wild

GATES = {"float32": 3e-6, "float64": 2e-13}
NESTEROV = {**SGD, "nesterov": True}
ADAM = {"name": "adam", "learning_rate": 0.01, "l2": 1e-2}
OPTIMIZER_CASES = {
    "momentum": SGD,
    "nesterov": NESTEROV,
    "adam": ADAM,
    "adamw": {"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.3},
    "adagrad": {"name": "adagrad", "learning_rate": 0.05, "l2": 1e-2},
    "rmsprop": {"name": "rmsprop", "learning_rate": 0.01, "decay": 0.8, "l2": 1e-2},
}
precisions = pytest.mark.parametrize("precision", GATES)


def wide(member: Member) -> Member:
    """The same run in float64: same numbers to start from, same rows."""
    training = member.spec.training.model_copy(update={"precision": "float64"})
    spec = member.spec.model_copy(update={"training": training})
    data = replace(member.data, x_train=member.data.x_train.astype(np.float64))
    if member.data.task == "regression":
        data = replace(data, y_train=member.data.y_train.astype(np.float64))
    return Member(spec, data, {"parameters": member.initial_parameters().astype(np.float64)})


def states(engine: Any) -> list[State]:
    return [engine.state(position) for position in range(len(engine.steps()))]


def assert_close(got: np.ndarray, expected: np.ndarray, gate: float, what: str) -> None:
    scale = max(float(np.abs(expected).max()), 1e-30)
    assert np.isfinite(got).all(), what
    assert float(np.abs(got - expected).max()) <= gate * scale, what


def assert_trains_like_the_layers(member: Member, steps: int = 23) -> None:
    gate = GATES[member.spec.training.precision]
    kernel, layers = engine_of(member), LayeredEngine([wide(member)], BACKEND)
    assert_close(train(kernel, steps), train(layers, steps), gate, "the losses")
    expected = layers.state(0)
    for name, array in kernel.state(0).items():
        assert array.dtype == (np.int64 if name == "step" else member.dtype)
        assert_close(array, expected[name], gate, name)


# ---- the same numbers as the layered engine


@precisions
def test_the_tiny_net_trains_like_the_layers(precision):
    member = case(precision, blobs(600, 2, 3), [16, 16], "tanh", training={"batch_size": 32})
    assert_trains_like_the_layers(member, 40)


def test_the_digits_net_trains_like_the_layers():
    table = blobs(500, 64, 10)
    assert_trains_like_the_layers(case("float32", table, [128], "relu", training={"batch_size": 64}), 20)


@precisions
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_net_trains_like_the_layers(precision, bias):
    member = case(precision, line(90, 5), [], net={"bias": bias, "activation": []})
    assert_trains_like_the_layers(member)


@precisions
def test_a_net_without_biases_trains_like_the_layers(precision):
    assert_trains_like_the_layers(case(precision, blobs(), [9, 6], ["relu", "sigmoid"], net={"bias": False}))


QUARTETS = [list(ACTIVATIONS)[i : i + 4] for i in range(0, len(ACTIVATIONS), 4)]


@precisions
@pytest.mark.parametrize("quartet", QUARTETS, ids=lambda names: "-".join(names))
def test_every_activation_trains_like_the_layers(precision, quartet):
    table = blobs(features=6)
    assert_trains_like_the_layers(case(precision, table, [8, 7, 6, 5][: len(quartet)], quartet, optimizer=NESTEROV))


def test_a_formula_that_a_user_wrote_trains_like_the_layers():
    swish = {"name": "custom", "expression": "x * sigmoid(beta*x)", "beta": 1.5}
    assert_trains_like_the_layers(case("float64", blobs(), [8, 5], [swish, "tanh"]))


def test_activations_keep_their_parameters_and_may_repeat():
    activation = [
        {"name": "leaky_relu", "alpha": 0.3},
        {"name": "leaky_relu", "alpha": 0.05},
        {"name": "elu", "alpha": 2.0},
    ]
    assert_trains_like_the_layers(case("float64", blobs(), [6, 5, 4], activation))


LOSS_CASES = {
    "softmax": ("softmax", NESTEROV),
    "smoothed softmax": ({"name": "softmax", "label_smoothing": 0.2}, SGD),
    "svm": ({"name": "svm", "margin": 0.7}, ADAM),
    "squared_error": ("squared_error", ADAM),
    "squared_error summed": ({"name": "squared_error", "reduction": "sum"}, {**SGD, "learning_rate": 1e-3}),
    "huber": ({"name": "huber", "delta": 0.4}, NESTEROV),
    "absolute_error": ("absolute_error", SGD),
    "binary_cross_entropy": ("binary_cross_entropy", ADAM),
}


def test_every_loss_of_the_registry_is_among_the_cases():
    assert {name.split()[-1] if "smoothed" in name else name.split()[0] for name in LOSS_CASES} == set(LOSSES)


@precisions
@pytest.mark.parametrize("name", LOSS_CASES)
def test_every_loss_trains_like_the_layers(precision, name):
    loss, optimizer = LOSS_CASES[name]
    table = blobs(classes=2 if name == "binary_cross_entropy" else 4)
    assert_trains_like_the_layers(case(precision, table, [10], "silu", loss=loss, optimizer=optimizer))


@pytest.mark.parametrize("name", OPTIMIZER_CASES)
def test_every_optimizer_trains_like_the_layers(name):
    assert_trains_like_the_layers(case("float64", blobs(), [10], "gelu", optimizer=OPTIMIZER_CASES[name]))


def test_every_optimizer_of_the_registry_is_among_the_cases():
    names = {str(row["name"]) for row in OPTIMIZER_CASES.values()}
    assert names == {name for name, row in OPTIMIZERS.items() if not row.searches}


def test_a_regression_on_several_rows_at_once_trains_like_the_layers():
    assert_trains_like_the_layers(case("float64", line(70, 4), [6], "gelu", loss="huber", optimizer=ADAM))


@pytest.mark.parametrize("rows", [17, 16, 15, 1])
def test_a_short_last_batch_weighs_only_its_own_rows(rows):
    table = blobs(64 + rows, 3, 3)
    member = case("float64", table, [5], training={"batch_size": 16, "validation_fraction": 0.0})
    assert_trains_like_the_layers(member, 12)


def test_class_weights_count_as_in_the_layers():
    weights = {"class 0": 0.0, "class 1": 3.0, "class 2": 0.5}
    assert_trains_like_the_layers(case("float64", blobs(), [7], training={"class_weight": weights}))


def test_slots_in_device_memory_give_the_same_bits_as_in_shared_memory():
    member = case("float32", blobs(), [20], optimizer=ADAM)
    roomy = engine_of(member)
    scarce = HostCompiler(shared_bytes=program_for(member, roomy._backend).plan.shared_bytes - 1)
    tight = engine_of(member, compiler=scarce)
    train(roomy, 15)
    train(tight, 15)
    assert "SLOTS_SHARED = true" in roomy._backend.compiler.launches[0][0]
    assert "SLOTS_SHARED = false" in scarce.launches[0][0]
    assert_same_arrays(roomy.state(0), tight.state(0))


# ---- stacks


def crowd(optimizer: str = "sgd", count: int = 5) -> list[Member]:
    """Models that differ in everything that may differ in a stack."""
    members = []
    for i in range(count):
        own: dict[str, Any] = {"name": optimizer, "l2": (0.0, 0.01, 0.1)[i % 3], "learning_rate": 0.003 * (i + 1)}
        if optimizer == "sgd":
            own["momentum"] = (0.9, 0.0, 0.5)[i % 3]
        else:
            own["beta1"] = (0.9, 0.0, 0.5)[i % 3]
        training = {"seed": i, "class_weight": "balanced" if i == 2 else None, "epochs": 2 + i}
        schedule = ("constant", "cosine", {"name": "linear", "warmup_steps": 5})[i % 3]
        table = blobs(120 + 17 * i, seed=i)
        members.append(case("float32", table, [9, 7], "tanh", optimizer=own, training=training, schedule=schedule))
    return members


def test_models_that_leave_change_nothing_for_those_that_stay():
    members = crowd()
    left, whole = engine_of(*members), engine_of(*members)
    train(left, 8)
    left.keep_copy()
    kept = left.kept_state(4)
    left.keep([4, 1])
    losses, expected = train(left, 9), train(whole, 17)
    assert np.array_equal(losses, expected[8:, [4, 1]])
    for place, position in enumerate([4, 1]):
        assert_same_arrays(left.state(place), whole.state(position))
        assert np.array_equal(left.weights([place])[0], whole.weights([position])[0])
    assert_same_arrays(left.kept_state(0), kept)
    assert left.finite().tolist() == [True, True]
    assert left.steps() == [17, 17]
    assert len(left._backend.compiler.launches[-1][4][0]) == 2


def test_chunks_do_not_change_the_bits():
    (member,) = crowd(count=1)
    single, whole = engine_of(member), engine_of(member)
    losses = []
    for _ in range(12):
        single.advance(1)
        losses.append(single.drain())
    assert np.array_equal(np.concatenate(losses), train(whole, 12))
    assert_same_arrays(single.state(0), whole.state(0))


# ---- through the trainer


def trained(*members: Member, script: Callable[[int], Command] | None = None, **kwargs: Any) -> Recorder:
    recorder = Recorder(script)
    fit(members, BlockBackend(), recorder, recorder, **kwargs)
    return recorder


def test_a_stack_run_by_the_trainer_equals_solo_runs():
    members = crowd(count=3)
    stacked = trained(*members)
    assert {info["engine"] for info in stacked.info.values()} == {"persistent"}
    for i, member in enumerate(members):
        alone = trained(member)
        assert alone.curve(0) == stacked.curve(i)
        assert_same_arrays(alone.outcomes[0].parameters, stacked.outcomes[i].parameters)


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=lambda one: one["name"])
def test_a_run_paused_and_resumed_equals_one_without_a_break(optimizer):
    member = case("float32", blobs(), [8], optimizer=optimizer, training={"epochs": 40})
    whole, polls = trained(member), iter([Command.CONTINUE] * 2 + [Command.PAUSE])
    paused = trained(member, script=lambda _: next(polls, Command.CONTINUE))
    assert paused.outcomes[0].kind is Ending.PAUSED
    (state,) = paused.checkpoints[0]
    assert 0 < int(state["step"]) < member.total_steps
    resumed = trained(replace(member, state=state))
    assert resumed.outcomes[0].kind is Ending.COMPLETED
    assert_same_arrays(resumed.outcomes[0].parameters, whole.outcomes[0].parameters)
    assert [*paused.curve(0), *resumed.curve(0)] == whole.curve(0)


def test_divergence_is_named_as_on_the_cpu():
    member = wild()
    cpu = Recorder()
    fit([member], BACKEND, cpu, cpu)
    kernel = trained(member)
    assert kernel.outcomes[0].kind is Ending.DIVERGED
    assert kernel.outcomes[0].error == cpu.outcomes[0].error
    assert all(np.isfinite(array).all() for array in kernel.outcomes[0].parameters.values())


# ---- what it leaves to the layered engine


def test_only_nets_and_settings_that_the_kernel_has_run_on_it():
    fitting = case("float32", blobs(), [8])
    assert program_for(fitting, BlockBackend()) is not None
    assert program_for(fitting, BACKEND) is None
    assert program_for(case("float32", blobs(), [8], training={"clip_norm": 1.0}), BlockBackend()) is None
    assert program_for(case("float32", blobs(), [400, 400]), BlockBackend()) is None
    assert program_for(case("float32", blobs(), [8], net={"dropout": 0.2}), BlockBackend()) is None
    assert program_for(case("float32", blobs(), [8], net={"batch_norm": True}), BlockBackend()) is None
    assert program_for(member_for(blobs(), net={"hidden": [8]}, optimizer="random_search"), BlockBackend()) is None
    assert program_for(fitting, BlockBackend(HostCompiler(shared_bytes=1000))) is None
