"""What a run reports: points, early stopping, limits, schedules, threads."""

from __future__ import annotations

import itertools
import json
import time
from contextlib import ExitStack

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from kernels.numpy_backend import NumpyBackend
from nets.engine import LayeredEngine
from nets.evaluate import rows_looked_at
from nets.schedules import SCHEDULES, Horizon, learning_rates
from nets.threads import OneThread, blas_threads, threads_for
from nets.trainer import Command, Ending, fit
from tests.nets.support import BACKEND, Recorder, blobs, line, member_for, run


def test_every_epoch_has_a_point_with_plain_numbers():
    recorder = run(member_for(blobs(), training={"epochs": 7}))
    points = recorder.points[0]
    assert [p["epoch"] for p in points] == [1, 2, 3, 4, 5, 6, 7]
    keys = {"step", "epoch", "train_loss", "val_loss", "val_accuracy", "learning_rate", "samples_per_s"}
    assert all(p.keys() == keys for p in points)
    assert [p["step"] for p in points] == [4 * e for e in range(1, 8)]
    json.dumps(points, allow_nan=False)
    outcome = recorder.outcomes[0]
    assert outcome.metrics.keys() == {"train_loss", "train_accuracy", "val_loss", "val_accuracy"}
    assert outcome.metrics["val_loss"] == points[-1]["val_loss"]
    assert recorder.info[0]["backend"] == "numpy"


def test_long_runs_have_at_most_2000_points_and_always_the_last():
    recorder = run(member_for(blobs(rows=12), net={"hidden": []}, training={"epochs": 4001, "batch_size": 16}))
    epochs = [p["epoch"] for p in recorder.points[0]]
    assert epochs == [*range(3, 4001, 3), 4001]


def test_without_validation_rows_there_are_no_validation_figures():
    recorder = run(member_for(line(), training={"epochs": 2, "validation_fraction": 0.0}))
    assert recorder.points[0][0]["val_loss"] is None
    assert recorder.points[0][0]["val_r2"] is None
    assert recorder.outcomes[0].metrics.keys() == {"train_loss", "train_r2"}


def test_train_loss_of_a_still_net_is_its_mean_loss():
    spec = {"optimizer": {"name": "sgd", "learning_rate": 1e-30, "l2": 0.0}, "net": {"hidden": [5]}}
    recorder = run(member_for(blobs(rows=101), **spec, training={"epochs": 1, "precision": "float64"}))
    assert recorder.points[0][0]["train_loss"] == pytest.approx(recorder.outcomes[0].metrics["train_loss"], rel=1e-12)


def test_final_training_figures_of_large_sets_are_taken_on_evenly_spaced_rows(monkeypatch):
    member = member_for(blobs(rows=700), training={"epochs": 1})
    whole = run(member).outcomes[0].metrics
    monkeypatch.setattr("nets.evaluate.MAX_TRAIN_ROWS", 200)
    sampled = run(member).outcomes[0].metrics
    assert sampled["train_loss"] != whole["train_loss"]
    assert sampled["train_loss"] == pytest.approx(whole["train_loss"], rel=0.3)
    assert sampled["val_loss"] == whole["val_loss"]


def test_early_stopping_stops_after_patience_and_restores_the_best():
    stopping = {"metric": "val_loss", "patience": 4, "min_delta": 0.0, "restore_best": True}
    training = {"epochs": 500, "early_stopping": stopping}
    recorder = run(member_for(blobs(), net={"hidden": [64]}, training=training, schedule="constant"))
    outcome, losses = recorder.outcomes[0], [p["val_loss"] for p in recorder.points[0]]
    assert outcome.kind is Ending.EARLY_STOPPED
    best = int(np.argmin(losses))
    assert outcome.epoch == len(losses) == best + 1 + 4
    assert outcome.metrics["val_loss"] == losses[best]
    kept = run(member_for(blobs(), net={"hidden": [64]}, schedule="constant",
                          training={**training, "early_stopping": {**stopping, "restore_best": False}}))  # fmt: skip
    assert kept.outcomes[0].metrics["val_loss"] == losses[-1]


@pytest.mark.parametrize("metric", ["val_accuracy", "train_loss"])
def test_early_stopping_on_other_metrics(metric):
    stopping = {"metric": metric, "patience": 3}
    recorder = run(member_for(blobs(), training={"epochs": 300, "early_stopping": stopping}))
    values = [p[metric] * (-1 if metric == "val_accuracy" else 1) for p in recorder.points[0]]
    outcome = recorder.outcomes[0]
    if outcome.kind is Ending.EARLY_STOPPED:
        assert outcome.epoch == int(np.argmin(values)) + 1 + 3
    assert outcome.metrics["train_loss"] < recorder.points[0][0]["train_loss"]


def test_max_runtime_ends_the_run_with_usable_weights():
    ticks = itertools.count()
    member = member_for(blobs(), training={"epochs": 100, "max_runtime_s": 5.0})
    outcome = run(member, clock=lambda: float(next(ticks))).outcomes[0]
    assert outcome.kind is Ending.EARLY_STOPPED
    assert "max_runtime_s" in outcome.reason
    assert 0 < outcome.step < member.total_steps
    assert outcome.metrics["val_loss"] is not None


def test_a_command_is_seen_within_a_chunk_of_50_ms():
    member = member_for(blobs(rows=4000), net={"hidden": [256, 256]}, training={"epochs": 1000})

    def script(_):
        return Command.CANCEL if time.monotonic() - started > 0.3 else Command.CONTINUE

    started = time.monotonic()
    recorder = run(member, script=script, threads=1)
    assert recorder.outcomes[0].kind is Ending.CANCELLED
    assert len(recorder.checkpoints[0]) == 1
    assert time.monotonic() - started < 2.0


def test_the_first_point_of_a_small_net_comes_at_once():
    run(member_for(blobs(), training={"epochs": 1}))  # whatever is made on first use
    member = member_for(blobs(), training={"epochs": 100_000})
    seen: list[float] = []

    class Impatient(Recorder):
        def metric(self, member, point):
            seen.append(time.perf_counter())

        def command(self, member):
            return Command.CANCEL if seen else Command.CONTINUE

    impatient, started = Impatient(), time.perf_counter()
    fit([member], BACKEND, impatient, impatient)
    assert len(seen) == 1
    assert seen[0] - started < 0.25  # typically 3 ms


def test_same_seed_same_bits_other_seed_other_bits():
    first, again, other = (run(member_for(blobs(), training={"epochs": 3, "seed": s})) for s in (1, 1, 2))
    assert first.curve() == again.curve()
    assert np.array_equal(first.outcomes[0].parameters["W1"], again.outcomes[0].parameters["W1"])
    assert first.curve() != other.curve()


def rates(name: str, count: int = 100, warmup: int = 0, **options) -> np.ndarray:
    row = SCHEDULES[name]
    chosen = {o.name: o.default for o in row.options} | options
    return learning_rates(row, chosen, warmup, 2.0, 0, count, Horizon(count, 10))


def test_schedules_by_their_formulas():
    assert (rates("constant") == 2).all()
    np.testing.assert_allclose(rates("step", every_epochs=2, gamma=0.5)[[0, 19, 20, 99]], [2, 2, 1, 2 / 16])
    np.testing.assert_allclose(rates("exponential", gamma=0.9)[[0, 9, 10, 99]], [2, 2, 1.8, 2 * 0.9**9])
    np.testing.assert_allclose(rates("linear", final=0.5)[[0, 99]], [2, 1])
    np.testing.assert_allclose(rates("cosine", 101)[[0, 25, 50, 100]], [2, 1 + np.sqrt(0.5), 1, 0], atol=1e-12)
    cycle = rates("one_cycle", 101, start=0.1, peak_at=0.4)
    np.testing.assert_allclose(cycle[[0, 40, 100]], [0.2, 2, 0], atol=1e-12)
    assert cycle.argmax() == 40
    np.testing.assert_allclose(rates("constant", warmup=4)[:5], [0.5, 1, 1.5, 2, 2])


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_do_not_depend_on_where_a_chunk_begins(name):
    row, options = SCHEDULES[name], {o.name: o.default for o in SCHEDULES[name].options}
    horizon = Horizon(60, 6)
    whole = learning_rates(row, options, 7, 0.3, 0, 60, horizon)
    parts = [learning_rates(row, options, 7, 0.3, i, 13, horizon)[: 60 - i] for i in range(0, 60, 13)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert (whole >= 0).all()
    assert whole.max() <= 0.3


def test_small_products_get_one_thread_and_the_setting_is_given_back():
    from threadpoolctl import threadpool_info

    def threads() -> list[int]:
        pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas" and "numpy" in pool["filepath"]]
        return [pool["num_threads"] for pool in pools]

    before = threads()
    assert before
    with blas_threads(1):
        assert set(threads()) == {1}
    assert threads() == before
    assert threads_for((64, 32, 10), 64) == 1
    assert threads_for((3072, 1024, 10), 256) >= 1


class Reads(NumpyBackend):
    """Counts what is read from the device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def to_host(self, array):
        self.count += 1
        return super().to_host(array)


@pytest.mark.parametrize("net", [{}, {"dropout": 0.3, "batch_norm": True}], ids=["plain", "regularised"])
def test_steps_read_nothing_from_the_device_and_losses_are_drained_later(net):
    member = member_for(blobs(), net={"hidden": [8], **net}, training={"batch_size": 16})
    backend, other = Reads(), LayeredEngine([member], BACKEND)
    engine = LayeredEngine([member], backend)
    before = backend.count
    for _ in range(3):
        engine.advance(2)
    assert backend.count == before, "work is only enqueued"
    found = engine.drain()
    assert backend.count == before + 3, "one read a chunk"
    other.advance(6)
    assert np.array_equal(found, other.drain())


def test_the_last_look_at_training_rows_is_short_for_short_jobs_of_many_rows():
    assert rows_looked_at(600, epochs=1) == 600
    assert rows_looked_at(5000, epochs=4) == 1024
    assert rows_looked_at(20_000, epochs=2) == 2000
    assert rows_looked_at(20_000, epochs=100) == 4096


def test_one_thread_holds_while_anybody_is_inside_and_is_lifted_with_the_last():
    def threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if "numpy" in pool["filepath"]}

    with blas_threads(2):
        before, alone = threads(), OneThread()
        first, second = ExitStack(), ExitStack()
        first.enter_context(alone)
        second.enter_context(alone)
        assert threads() == {1}
        first.close()
        assert threads() == {1}, "the second is still inside"
        second.close()
        assert threads() == before == {2}
