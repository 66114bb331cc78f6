"""A checkpoint belongs to the run, not to the engine that wrote it: every other one goes on from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nets.compiled_engine import CompiledEngine
from nets.engine import Engine, LayeredEngine
from nets.member import Member
from tests.nets import persistent_parts, recorded_parts
from tests.nets.persistent_parts import SGD, case, train
from tests.nets.support import BACKEND, blobs
from tests.nets.test_persistent_engine import ADAM, assert_close

ENGINES: dict[str, Callable[[Member], Engine]] = {
    "compiled": lambda member: CompiledEngine([member], BACKEND),
    "persistent": persistent_parts.engine_of,
    "recorded": recorded_parts.engine_of,
}


@pytest.mark.parametrize("engine_of", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=lambda one: one["name"])
def test_engines_read_each_others_checkpoints(optimizer: dict[str, Any], engine_of: Callable[[Member], Engine]):
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
