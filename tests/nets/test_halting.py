"""A model pauses by itself exactly after the epochs that it was given, and goes on as if it never had."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nets.engines import COMPILED_VARIABLE
from nets.trainer import Ending
from tests.nets.support import assert_same_arrays, blobs, line, member_for, run

SPEC = {"net": {"hidden": [8]}, "training": {"epochs": 12, "batch_size": 16}, "schedule": "cosine"}


@pytest.mark.parametrize("compiled", [0, 1])
@pytest.mark.parametrize("table", [blobs(), line()], ids=["classes", "numbers"])
def test_halts_are_exact_and_change_nothing(table, compiled, monkeypatch):
    monkeypatch.setenv(COMPILED_VARIABLE, str(compiled))
    member = member_for(table, **SPEC)
    whole, curve, state = run(member), [], None
    for halt in (1, 3, 9):
        part = run(replace(member, state=state, halt_epoch=halt))
        assert part.outcomes[0].kind is Ending.HALTED
        assert part.outcomes[0].epoch == halt
        assert part.outcomes[0].step == halt * member.steps_per_epoch
        state = part.checkpoints[0][-1]
        curve += part.curve()
    last = run(replace(member, state=state))
    assert last.outcomes[0].kind is Ending.COMPLETED
    assert curve + last.curve() == whole.curve()
    assert_same_arrays(last.outcomes[0].parameters, whole.outcomes[0].parameters)


@pytest.mark.parametrize("compiled", [0, 1])
def test_a_model_that_halts_leaves_its_neighbours_as_they_are(compiled, monkeypatch):
    monkeypatch.setenv(COMPILED_VARIABLE, str(compiled))
    members = [member_for(blobs(seed=seed), **SPEC) for seed in range(3)]
    together = run(replace(members[0], halt_epoch=5), members[1], replace(members[2], halt_epoch=2))
    assert [together.outcomes[i].epoch for i in range(3)] == [5, 12, 2]
    alone = run(members[1])
    assert together.curve(1) == alone.curve()
    assert_same_arrays(together.outcomes[1].parameters, alone.outcomes[0].parameters)


def test_a_model_at_its_halt_leaves_before_a_step_and_one_beyond_its_end_ends():
    member = member_for(blobs(), **SPEC)
    state = run(replace(member, halt_epoch=4)).checkpoints[0][-1]
    again = run(replace(member, state=state, halt_epoch=4))
    assert (again.outcomes[0].kind, again.outcomes[0].epoch, again.curve()) == (Ending.HALTED, 4, [])
    assert_same_arrays(again.checkpoints[0][-1], state)
    assert run(replace(member, halt_epoch=12)).outcomes[0].kind is Ending.COMPLETED


def test_one_that_stops_early_on_its_way_ends_with_its_best() -> None:
    spec = {**SPEC, "optimizer": {"name": "sgd", "learning_rate": 0.5}}
    stopping = {"epochs": 40, "early_stopping": {"metric": "val_loss", "patience": 1, "min_delta": 1e-3}}
    member = member_for(blobs(rows=90), **{**spec, "training": {**SPEC["training"], **stopping}})
    whole = run(member).outcomes[0]
    assert whole.kind is Ending.EARLY_STOPPED
    halted = run(replace(member, halt_epoch=whole.epoch - 1))
    assert halted.outcomes[0].kind is Ending.HALTED
    again = run(replace(member, state=halted.checkpoints[0][-1], halt_epoch=whole.epoch + 5)).outcomes[0]
    assert (again.kind, again.epoch, again.metrics) == (Ending.EARLY_STOPPED, whole.epoch, whole.metrics)
