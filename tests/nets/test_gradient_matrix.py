"""Every activation with every loss, by every engine, in both precisions: the gradient is the difference quotient."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from kernels.operations import ACTIVATIONS
from nets.compiled_engine import compiles
from nets.losses import LOSSES
from tests.nets.gradient_matrix import ENGINES, GATES, PRECISIONS, Tensors, differences, member_of, stepped, worst

precisions = pytest.mark.parametrize("precision", PRECISIONS)
MIXED = tuple(ACTIVATIONS)
"""One hidden layer of every activation."""


@lru_cache(maxsize=512)
def expected(activations: tuple[str, ...], loss: str, precision: str) -> Tensors:
    return differences(member_of(activations, loss, precision))


def assert_right(engine: str, activations: tuple[str, ...], loss: str, precision: str) -> None:
    member = member_of(activations, loss, precision)
    wanted = expected(activations, loss, precision)
    assert min(np.abs(tensor).max() for tensor in wanted.values()) > 1e-3, "nothing is trivially 0"
    errors = worst(stepped(ENGINES[engine](member), member), wanted)
    assert max(errors.values()) <= GATES[precision], (engine, activations, loss, precision, errors)


def runs(engine: str, loss: str) -> bool:
    """False where compiled code leaves a loss to the layers."""
    return engine != "compiled" or compiles(member_of(("tanh",), loss, "float64"))


pairs = [(engine, loss) for engine in ("numpy", "cupy kernels", "compiled") for loss in LOSSES if runs(engine, loss)]
all_engines = [(engine, loss) for engine in ENGINES for loss in LOSSES if runs(engine, loss)]


@precisions
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("engine", "loss"), pairs)
def test_every_pair_has_the_gradient_of_central_differences(engine, activation, precision, loss):
    assert_right(engine, (activation,), loss, precision)


@precisions
@pytest.mark.parametrize(("engine", "loss"), all_engines)
def test_a_net_of_all_activations_has_the_gradient_of_central_differences(engine, precision, loss):
    assert_right(engine, MIXED, loss, precision)


def test_every_engine_is_held_to_the_losses_it_knows():
    assert {engine for engine, _ in all_engines} == set(ENGINES)
    assert {loss for engine, loss in pairs if engine == "compiled"} == set(LOSSES)


def test_the_gates_would_see_a_wrong_digit():
    for precision in PRECISIONS:
        member = member_of(("tanh",), "softmax", precision)
        found = stepped(ENGINES["numpy"](member), member)
        for name in found:
            wrong = {**found, name: found[name] * (1 + 10 * GATES[precision])}
            assert max(worst(wrong, expected(("tanh",), "softmax", precision)).values()) > GATES[precision]


@precisions
@pytest.mark.parametrize("engine", ENGINES)
def test_scores_that_no_exponential_holds_give_the_softmax_of_their_differences(engine, precision):
    """Adding the largest score where it must be taken away is the same at moderate scores: here it overflows."""
    member = member_of(("tanh",), "softmax", precision)
    named = member.layout.named(np.zeros(member.layout.count, precision))
    named["b2"][...] = [2048.0, -2048.0, 0.0]
    member = replace(member, state={"parameters": member.layout.flat(named, np.dtype(precision))})
    target = np.eye(3)[member.data.y_train]
    expected = (member.data.row_weight[:, None] * ([1.0, 0.0, 0.0] - target)).sum(axis=0) / len(target)
    found = stepped(ENGINES[engine](member), member)
    np.testing.assert_allclose(found["b2"], expected, rtol=1e-5, atol=1e-6)
    assert all(not array.any() for name, array in found.items() if name != "b2")
