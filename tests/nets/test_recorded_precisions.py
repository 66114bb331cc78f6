"""Products of rounded factors: nothing else is rounded, weights are kept in float32, curves stay near float64's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kernels.numpy_backend import NumpyBackend
from kernels.tail_source import MAX_OUTPUTS
from nets.engine import LayeredEngine
from nets.member import Member
from tests.kernels.block_support import ORDERS, HostCompiler
from tests.kernels.recorder_support import RecordingBackend, rounded_to_bfloat16, rounded_to_tf32
from tests.nets.persistent_parts import SGD, case, train
from tests.nets.recorded_parts import engine_of
from tests.nets.support import BACKEND, assert_same_arrays, blobs
from tests.nets.test_persistent_engine import ADAM, crowd, wide

ROUNDED = {"tf32": rounded_to_tf32, "bfloat16": rounded_to_bfloat16}
CURVE_GATES = {"tf32": 2e-3, "bfloat16": 1e-2}
"""Those of bench.gpu."""
roundings = pytest.mark.parametrize("precision", ROUNDED)


class Rounding(NumpyBackend):
    """NumPy, with the factors of every product rounded."""

    def __init__(self, precision: str) -> None:
        super().__init__()
        self._round = ROUNDED[precision]

    def matmul(self, a: Any, b: Any, out: Any) -> None:
        super().matmul(self._round(a), self._round(b), out)


def net(precision: str, seed: int = 0, **spec: Any) -> Member:
    return case(precision, blobs(300, 12, 4, seed=seed), [24, 10], "relu", **spec)


def distance(left: Any, right: Any) -> float:
    a, b = left.state(0)["parameters"].astype(np.float64), right.state(0)["parameters"].astype(np.float64)
    return float(np.abs(a - b).max())


@roundings
@pytest.mark.parametrize("features", [12, 16])
@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=lambda one: one["name"])
def test_the_factors_of_products_are_rounded_and_nothing_else(precision, optimizer, features):
    """More classes than programs of our own compute scores for: those do not round float32 to TF32."""
    member = case(precision, blobs(400, features, MAX_OUTPUTS + 1), [24, 10], "relu", optimizer=optimizer)
    recorded, emulated, exact = (
        engine_of(member),
        LayeredEngine([member], Rounding(precision)),
        LayeredEngine([member], BACKEND),
    )
    for engine in (recorded, emulated, exact):
        engine.advance(4)
    assert distance(recorded, emulated) < 0.05 * distance(exact, emulated)
    np.testing.assert_allclose(recorded.drain(), emulated.drain(), rtol=1e-4)


@roundings
def test_curves_stay_near_those_of_float64(precision):
    members = [net(precision, seed, optimizer={**SGD, "learning_rate": 0.003}) for seed in range(3)]
    recorded, layers = engine_of(*members), LayeredEngine([wide(member) for member in members], BACKEND)
    losses, expected = train(recorded, 12), train(layers, 12)
    assert float(np.max(np.abs(losses - expected) / expected)) <= CURVE_GATES[precision]


def test_weights_move_by_less_than_bfloat16_can_tell():
    member = net("bfloat16", optimizer={**SGD, "learning_rate": 1e-6, "l2": 0.0})
    engine = engine_of(member)
    start = member.initial_parameters()
    train(engine, 3)
    moved = engine.state(0)["parameters"]
    assert moved.dtype == np.float32
    weights = np.abs(start) > 0.01
    changed = moved[weights] != start[weights]
    assert changed.mean() > 0.5
    assert (rounded_to_bfloat16(moved) != rounded_to_bfloat16(start))[weights].mean() < 0.05


def test_a_run_in_bfloat16_goes_on_from_its_state_in_the_same_bits():
    member = net("bfloat16", net={"dropout": 0.3}, training={"clip_norm": 0.5})
    whole, first = engine_of(member), engine_of(member)
    losses = train(whole, 20)
    train(first, 9)
    second = engine_of(replace(member, state=first.state(0)))
    assert np.array_equal(train(second, 11), losses[9:])
    assert_same_arrays(second.state(0), whole.state(0))


# ---- the kernels' discipline


def clipped() -> list[Member]:
    return [
        replace(
            one, spec=one.spec.model_copy(update={"training": one.spec.training.model_copy(update={"clip_norm": 0.1})})
        )
        for one in crowd(count=2)
    ]


def test_no_order_of_threads_changes_a_bit():
    engines = [engine_of(*clipped(), backend=RecordingBackend(HostCompiler(order))) for order in ORDERS]
    losses = [train(engine, 6) for engine in engines]
    for engine, loss in zip(engines[1:], losses[1:], strict=True):
        assert np.array_equal(loss, losses[0])
        for position in range(2):
            assert_same_arrays(engine.state(position), engines[0].state(position))


def wide_net(loss: Any = "softmax") -> Member:
    """More classes than one thread has of a sample."""
    return case("float32", blobs(200, 12, 70), [6], loss=loss, training={"batch_size": 50})


@pytest.mark.parametrize("loss", [{"name": "softmax", "label_smoothing": 0.1}, "svm", "huber"])
def test_no_order_of_threads_changes_a_bit_of_a_loss_of_many_classes(loss):
    first, *others = [train(engine_of(wide_net(loss), backend=RecordingBackend(HostCompiler(o))), 2) for o in ORDERS]
    for other in others:
        assert np.array_equal(first, other)


BARRIER = "  __syncthreads();\n"
CUTS = {
    "a tally": (crowd(count=1), ("half /= 2) {\n  " + BARRIER, "half /= 2) {\n")),
    "scores": (
        crowd(count=1),
        (
            BARRIER + "  for (int i = threadIdx.x; i < OUTPUTS * SAMPLES; i += blockDim.x) {\n    real",
            "  for (int i = threadIdx.x; i < OUTPUTS * SAMPLES; i += blockDim.x) {\n    real",
        ),
    ),
    "a thin loss": (crowd(count=1), (BARRIER + "  if (threadIdx.x < SAMPLES", "  if (threadIdx.x < SAMPLES")),
    "a thin gradient": (
        crowd(count=1),
        (BARRIER + "  for (int i = threadIdx.x; i < UNITS", "  for (int i = threadIdx.x; i < UNITS"),
    ),
    "a wide loss": ([wide_net()], (BARRIER + "    real all", "    real all")),
}
"""Nets, and a barrier of theirs with what is left without it."""


@pytest.mark.parametrize("place", CUTS)
def test_a_missing_barrier_in_a_sum_is_found(place):
    members, (text, rest) = CUTS[place]
    edited = []

    def without(source: str) -> str:
        edited.append(text in source)
        return source.replace(text, rest)

    found = []
    for order in ORDERS:
        compiler = HostCompiler(order)
        compiler.edit = without
        found.append(train(engine_of(*members, backend=RecordingBackend(compiler)), 3))
    assert any(edited)
    assert not all(np.array_equal(one, found[0]) for one in found)
