"""Cross-validation as a stack: folds share out the rows, disturb nobody, survive every interruption."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from kernels.errors import InvalidInput
from nets.engines import COMPILED_VARIABLE
from nets.member import Member
from nets.parts import fold_rows
from nets.prepare import prepare, prepare_folds
from nets.resolve import memory_estimate_bytes
from nets.table import Table
from nets.trainer import Command, Ending, fit
from tests.nets.support import BACKEND, Recorder, assert_same_arrays, blobs, line, run, spec_for

NET = {"hidden": [9], "activation": "tanh"}


def folded(table: Table, folds: int | None = 3, **spec) -> Member:
    training = {"epochs": 5, "batch_size": 16, "seed": 2, **spec.pop("training", {}), "folds": folds}
    resolved = spec_for(table, **{"net": NET, **spec}, training=training)
    return Member(resolved, prepare(table, resolved), None, prepare_folds(table, resolved))


def plain(member: Member) -> Member:
    """The same model without its folds."""
    training = member.spec.training.model_copy(update={"folds": None})
    return Member(member.spec.model_copy(update={"training": training}), member.data)


# ---- which rows


@pytest.mark.parametrize("folds", [2, 3, 7])
def test_folds_share_out_all_rows_evenly_and_by_class(folds):
    table = blobs(rows=101)
    parts = fold_rows(table, np.arange(table.info.n_rows), 5, folds)
    assert sorted(np.concatenate(parts).tolist()) == list(range(101))
    assert {len(part) for part in parts} <= {101 // folds, 101 // folds + 1}
    for code, count in enumerate(np.bincount(table.y)):
        assert {int((table.y[part] == code).sum()) for part in parts} <= {count // folds, count // folds + 1}
    assert [p.tolist() for p in fold_rows(table, np.arange(table.info.n_rows), 5, folds)] == [p.tolist() for p in parts]
    assert [p.tolist() for p in fold_rows(table, np.arange(table.info.n_rows), 6, folds)] != [p.tolist() for p in parts]
    assert all((np.diff(part) > 0).all() for part in parts)


def test_a_fold_prepares_its_rows_by_its_own_training_rows():
    table = line(rows=50)
    member = folded(table, 5)
    for rows, data in zip(fold_rows(table, np.arange(table.info.n_rows), 2, 5), member.folds, strict=True):
        others = np.setdiff1d(np.arange(50), rows)
        np.testing.assert_allclose(data.preprocessing.mean, table.x[others].mean(axis=0))
        assert data.preprocessing.target_mean == pytest.approx(table.y[others].mean())
        np.testing.assert_allclose(data.preprocessing.restore_target(data.y_val), table.y[rows], rtol=1e-5)


def test_no_folds_are_no_folds():
    table = blobs()
    assert prepare_folds(table, spec_for(table)) == ()
    assert "folds" not in spec_for(table).to_json()["training"]
    assert spec_for(table, training={"folds": 4}).to_json()["training"]["folds"] == 4
    small, large = (memory_estimate_bytes(spec_for(table, training={"folds": k}), table.info) for k in (None, 4))
    assert 5 * small < large < 10 * small


# ---- what they tell


@pytest.mark.parametrize("engine", ["layered", "compiled"])
@pytest.mark.parametrize("table", [blobs(), line()], ids=["classes", "numbers"])
def test_a_job_with_folds_is_the_job_without_and_figures_of_models_trained_alone(table, engine, monkeypatch):
    if engine == "layered":
        monkeypatch.setenv(COMPILED_VARIABLE, "0")
    member = folded(table)
    recorder, alone = run(member), run(plain(member))
    assert recorder.info[0] == alone.info[0]
    assert recorder.curve() == alone.curve()
    outcome, expected = recorder.outcomes[0], alone.outcomes[0]
    assert_same_arrays(outcome.parameters, expected.parameters)
    assert expected.metrics.items() <= outcome.metrics.items()
    solo = [run(replace(plain(member), data=data)).outcomes[0].metrics for data in member.folds]
    score = "accuracy" if table.info.task == "classification" else "r2"
    for name in ("val_loss", f"val_{score}"):
        values = [metrics[name] for metrics in solo]
        assert [outcome.metrics[f"fold{i}_{name}"] for i in (1, 2, 3)] == values
        assert outcome.metrics[f"cv_{name}"] == pytest.approx(np.mean(values))
        assert outcome.metrics[f"cv_{name}_std"] == pytest.approx(np.std(values, ddof=1))
    assert len(outcome.metrics) == len(expected.metrics) + 2 * 5


def test_folds_in_a_stack_disturb_no_neighbour():
    first, second = folded(blobs(), 2), folded(blobs(seed=3), 4, training={"seed": 9, "epochs": 3})
    third = plain(folded(blobs(seed=4), training={"seed": 1}))
    together = run(first, second, third)
    for place, member in enumerate((first, second, third)):
        alone = run(member)
        assert together.curve(place) == alone.curve()
        assert vars(together.outcomes[place]) | {"parameters": 0} == vars(alone.outcomes[0]) | {"parameters": 0}


def test_folds_stop_early_each_for_itself_and_are_measured_at_their_best():
    stopping = {"metric": "val_loss", "patience": 2}
    sgd = {"name": "sgd", "learning_rate": 0.5}
    member = folded(blobs(rows=90), optimizer=sgd, training={"epochs": 60, "early_stopping": stopping})
    outcome = run(member).outcomes[0]
    solo = [run(replace(plain(member), data=data)).outcomes[0] for data in member.folds]
    assert len({one.epoch for one in solo} | {outcome.epoch}) > 1, "they end at different epochs"
    assert [outcome.metrics[f"fold{i}_val_loss"] for i in (1, 2, 3)] == [one.metrics["val_loss"] for one in solo]


def with_wild_fold(member: Member, part: int) -> Member:
    """Inputs of one fold so large that its model cannot stay finite."""
    data = list(member.folds)
    data[part] = replace(data[part], x_train=data[part].x_train * np.float32(1e38))
    return replace(member, folds=tuple(data))


def test_a_fold_that_diverges_leaves_a_hole_and_the_job_completes():
    member = with_wild_fold(folded(blobs(), net={"hidden": [9], "activation": "relu"}), 1)
    recorder, alone = run(member), run(plain(member))
    outcome = recorder.outcomes[0]
    assert outcome.kind is Ending.COMPLETED
    assert_same_arrays(outcome.parameters, alone.outcomes[0].parameters)
    assert [outcome.metrics[name] for name in ("fold2_val_loss", "cv_val_loss", "cv_val_loss_std")] == [None] * 3
    assert outcome.metrics["fold1_val_loss"] > 0


def test_a_job_that_diverges_ends_so_and_asks_no_more_of_its_folds():
    member = folded(blobs(), optimizer={"name": "sgd", "learning_rate": 1.0, "l2": 5e4}, training={"epochs": 50})
    recorder, alone = run(member), run(plain(member))
    assert vars(recorder.outcomes[0]) | {"parameters": 0} == vars(alone.outcomes[0]) | {"parameters": 0}
    assert recorder.outcomes[0].kind is Ending.DIVERGED


# ---- interruptions


def interrupted(member: Member, chunks: int, command: Command = Command.PAUSE) -> Recorder:
    """One step a chunk (the clock moves 1 s at every look), stopped at the given look."""
    ticks, looks = itertools.count(), itertools.count(1)
    recorder = Recorder(lambda _: command if next(looks) >= chunks else Command.CONTINUE)
    fit([member], BACKEND, recorder, recorder, clock=lambda: float(next(ticks)))
    return recorder


def test_a_job_paused_anywhere_goes_on_bit_for_bit():
    """Folds of 135 rows train longer than the job's 75: pauses fall before and after the job's own last step."""
    member = folded(blobs(rows=150), 10, training={"epochs": 2, "validation_fraction": 0.5, "checkpoint_every_s": 3.0})
    whole = run(member)
    own, last = member.total_steps, Member(member.spec, member.folds[0]).total_steps
    assert own < last
    seen = set()
    for chunks in range(1, last, 3):
        first = interrupted(member, chunks)
        if first.outcomes[0].kind is not Ending.PAUSED:
            break
        state = first.checkpoints[0][-1]
        assert all(np.issubdtype(array.dtype, np.number) for array in state.values())
        seen.add("outcome" in state)
        second = run(replace(member, state=state))
        assert first.curve() + second.curve() == whole.curve()
        assert vars(second.outcomes[0]) | {"parameters": 0} == vars(whole.outcomes[0]) | {"parameters": 0}
        assert_same_arrays(second.outcomes[0].parameters, whole.outcomes[0].parameters)
    assert seen == {False, True}


def test_every_checkpoint_leads_to_the_same_end_and_shows_the_jobs_own_parameters():
    member = folded(blobs(rows=150), 4, training={"epochs": 2, "checkpoint_every_s": 2.0})
    recorder, whole = interrupted(member, 10**9), run(member)
    assert len(recorder.checkpoints[0]) >= 3
    for state in recorder.checkpoints[0]:
        assert state["parameters"].shape == (member.layout.count,)
        outcome = run(replace(member, state=state)).outcomes[0]
        assert outcome.metrics == whole.outcomes[0].metrics
        assert_same_arrays(outcome.parameters, whole.outcomes[0].parameters)


def test_a_cancelled_job_has_no_figures():
    outcome = interrupted(folded(blobs()), 4, Command.CANCEL).outcomes[0]
    assert (outcome.kind, outcome.metrics) == (Ending.CANCELLED, {})


# ---- halts


def halted_through(member: Member, halts: list[int]) -> tuple[list[Recorder], Recorder]:
    """Run to each of the epochs in turn, from where the one before has left, and then to the end."""
    seen, state = [], None
    for halt in halts:
        seen.append(run(replace(member, state=state, halt_epoch=halt)))
        state = seen[-1].checkpoints[0][-1]
    return seen, run(replace(member, state=state))


@pytest.mark.parametrize("engine", ["layered", "compiled"])
def test_a_halt_is_measured_by_every_fold_after_as_many_epochs_of_its_own(engine, monkeypatch):
    """Folds of 135 rows make more steps in an epoch than the job's 75: they come to the halt one after another."""
    if engine == "layered":
        monkeypatch.setenv(COMPILED_VARIABLE, "0")
    member = folded(blobs(rows=150), 10, training={"epochs": 6, "validation_fraction": 0.5})
    whole = run(member)
    halts, last = halted_through(member, [1, 3])
    for epoch, recorder in zip((1, 3), halts, strict=True):
        outcome = recorder.outcomes[0]
        assert (outcome.kind, outcome.epoch) == (Ending.HALTED, epoch)
        solo = [run(replace(plain(member), data=data)).curve()[epoch - 1] for data in member.folds]
        for name in ("val_loss", "val_accuracy"):
            assert [outcome.metrics[f"fold{i}_{name}"] for i in range(1, 11)] == [point[name] for point in solo]
            assert outcome.metrics[f"cv_{name}"] == pytest.approx(np.mean([point[name] for point in solo]))
    assert halts[0].curve() + halts[1].curve() + last.curve() == whole.curve()
    assert last.outcomes[0].metrics == whole.outcomes[0].metrics
    assert_same_arrays(last.outcomes[0].parameters, whole.outcomes[0].parameters)


def test_a_halt_reached_before_a_crash_is_told_again_with_the_same_figures():
    member = folded(blobs(rows=150), 4, training={"epochs": 6, "validation_fraction": 0.5})
    first = run(replace(member, halt_epoch=2))
    again = run(replace(member, halt_epoch=2, state=first.checkpoints[0][-1]))
    assert again.outcomes[0].kind is Ending.HALTED
    assert again.outcomes[0].metrics == first.outcomes[0].metrics


def test_parts_that_have_stopped_before_the_halt_count_with_their_best():
    stopping = {"metric": "val_loss", "patience": 1, "min_delta": 1e-3}
    sgd = {"name": "sgd", "learning_rate": 0.5}
    member = folded(blobs(rows=90), optimizer=sgd, training={"epochs": 60, "early_stopping": stopping})
    solo = [run(replace(plain(member), data=data)).outcomes[0] for data in (member.data, *member.folds)]
    ends = sorted(one.epoch for one in solo)
    assert ends[0] < ends[-1], "some stop before others"
    halt = ends[0] if ends[0] < ends[1] else ends[-1] - 1
    first = run(replace(member, halt_epoch=halt))
    outcome = first.outcomes[0]
    assert outcome.kind is Ending.HALTED
    for i, one in enumerate(solo[1:], start=1):
        if one.epoch <= halt:
            assert outcome.metrics[f"fold{i}_val_loss"] == one.metrics["val_loss"]
    whole, last = run(member), run(replace(member, state=first.checkpoints[0][-1]))
    assert last.outcomes[0].metrics == whole.outcomes[0].metrics
    assert_same_arrays(last.outcomes[0].parameters, whole.outcomes[0].parameters)


def test_a_job_whose_own_model_has_stopped_halts_with_its_folds_and_its_checkpoint_says_where():
    stopping = {"metric": "val_loss", "patience": 1, "min_delta": 1e-3}
    sgd = {"name": "sgd", "learning_rate": 0.5}
    for seed in range(20):
        training = {"epochs": 60, "seed": seed, "early_stopping": stopping}
        member = folded(blobs(rows=90), optimizer=sgd, training=training)
        own, *folds = [run(replace(plain(member), data=data)).outcomes[0] for data in (member.data, *member.folds)]
        if own.epoch < max(fold.epoch for fold in folds) - 1:
            break
    halt, told = own.epoch + 1, []

    class Told(Recorder):
        def checkpoint(self, member, state, step, epoch):
            told.append((step, epoch, "outcome" in state))
            super().checkpoint(member, state, step, epoch)

    recorder = Told()
    fit([replace(member, halt_epoch=halt)], BACKEND, recorder, recorder)
    assert told[-1] == (halt * member.steps_per_epoch, halt, True)
    outcome = recorder.outcomes[0]
    assert (outcome.kind, outcome.metrics["val_loss"]) == (Ending.HALTED, own.metrics["val_loss"])
    last = run(replace(member, state=recorder.checkpoints[0][-1]))
    assert last.outcomes[0].metrics == run(member).outcomes[0].metrics


# ---- what cannot be


@pytest.mark.parametrize(
    ("training", "spec", "pointer"),
    [
        ({"folds": 1}, {}, "/training/folds"),
        ({"folds": 21}, {}, "/training/folds"),
        ({"folds": 2.0}, {}, "/training/folds"),
        ({"folds": 5, "validation_fraction": 0.0}, {}, "/training/folds"),
        ({"folds": 5}, {"optimizer": "random_search"}, "/training/folds"),
    ],
)
def test_folds_that_cannot_be_are_refused_at_the_field(training, spec, pointer):
    with pytest.raises(InvalidInput) as caught:
        spec_for(blobs(), training=training, **spec)
    assert [error.pointer for error in caught.value.errors] == [pointer]


def test_too_few_rows_for_the_folds_are_refused():
    with pytest.raises(InvalidInput, match="has 7 rows"):
        spec_for(blobs(rows=7), training={"folds": 8})
    x = np.arange(8.0)[:, None]
    table = Table.from_arrays(x, np.array([0, 0, 0, 0, 1, 1, 1, 2]), classes=["a", "b", "c"])
    with pytest.raises(InvalidInput, match="class 'c'"):
        prepare_folds(table, spec_for(table, training={"folds": 2}))


def test_the_figures_are_plain_json():
    json.dumps(run(folded(blobs())).outcomes[0].metrics, allow_nan=False)
