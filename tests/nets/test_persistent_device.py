"""On a real device: the persistent kernel and the fused programs train as NumPy does. `pytest -m gpu tests/nets`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kernels.backend import Backend, select
from nets.engine import LayeredEngine
from nets.member import Member
from nets.persistent_engine import PersistentEngine
from nets.persistent_program import program_for
from nets.trainer import Command, Ending, fit
from tests.nets.support import BACKEND, Recorder, assert_same_arrays, blobs
from tests.nets.test_persistent_engine import (
    LOSS_CASES,
    OPTIMIZER_CASES,
    QUARTETS,
    SGD,
    assert_close,
    case,
    crowd,
    states,
    train,
    wide,
)

pytestmark = pytest.mark.gpu

# Fused multiply-adds and CUDA's functions (2 ulp) round otherwise than NumPy, over some twenty steps.
GATES = {"float32": 1e-5, "float64": 1e-12}
precisions = pytest.mark.parametrize("precision", GATES)


@pytest.fixture(scope="module")
def cuda() -> Backend:
    return select("cuda:0")


def engine_of(cuda: Backend, *members: Member) -> PersistentEngine:
    program = program_for(members[0], cuda)
    assert program is not None
    return PersistentEngine(members, cuda, program)


def assert_trains_like_the_host(engine: Any, member: Member, steps: int = 23) -> None:
    gate, layers = GATES[member.spec.training.precision], LayeredEngine([wide(member)], BACKEND)
    assert_close(train(engine, steps), train(layers, steps), gate, "the losses")
    expected = layers.state(0)
    for name, array in engine.state(0).items():
        assert_close(array, expected[name], gate, name)


@precisions
@pytest.mark.parametrize("name", ["W1", "W3"])
def test_the_kernel_trains_like_the_host(cuda: Backend, name: str, precision: str) -> None:
    table, hidden, activation, batch = {
        "W1": (blobs(600, 2, 3), [16, 16], "tanh", 32),
        "W3": (blobs(500, 64, 10), [64 if precision == "float64" else 128], "relu", 64),
    }[name]
    member = case(precision, table, hidden, activation, training={"batch_size": batch})
    assert_trains_like_the_host(engine_of(cuda, member), member, 40)


@precisions
@pytest.mark.parametrize("quartet", QUARTETS, ids=lambda names: "-".join(names))
def test_every_activation_trains_like_the_host(cuda: Backend, quartet: list[str], precision: str) -> None:
    member = case(precision, blobs(features=6), [8, 7, 6, 5][: len(quartet)], quartet)
    assert_trains_like_the_host(engine_of(cuda, member), member)


@precisions
@pytest.mark.parametrize("layered", [False, True], ids=["persistent", "layered"])
@pytest.mark.parametrize("name", LOSS_CASES)
def test_every_loss_trains_like_the_host(cuda: Backend, name: str, layered: bool, precision: str) -> None:
    loss, optimizer = LOSS_CASES[name]
    table = blobs(classes=2 if name == "binary_cross_entropy" else 4)
    member = case(precision, table, [10], "silu", loss=loss, optimizer=optimizer)
    assert_trains_like_the_host(LayeredEngine([member], cuda) if layered else engine_of(cuda, member), member)


@pytest.mark.parametrize("layered", [False, True], ids=["persistent", "layered"])
@pytest.mark.parametrize("name", OPTIMIZER_CASES)
def test_every_optimizer_trains_like_the_host(cuda: Backend, name: str, layered: bool) -> None:
    member = case("float64", blobs(), [10], "gelu", optimizer=OPTIMIZER_CASES[name])
    assert_trains_like_the_host(LayeredEngine([member], cuda) if layered else engine_of(cuda, member), member)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_model_has_the_same_bits_alone_and_among_a_thousand(cuda: Backend, optimizer: str) -> None:
    members = crowd(optimizer)
    stack = engine_of(cuda, *(members[i % 5] for i in range(1000)))
    losses = train(stack, 30)
    for position in (0, 1, 2, 3, 4, 504, 999):
        alone = engine_of(cuda, members[position % 5])
        assert np.array_equal(train(alone, 30)[:, 0], losses[:, position])
        assert_same_arrays(alone.state(0), stack.state(position))


def test_the_same_run_has_the_same_bits_again(cuda: Backend) -> None:
    first, second = engine_of(cuda, *crowd()), engine_of(cuda, *crowd())
    assert np.array_equal(train(first, 40), train(second, 40))
    for a, b in zip(states(first), states(second), strict=True):
        assert_same_arrays(a, b)


def test_a_run_paused_and_resumed_on_the_device_equals_one_without_a_break(cuda: Backend) -> None:
    member = case("float32", blobs(), [8], optimizer=SGD, training={"epochs": 40})
    polls = iter([Command.CONTINUE] * 2 + [Command.PAUSE])
    whole, paused, resumed = Recorder(), Recorder(lambda _: next(polls, Command.CONTINUE)), Recorder()
    fit([member], cuda, whole, whole)
    fit([member], cuda, paused, paused)
    assert whole.info[0]["engine"] == "persistent"
    assert paused.outcomes[0].kind is Ending.PAUSED
    fit([replace(member, state=paused.checkpoints[0][0])], cuda, resumed, resumed)
    assert_same_arrays(resumed.outcomes[0].parameters, whole.outcomes[0].parameters)
