"""Models that join a stack while it trains: each, and whoever was there before, is bit for bit what it is alone."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.errors import InvalidInput
from nets import compiled_engine
from nets.engines import COMPILED_VARIABLE
from nets.member import Member
from nets.report import Command
from nets.trainer import Ending, fit
from tests.kernels.block_support import BlockBackend
from tests.nets.support import BACKEND, Recorder, assert_same_arrays, blobs, member_for, run
from tests.nets.test_folds import folded, plain
from tests.nets.test_stack_mixtures import KERNEL_SHAPE, member_of, models, trained


def one_by_one(newcomers: Sequence[Member], every: int) -> Callable[[], Sequence[Member]]:
    """One of them at every so many looks."""
    waiting, looks = list(newcomers), itertools.count(1)
    return lambda: [waiting.pop(0)] if waiting and next(looks) % every == 0 else []


def boarded(engine: str, first: Sequence[Member], newcomers: Sequence[Member], every: int) -> Recorder:
    recorder, backend = Recorder(), BlockBackend() if engine == "persistent" else BACKEND
    fit(first, backend, recorder, recorder, threads=1, boarders=one_by_one(newcomers, every))
    return recorder


def assert_each_is_what_it_is_alone(engine: str, drawn: Sequence[Member], first: int, every: int) -> int:
    """Returns how many came aboard: none does after a look at which nobody came and all had left."""
    together = boarded(engine, drawn[:first], drawn[first:], every)
    for i in together.info:
        alone = trained(engine, drawn[i])
        assert together.curve(i) == alone.curve(0)
        a, b = together.outcomes[i], alone.outcomes[0]
        assert {**vars(a), "parameters": None} == {**vars(b), "parameters": None}
        assert_same_arrays(a.parameters, b.parameters)
    assert together.info.keys() == together.outcomes.keys()
    return len(together.info) - first


@settings(max_examples=15)
@given(st.lists(models, min_size=3, max_size=6), st.sampled_from(["compiled", "layered"]), st.integers(1, 3))
def test_a_random_stack_that_others_join_is_its_models_alone(drawn, engine, every):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(COMPILED_VARIABLE, str(int(engine == "compiled")))
        members = [member_of(d, "adam", KERNEL_SHAPE, clips=True) for d in drawn]
        assert_each_is_what_it_is_alone(engine, members, 2, every)


@pytest.mark.parametrize(("engine", "epochs"), [("layered", 200), ("compiled", 1500), ("persistent", 30)])
def test_those_who_come_and_those_who_were_there_end_as_alone(engine, epochs, monkeypatch):
    if engine == "layered":
        monkeypatch.setenv(COMPILED_VARIABLE, "0")
    wild = {"name": "sgd", "learning_rate": 1.0, "l2": 5e4}
    calm = {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9}
    shape = {"net": {"hidden": [7], "activation": "tanh"}}
    stopping = {"metric": "val_loss", "patience": 1, "min_delta": 1e6}
    members = [
        member_for(
            blobs(rows=60 + 17 * seed, seed=seed), **shape, optimizer=wild if seed == 3 else calm,
            training={"batch_size": 16, "epochs": epochs if seed < 2 else 5, "seed": seed,
                      "early_stopping": stopping if seed == 4 else None},
        )
        for seed in range(6)
    ]  # fmt: skip
    assert assert_each_is_what_it_is_alone(engine, members, 2, 1) == 4


def test_a_team_that_trained_one_model_trains_several_side_by_side_when_others_join(monkeypatch):
    """Buffers are made anew for as many models as there are threads, for one that is clipped, and nobody's state moves.

    Who diverges afterwards is looked into from the state in which it was found by those who joined.
    """
    monkeypatch.setattr(compiled_engine, "LARGE_STEP", 0)
    sizes, kind = list[int](), compiled_engine.CompiledEngine
    monkeypatch.setattr(compiled_engine, "CompiledEngine", lambda m, *rest: sizes.append(len(m)) or kind(m, *rest))
    calm = {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9}
    wild = {"name": "sgd", "learning_rate": 1.0, "l2": 5e4}
    members = [
        member_for(
            blobs(seed=seed), net={"hidden": [20]}, optimizer=wild if seed == 1 else calm,
            training={"epochs": 1500 if seed == 0 else 40, "batch_size": 16, "seed": seed, "clip_norm": clip_norm},
        )
        for seed, clip_norm in enumerate([None, None, 0.1, None])
    ]  # fmt: skip
    recorder = Recorder()
    fit(members[:1], BACKEND, recorder, recorder, threads=2, boarders=one_by_one(members[1:], 1))
    assert set(sizes) == {1}, "no engine is made for those who joined and those who were there"
    assert recorder.outcomes[1].kind is Ending.DIVERGED
    for i, member in enumerate(members):
        alone = run(member)
        assert recorder.curve(i) == alone.curve(0)
        assert recorder.outcomes[i].error == alone.outcomes[0].error
        assert_same_arrays(recorder.outcomes[i].parameters, alone.outcomes[0].parameters)


def test_a_boarder_goes_on_from_its_checkpoint_and_may_be_paused() -> None:
    def one(seed: int, epochs: int) -> Member:
        return member_for(blobs(seed=seed), training={"epochs": epochs, "seed": seed})

    long, short = one(0, 1500), one(1, 40)
    half = run(short, script=lambda _: Command.PAUSE)
    state = half.checkpoints[0][-1]
    asked = itertools.count()
    recorder = Recorder(lambda member: Command.PAUSE if member == 2 and next(asked) > 1 else Command.CONTINUE)
    newcomers = [replace(short, state=state), one(2, 100_000)]
    fit([long], BACKEND, recorder, recorder, boarders=one_by_one(newcomers, 1))
    assert [recorder.outcomes[i].kind for i in range(3)] == [Ending.COMPLETED, Ending.COMPLETED, Ending.PAUSED]
    assert half.curve() + recorder.curve(1) == run(short).curve()
    assert_same_arrays(recorder.outcomes[1].parameters, run(short).outcomes[0].parameters)
    again = run(replace(newcomers[1], state=recorder.checkpoints[2][-1]), script=lambda _: Command.CANCEL)
    assert again.outcomes[0].kind is Ending.CANCELLED


def test_who_has_left_a_stack_that_others_join_is_not_kept() -> None:
    """Nobody's data, be it of those who came later or of those whom the stack began with."""
    kept, looks, alive = list[weakref.ref[Member]](), itertools.count(), list[int]()

    def one(epochs: int) -> Member:
        made = member_for(blobs(seed=len(kept)), net={"hidden": [20]}, training={"epochs": epochs, "batch_size": 16})
        kept.append(weakref.ref(made))
        return made

    def boarders() -> list[Member]:
        if len(recorder.outcomes) == 5:
            gc.collect()
            alive.extend(number for number, member in enumerate(kept) if member() is not None)
        return [one(2)] if next(looks) % 2 and len(kept) < 6 else []

    recorder = Recorder(lambda _: Command.CANCEL if alive else Command.CONTINUE)
    fit([one(2), one(1_000_000)], BACKEND, recorder, recorder, threads=1, boarders=boarders)
    assert len(recorder.outcomes) == 6
    assert alive == [1]


@pytest.mark.parametrize("engine", ["layered", "compiled", "persistent"])
def test_others_follow_where_all_have_left(engine, monkeypatch):
    monkeypatch.setenv(COMPILED_VARIABLE, str(int(engine == "compiled")))
    shape = {"net": {"hidden": [7], "activation": "tanh"}, "optimizer": {"name": "sgd", "learning_rate": 0.01}}
    training = {"batch_size": 16, "epochs": 2}
    members = [member_for(blobs(rows=60 + seed, seed=seed), **shape, training=training) for seed in range(4)]
    assert assert_each_is_what_it_is_alone(engine, members, 1, 1) == 3


@pytest.mark.parametrize("epochs", [1, 50])
def test_who_does_not_fit_cannot_board(epochs: int) -> None:
    recorder = Recorder()
    stranger = member_for(blobs(), net={"hidden": [9]})
    first = member_for(blobs(), training={"epochs": epochs})
    with pytest.raises(InvalidInput, match="differ in shape"):
        fit([first], BACKEND, recorder, recorder, boarders=lambda: [stranger])


def test_a_model_with_folds_takes_others_aboard() -> None:
    def crossed(epochs: int) -> Member:
        return folded(blobs(), training={"epochs": epochs, "batch_size": 16})

    recorder, other = Recorder(), plain(crossed(5))
    fit([crossed(800)], BACKEND, recorder, recorder, boarders=one_by_one([other, crossed(5)], 1))
    assert recorder.outcomes.keys() == {0, 1, 2}
    assert_same_arrays(recorder.outcomes[1].parameters, run(other).outcomes[0].parameters)
    assert recorder.outcomes[2].metrics == run(crossed(5)).outcomes[0].metrics
