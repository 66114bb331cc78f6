"""The compiled engine follows the layered one, in every loss, optimizer and precision that it knows."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import numpy as np
import pytest

from kernels.compiled import layers, workspace
from kernels.compiled.dropout import Drop, draw
from nets import compiled_engine
from nets.batches import OwnRows
from nets.compiled_engine import CompiledEngine
from nets.compiled_evaluator import CompiledEvaluator
from nets.dropout import kept, limit_of
from nets.engine import LayeredEngine
from nets.engines import COMPILED_VARIABLE, engine_for, rows_for
from nets.losses import LOSSES
from nets.optimizers import OPTIMIZERS
from nets.threads import FIRST_TURNS, PROBE, PROBE_TEAM, RECENT, TRIAL_S, Pace
from tests.nets.support import BACKEND, assert_same_arrays, blobs, line, member_for, run

NET = {"hidden": [9, 7], "activation": ["tanh", "gelu"]}


CASES: dict[str, dict[str, Any]] = {name: {"name": name} for name, row in OPTIMIZERS.items() if not row.searches}
for case in CASES.values():
    case["weight_decay" if case["name"] == "adamw" else "l2"] = 0.01
CASES["plain sgd"] = {"name": "sgd", "momentum": 0.0, "l2": 0.01}
CASES["nesterov"] = {"name": "sgd", "nesterov": True, "l2": 0.01}


def both(monkeypatch, one):
    """The run by compiled code, and layer by layer."""
    compiled = run(one)
    monkeypatch.setenv(COMPILED_VARIABLE, "0")
    layered = run(one)
    assert (compiled.info[0]["engine"], layered.info[0]["engine"]) == ("compiled", "layered")
    return compiled, layered


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", CASES)
@pytest.mark.parametrize("loss", LOSSES)
def test_compiled_runs_follow_layered_runs(loss, optimizer, precision, monkeypatch):
    training = {"epochs": 5, "batch_size": 32, "precision": precision, "clip_norm": 1.0}
    table = blobs(classes=2 if LOSSES[loss].one_output else 3)
    one = member_for(table, net=NET, loss=loss, optimizer=CASES[optimizer], training=training)
    compiled, layered = both(monkeypatch, one)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if precision == "float32" else {"rtol": 1e-9, "atol": 1e-12}
    for left, right in zip(compiled.curve(), layered.curve(), strict=True):
        assert left.keys() == right.keys()
        np.testing.assert_allclose(list(left.values()), list(right.values()), **tolerance)
    for name, array in compiled.outcomes[0].parameters.items():
        np.testing.assert_allclose(array, layered.outcomes[0].parameters[name], err_msg=name, **tolerance)


def test_regression_without_biases_and_hidden_layers_follows_too(monkeypatch):
    training = {"epochs": 5, "batch_size": 16, "precision": "float64"}
    for net in ({"hidden": []}, {"hidden": [6], "bias": False}):
        with monkeypatch.context() as patch:
            compiled, layered = both(patch, member_for(line(), net=net, training=training))
        for left, right in zip(compiled.curve(), layered.curve(), strict=True):
            np.testing.assert_allclose(list(left.values()), list(right.values()), rtol=1e-9)


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
@pytest.mark.parametrize("loss", ["svm", {"name": "softmax", "label_smoothing": 0.2}])
def test_dropout_and_smoothing_train_as_they_do_layer_by_layer(activation, loss, monkeypatch):
    net = {"hidden": [13, 20], "activation": activation, "dropout": 0.4}
    training = {"epochs": 3, "batch_size": 7, "precision": "float64"}
    compiled, layered = both(monkeypatch, member_for(blobs(), net=net, loss=loss, training=training))
    for left, right in zip(compiled.curve(), layered.curve(), strict=True):
        np.testing.assert_allclose(list(left.values()), list(right.values()), rtol=1e-12)


@pytest.mark.parametrize(
    ("units", "batch", "start", "stop"), [(3, 8, 0, 8), (5, 7, 2, 6), (1, 19, 18, 19), (9, 1, 0, 1)]
)
def test_masks_are_those_of_the_layered_engine_word_for_word(units, batch, start, stop):
    pitch, first = units + 2, 4
    work = np.full(first + batch * pitch, 9.0)
    drop = Drop(np.uint64(2**63 - 1), limit_of(0.3), np.float64(1 / 0.7), np.int64(batch), np.int64(70_000))
    draw(drop, 2, units, start, stop, work, first, pitch)
    masks = work[first:].reshape(batch, pitch)
    drawn = kept(2**63 - 1, 70_000, 2, 0.3, (units, batch), np.dtype(np.float64)).T
    assert np.array_equal(masks[start:stop, :units], drawn[start:stop])
    assert (masks[:, units:] == 9).all()
    assert (np.delete(masks, np.s_[start:stop], axis=0) == 9).all()


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_points_passed_inside_a_chunk_are_those_of_chunks_that_end_with_epochs(dropout):
    one = member_for(blobs(), net={**NET, "dropout": dropout}, training={"epochs": 40, "batch_size": 32})
    whole = CompiledEngine([one])
    assert whole.max_chunk() == one.total_steps
    whole.advance(one.total_steps)
    assert [crossing.done for crossing in whole.crossed(0)] == [s * one.steps_per_epoch for s in range(1, 40)]
    piecewise = CompiledEngine([one])
    while piecewise.steps()[0] < one.total_steps:
        piecewise.advance(min(7, one.total_steps - piecewise.steps()[0]))
    assert np.array_equal(whole.drain(), piecewise.drain())
    assert_same_arrays(whole.state(0), piecewise.state(0))


def test_threads_change_no_bit():
    members = [member_for(blobs(seed=i), net=NET, training={"epochs": 3, "seed": i}) for i in range(5)]
    one, two = CompiledEngine(members, threads=1), CompiledEngine(members, threads=3)
    for engine in (one, two):
        engine.advance(engine.max_chunk())
    for position in range(len(members)):
        assert_same_arrays(one.state(position), two.state(position))


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_inputs_that_are_turned_for_gradients_change_no_bit(precision, monkeypatch):
    """Layers of many panels read their inputs turned; here all do, with sizes that leave edges of every kind."""
    training = {"epochs": 3, "batch_size": 37, "precision": precision, "clip_norm": 1.0}
    one = member_for(blobs(), net={"hidden": [61, 13]}, training=training)
    states = []
    for panels, turned in ((workspace.TURNED_PANELS, [False] * 3), (1, [True] * 3)):
        monkeypatch.setattr(workspace, "TURNED_PANELS", panels)
        engine = CompiledEngine([one])
        assert (engine._workspaces[0].layers[:, layers.TURNED] > 0).tolist() == turned
        engine.advance(one.total_steps)
        states.append(engine.state(0))
    assert_same_arrays(*states)


@pytest.mark.parametrize(("clip_norm", "dropout"), [(None, 0.0), (0.5, 0.0), (None, 0.3)])
def test_a_team_changes_no_bit(clip_norm, dropout, monkeypatch):
    """One model's steps by one thread, by a team, and by turns: weights, losses and points on the way."""
    monkeypatch.setattr(compiled_engine, "LARGE_STEP", 0)
    training = {"epochs": 6, "batch_size": 50, "clip_norm": clip_norm}
    net = {"hidden": [130, 70], "activation": ["tanh", "gelu"], "dropout": dropout}
    one = member_for(blobs(), net=net, training=training)
    found = []
    for sizes in ([1], [3], [3, 1]):
        monkeypatch.setattr(Pace, "team", partial(next, itertools.cycle(sizes)))
        val = CompiledEvaluator([one], "val", OwnRows.of([one], "val"), 3)
        engine = CompiledEngine([one], None, val, threads=3)
        assert len(engine._workspaces[0].heads) == 3
        crossed = []
        while engine.steps()[0] < one.total_steps:
            engine.advance(min(7, one.total_steps - engine.steps()[0]))
            crossed += [crossing.measured for crossing in engine.crossed(0)]
        found.append((engine.drain(), crossed, engine.state(0)))
    for sums, crossed, state in found[1:]:
        assert np.array_equal(sums, found[0][0])
        assert crossed == found[0][1]
        assert_same_arrays(state, found[0][2])


def test_rows_of_a_stack_are_not_copied():
    members = [member_for(blobs(), net=NET, training={"seed": seed}) for seed in range(3)]
    for part in ("train", "val"):
        own = [member.data.x_train if part == "train" else member.data.x_val for member in members]
        rows = rows_for(members, part, BACKEND)
        assert all(np.shares_memory(x, mine) for x, mine in zip(rows.x, own, strict=True))


def turn(pace: Pace, step_s: dict[int, float], steps: int = 1000) -> tuple[int, int]:
    """The team of the next turn, and its steps, each as long as `step_s` says."""
    team, steps = pace.team(), min(steps, pace.most_steps())
    pace.took(team, steps, steps * step_s[team])
    return team, steps


def test_the_faster_team_is_found_and_the_other_is_looked_at_again():
    pace = Pace(2)
    for step_s in ({2: 5e-4, 1: 3e-4}, {2: 1e-4, 1: 3e-4}):
        best = min(step_s, key=lambda size: step_s[size])
        turns = [turn(pace, step_s) for _ in range(3 * PROBE)]
        settled = turns[-2 * PROBE :]
        others = [steps for team, steps in settled if team != best]
        assert 1 <= len(others) <= 1 + len(settled) // (PROBE_TEAM if best == 1 else PROBE)
        assert max(others) * step_s[best] <= TRIAL_S, "the slower team is only tried"
    assert Pace(1).team() == 1
    assert Pace(1).most_steps() > 1_000_000


def test_no_steps_after_the_end_change_nothing():
    one = member_for(blobs(), net=NET, training={"epochs": 1, "batch_size": 32})
    engine = CompiledEngine([one])
    while engine.max_chunk():
        engine.advance(engine.max_chunk())
    before = engine.state(0)
    engine.advance(0)
    assert engine.steps() == [one.total_steps]
    assert_same_arrays(engine.state(0), before)
    assert engine.drain().shape == (one.total_steps, 1)


def test_first_turns_that_told_wrongly_are_put_right_after_one_more():
    """As after a pause, when the team's other threads begin late: then it is the faster by far."""
    pace = Pace(2)
    for _ in FIRST_TURNS:
        turn(pace, {2: 9e-4, 1: 5e-4})
    turns = [turn(pace, {2: 3e-4, 1: 5e-4})[0] for _ in range(3)]
    assert turns == [1, 2, 2]


def test_one_turn_that_the_system_held_up_changes_nothing_three_do():
    pace = Pace(2)
    for _ in FIRST_TURNS:
        turn(pace, {1: 3e-4, 2: 1e-4})
    assert turn(pace, {2: 9e-4})[0] == 2
    assert [turn(pace, {2: 9e-4})[0] for _ in range(RECENT)] == [2] * RECENT
    assert pace.team() == 1


def test_what_compiled_code_does_not_know_runs_layer_by_layer():
    for spec in (
        {"net": {**NET, "batch_norm": True}},
        {"optimizer": "random_search"},
    ):
        assert isinstance(engine_for([member_for(blobs(), **spec)], BACKEND), LayeredEngine)
