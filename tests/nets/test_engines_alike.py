"""What holds for every engine: how a stack's models stand beside each other, and that each reads all checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nets.compiled_engine import CompiledEngine
from nets.engine import Engine, LayeredEngine
from nets.net_spec import NetSpec
from nets.training_spec import TrainingOptions
from tests.nets import persistent_parts, recorded_parts
from tests.nets.persistent_parts import SGD, case, train
from tests.nets.support import BACKEND, assert_same_arrays, blobs
from tests.nets.test_persistent_engine import ADAM, assert_close, crowd

ENGINES: dict[str, Callable[..., Engine]] = {
    "layered": lambda *members: LayeredEngine(members, BACKEND),
    "compiled": lambda *members: CompiledEngine(members),
    "persistent": persistent_parts.engine_of,
    "recorded": recorded_parts.engine_of,
}
every_engine = pytest.mark.parametrize("engine_of", ENGINES.values(), ids=ENGINES)


@pytest.mark.parametrize("name", ["persistent", "recorded"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_model_has_the_same_bits_alone_and_in_a_stack(optimizer: str, name: str):
    members, engine_of = crowd(optimizer), ENGINES[name]
    stack = engine_of(*members)
    losses = train(stack, 30)
    for position, member in enumerate(members):
        alone = engine_of(member)
        assert np.array_equal(train(alone, 30)[:, 0], losses[:, position])
        assert_same_arrays(alone.state(0), stack.state(position))


@every_engine
def test_a_broken_model_is_told_from_the_others(engine_of: Callable[..., Engine]):
    members = crowd()
    members[3] = replace(members[3], state={"parameters": np.full(members[3].layout.count, np.nan, np.float32)})
    stack, whole = engine_of(*members), engine_of(*crowd())
    losses, expected = train(stack, 5), train(whole, 5)
    assert stack.finite().tolist() == [True, True, True, False, True]
    assert np.isnan(losses[:, 3]).all()
    for position in (0, 1, 2, 4):
        assert np.array_equal(losses[:, position], expected[:, position])
        assert_same_arrays(stack.state(position), whole.state(position))


@every_engine
@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=lambda one: one["name"])
def test_engines_read_each_others_checkpoints(optimizer: dict[str, Any], engine_of: Callable[..., Engine]):
    member = case("float64", blobs(), [8], optimizer=optimizer)
    first, second = engine_of(member), LayeredEngine([member], BACKEND)
    train(first, 10)
    train(second, 10)
    assert first.state(0).keys() == second.state(0).keys()
    crossed = engine_of(replace(member, state=second.state(0)))
    back = LayeredEngine([replace(member, state=first.state(0))], BACKEND)
    train(first, 10)
    for other in (crossed, back):
        train(other, 10)
        for name, array in other.state(0).items():
            assert_close(array, first.state(0)[name], 1e-12, name)


def test_every_setting_of_a_net_and_of_training_was_considered():
    """A new field is built into the kernel and plans, or sends its nets to the layered engine; then it belongs here."""
    assert set(NetSpec.model_fields) <= {"hidden", "activation", "init", "dropout", "bias", "batch_norm"}
    assert set(TrainingOptions.model_fields) <= {
        *("epochs", "batch_size", "shuffle", "validation_fraction", "early_stopping", "clip_norm", "class_weight"),
        *("seed", "precision", "device", "checkpoint_every_s", "max_runtime_s", "folds"),
        *("sample_weight", "stratify", "split", "test_fraction", "test_dataset", "validation_dataset"),
    }
