"""A model's bits do not depend on its neighbours, on interruptions, or on the clock."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from kernels.errors import InvalidInput
from nets.engine import LayeredEngine
from nets.losses import LOSSES
from nets.member import Member
from nets.optimizers import OPTIMIZERS
from nets.trainer import Command, Ending
from tests.nets.support import BACKEND, Recorder, assert_same_arrays, blobs, line, member_for, run

NET = {"hidden": [9, 7], "activation": ["tanh", "relu"]}


def member(i: int = 0, *, rows: int = 150, optimizer: str = "sgd", table=None, **training) -> Member:
    """Model i of a stack: own learning rate, l2, momentum, seed, epochs and rows."""
    own = {
        "sgd": {"momentum": (0.9, 0.0, 0.5)[i % 3], "learning_rate": 0.02 * (i + 1)},
        "adam": {"beta1": (0.9, 0.8, 0.0)[i % 3], "learning_rate": 0.002 * (i + 1)},
        "adamw": {"beta2": (0.9, 0.99, 0.0)[i % 3], "learning_rate": 0.002 * (i + 1)},
        "adagrad": {"learning_rate": 0.02 * (i + 1)},
        "rmsprop": {"decay": (0.9, 0.8, 0.0)[i % 3], "learning_rate": 0.002 * (i + 1)},
        "random_search": {"scale": (0.1, 1.0, 0.3)[i % 3]},
    }[optimizer]
    decay = {"adamw": "weight_decay", "random_search": None}.get(optimizer, "l2")
    spec = {"name": optimizer, **({decay: (0.0, 0.01, 0.1)[i % 3]} if decay else {}), **own}
    options = {"epochs": 3 + i, "batch_size": 32, "seed": i, **training}
    if optimizer == "random_search":
        options |= {"epochs": 20 + i, "batch_size": None}
        rows -= 17 * i  # a stack has one batch size, and a search's batch is all rows
    table = table or blobs(rows=rows + 17 * i, seed=i)
    schedule = ("constant", "cosine", {"name": "linear", "warmup_steps": 5})[i % 3]
    return member_for(table, net=NET, optimizer=spec, schedule=schedule, training=options)


def assert_same_run(left: Recorder, i: int, right: Recorder, j: int) -> None:
    assert left.curve(i) == right.curve(j)
    a, b = left.outcomes[i], right.outcomes[j]
    assert (a.kind, a.step, a.epoch, a.metrics, a.error) == (b.kind, b.step, b.epoch, b.metrics, b.error)
    assert_same_arrays(a.parameters, b.parameters)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_stacked_training_equals_solo_bit_for_bit(optimizer):
    members = [member(i, optimizer=optimizer) for i in range(5)]
    stacked = run(*members)
    for i, one in enumerate(members):
        assert_same_run(stacked, i, run(one), 0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_a_checkpoint_holds_of_the_optimizer_does_not_depend_on_neighbours(optimizer):
    members = [member(i, optimizer=optimizer, rows=40, table=blobs(rows=40, seed=i)) for i in range(3)]
    stack = LayeredEngine(members, BACKEND)
    stack.advance(1)
    stack.keep_copy()
    for i, one in enumerate(members):
        alone = LayeredEngine([one], BACKEND)
        alone.advance(1)
        assert_same_arrays(stack.state(i), alone.state(0))
        assert_same_arrays(stack.kept_state(i), alone.state(0))


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("loss", [*LOSSES, {"name": "softmax", "label_smoothing": 0.2}], ids=str)
def test_stacked_equals_solo_for_every_loss_and_precision(loss, precision):
    members = []
    for i in range(3):
        training = {
            "epochs": 2 + i,
            "batch_size": 32,
            "seed": i,
            "precision": precision,
            "clip_norm": (None, 1.0, 0.1)[i],
        }
        net = {"hidden": [40, 33], "activation": ["gelu", "sigmoid"]}
        classes = 2 if loss == "binary_cross_entropy" else 7
        members.append(member_for(blobs(rows=131 + i, classes=classes, seed=i), net=net, loss=loss, training=training))
    stacked = run(*members)
    for i, one in enumerate(members):
        assert_same_run(stacked, i, run(one), 0)


def test_stacked_regression_equals_solo():
    members = [
        member_for(line(rows=90 + i, seed=i), net=NET, training={"epochs": 4, "seed": i, "batch_size": 16})
        for i in range(3)
    ]
    stacked = run(*members)
    for i, one in enumerate(members):
        assert_same_run(stacked, i, run(one), 0)


@pytest.mark.parametrize("batch", [1, 2, 3, 100_000])
def test_stacked_equals_solo_for_odd_batches(batch):
    members = [member(i, rows=40, batch_size=batch, table=blobs(rows=40, seed=i)) for i in range(3)]
    stacked = run(*members)
    for i, one in enumerate(members):
        assert_same_run(stacked, i, run(one), 0)


def test_a_diverging_a_cancelled_and_a_paused_neighbour_change_nothing():
    healthy = [member(0, epochs=12), member(2, epochs=9)]
    wild = member_for(
        blobs(seed=7), net=NET, optimizer={"name": "sgd", "learning_rate": 1.0, "l2": 1e6},
        schedule="constant", training={"epochs": 9, "batch_size": 32},
    )  # fmt: skip
    calls = itertools.count()

    def script(i: int) -> Command:
        count = next(calls)
        return Command.CANCEL if i == 3 and count > 9 else Command.PAUSE if i == 4 and count > 12 else Command.CONTINUE

    recorder = run(healthy[0], wild, healthy[1], member(1, epochs=5000), member(1, epochs=5000), script=script)
    kinds = [recorder.outcomes[i].kind for i in range(5)]
    assert kinds == [Ending.COMPLETED, Ending.DIVERGED, Ending.COMPLETED, Ending.CANCELLED, Ending.PAUSED]
    assert_same_run(recorder, 0, run(healthy[0]), 0)
    assert_same_run(recorder, 2, run(healthy[1]), 0)
    assert_same_run(recorder, 1, run(wild), 0)


def test_a_stack_of_unlike_models_is_refused():
    with pytest.raises(InvalidInput, match="differ"):
        run(member(0), member(1, batch_size=16))
    with pytest.raises(InvalidInput, match="empty"):
        run()


# ---- interruption and resume


def stop_at(one: Member, step: int) -> Recorder:
    """Run and pause once `step` steps are done: a clock that never moves keeps chunks small and regular."""
    recorder = Recorder()
    done = {"chunks": 0}
    ticks = itertools.count()

    def script(_: int) -> Command:
        done["chunks"] += 1
        return Command.PAUSE if done["chunks"] >= step else Command.CONTINUE

    recorder.script = script
    # every reading is 1 s later than the last: chunks shrink to a single step
    from nets.trainer import fit

    fit([one], BACKEND, recorder, recorder, clock=lambda: float(next(ticks)))
    return recorder


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_resume_from_any_step_is_bit_identical(optimizer):
    one = member(
        1, optimizer=optimizer, epochs=4, early_stopping={"metric": "val_loss", "patience": 2}, class_weight="balanced"
    )
    whole = run(one)
    steps_seen = set()
    for chunks in range(1, 14):
        first = stop_at(one, chunks)
        if first.outcomes[0].kind is not Ending.PAUSED:
            continue
        state = first.checkpoints[0][-1]
        steps_seen.add(int(state["step"]) % one.steps_per_epoch)
        second = run(replace(one, state=state))
        assert first.curve() + second.curve() == whole.curve()
        outcome, expected = second.outcomes[0], whole.outcomes[0]
        assert (outcome.kind, outcome.step, outcome.metrics) == (expected.kind, expected.step, expected.metrics)
        assert_same_arrays(outcome.parameters, expected.parameters)
    if optimizer != "random_search":  # whose epochs are single steps
        assert len(steps_seen) >= 4, "checkpoints were taken in the middle of epochs as well"


def test_resumed_optimizer_state_is_bit_identical():
    one = member(0, epochs=3)
    whole = LayeredEngine([one], BACKEND)
    for _ in range(3):
        whole.advance(1)
    middle = whole.state(0)
    whole.advance(1)
    again = LayeredEngine([replace(one, state=middle)], BACKEND)
    again.advance(1)
    assert_same_arrays(again.state(0), whole.state(0))
    assert np.array_equal(again.drain()[-1], whole.drain()[-1])


def test_a_run_resumed_inside_another_stack_is_bit_identical():
    one, other = member(1, epochs=6), member(2, epochs=5)
    whole = run(one)
    first = stop_at(one, 6)
    second = run(other, replace(one, state=first.checkpoints[0][-1]), member(0))
    assert first.curve() + second.curve(1) == whole.curve()
    assert_same_arrays(second.outcomes[1].parameters, whole.outcomes[0].parameters)


def test_a_resumed_run_keeps_the_blas_threads_it_began_with():
    one = member(0, epochs=8)
    state = stop_at(one, 5).checkpoints[0][-1]
    state["threads"] = np.array(2)
    assert run(replace(one, state=state), threads=1).info[0]["threads"] == 2
    with pytest.raises(InvalidInput, match="threads"):
        run(replace(one, state=state), replace(one, state={**state, "threads": np.array(1)}))


def test_chunk_lengths_change_no_bit():
    one = member(1, epochs=4)
    slow = itertools.count()
    recorder = run(one, clock=lambda: float(next(slow)))
    assert_same_run(recorder, 0, run(one), 0)
    assert recorder.checkpoints, "with a clock this slow a checkpoint is due"


def test_every_checkpoint_of_a_run_leads_to_the_same_end():
    one = member(2, epochs=3, checkpoint_every_s=1.0)
    ticks = itertools.count()
    recorder = run(one, clock=lambda: float(next(ticks)))
    assert len(recorder.checkpoints[0]) >= 3
    for state in recorder.checkpoints[0]:
        assert all(np.issubdtype(a.dtype, np.number) for a in state.values())
        assert_same_arrays(run(replace(one, state=state)).outcomes[0].parameters, recorder.outcomes[0].parameters)
