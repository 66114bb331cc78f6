"""On a real device: recorded steps train as NumPy does, in every precision. `pytest -m gpu tests/nets`."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.backend import Backend, select
from nets.engine import LayeredEngine
from nets.member import Member
from nets.recorded_engine import RecordedEngine
from nets.step_shape import StepShape, shape_of
from tests.nets.persistent_parts import SGD, case, train
from tests.nets.support import BACKEND, assert_same_arrays, blobs
from tests.nets.test_persistent_engine import LOSS_CASES, OPTIMIZER_CASES, assert_close, crowd, wide

pytestmark = pytest.mark.gpu

GATES = {"float32": 1e-5, "float64": 1e-12}
CURVE_GATES = {"tf32": 2e-3, "bfloat16": 1e-2}


@pytest.fixture(scope="module")
def cuda() -> Backend:
    return select("cuda:0")


def engine_of(cuda: Backend, *members: Member) -> RecordedEngine:
    shape = shape_of(members)
    assert shape is not None
    assert cuda.recorder is not None
    return RecordedEngine(members, cuda, cuda.recorder, shape)


def assert_trains_like_the_host(cuda: Backend, *members: Member, steps: int = 23) -> None:
    gate = GATES[members[0].spec.training.precision]
    engine, layers = engine_of(cuda, *members), LayeredEngine([wide(member) for member in members], BACKEND)
    assert engine.details["recorded"] == "cuda graph"
    assert_close(train(engine, steps), train(layers, steps), gate, "the losses")
    for position in range(len(members)):
        expected = layers.state(position)
        for name, array in engine.state(position).items():
            assert_close(array, expected[name], gate, name)


@pytest.mark.parametrize("precision", GATES)
def test_recorded_steps_train_like_the_host(cuda: Backend, precision: str) -> None:
    options = {"net": {"dropout": 0.3}, "training": {"clip_norm": 0.5, "batch_size": 32}}
    assert_trains_like_the_host(cuda, case(precision, blobs(600, 13, 3), [40, 16], "gelu", **options), steps=40)


@pytest.mark.parametrize("name", LOSS_CASES)
def test_every_loss_trains_like_the_host(cuda: Backend, name: str) -> None:
    loss, optimizer = LOSS_CASES[name]
    table = blobs(classes=2 if name == "binary_cross_entropy" else 4)
    assert_trains_like_the_host(cuda, case("float64", table, [10], "silu", loss=loss, optimizer=optimizer))


@pytest.mark.parametrize("name", OPTIMIZER_CASES)
def test_every_optimizer_trains_like_the_host(cuda: Backend, name: str) -> None:
    assert_trains_like_the_host(cuda, case("float64", blobs(), [10], "gelu", optimizer=OPTIMIZER_CASES[name]))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_stack_trains_like_the_host(cuda: Backend, optimizer: str) -> None:
    assert_trains_like_the_host(cuda, *crowd(optimizer))


@pytest.mark.parametrize("precision", GATES)
@pytest.mark.parametrize("outputs", [11, 32, 33, 70])
def test_any_number_of_outputs_trains_like_the_host(cuda: Backend, outputs: int, precision: str) -> None:
    """Programs of our own for few scores, those of a library with a loss of one thread a sample, or of several."""
    assert_trains_like_the_host(cuda, case(precision, blobs(400, 7, outputs), [9, 12], "gelu"), steps=5)


@pytest.mark.parametrize("precision", GATES)
@pytest.mark.parametrize("batch", [31, 32])
def test_layers_updated_apart_and_biases_out_of_products_train_like_the_host(
    cuda: Backend, batch: int, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nets.plans.SPLIT_PARAMETERS", 1)
    monkeypatch.setattr(StepShape, "bias_apart", property(lambda _: True))
    training = {"batch_size": batch}
    assert_trains_like_the_host(cuda, case(precision, blobs(400, 8, 3), [12, 9], "gelu", training=training), steps=33)


def test_chunks_of_one_step_train_like_the_host(cuda: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nets.recorded_engine.MAX_CHUNK_ROWS", 1)
    assert_trains_like_the_host(cuda, *crowd("sgd"), steps=5)


@pytest.mark.parametrize("precision", CURVE_GATES)
@pytest.mark.parametrize("features", [12, 16])
def test_rounded_products_stay_near_float64(cuda: Backend, precision: str, features: int) -> None:
    table, optimizer = blobs(300, features, 4), {**SGD, "learning_rate": 0.003}
    member = case(precision, table, [24, 10], "relu", optimizer=optimizer)
    losses, expected = train(engine_of(cuda, member), 12), train(LayeredEngine([wide(member)], BACKEND), 12)
    assert float(np.max(np.abs(losses - expected) / expected)) <= CURVE_GATES[precision]


def test_the_same_run_has_the_same_bits_again_and_in_a_recording_that_was_kept(cuda: Backend) -> None:
    first = engine_of(cuda, *crowd())
    losses, states = train(first, 40), [first.state(k) for k in range(5)]
    del first
    second = engine_of(cuda, *crowd())
    assert np.array_equal(train(second, 40), losses)
    for position, state in enumerate(states):
        assert_same_arrays(second.state(position), state)
