"""Curves as columns: every point once, what was read is not read again, extremes stay when they are thinned."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
import pytest
from redis import Redis

from kernels.errors import InvalidInput
from store import keys
from store.curves import KEPT_POINTS, Columns, Curves
from store.jobs import JobStore
from store.thinning import thin
from store.transitions import Status
from tests.store.store_parts import job_with_metrics


@pytest.fixture
def store(redis: Redis) -> JobStore:
    return JobStore(redis)


def reads(redis: Redis) -> int:
    told: Any = redis.info("commandstats")
    return int(told["cmdstat_xrange"]["calls"]) if "cmdstat_xrange" in told else 0


def test_columns_hold_every_point_and_none_where_there_is_no_value(redis: Redis, store: JobStore) -> None:
    claim = job_with_metrics(store, 30)
    store.write(claim, events=[("metric", {"step": 30, "val_loss": 0.5}), ("metric", {"step": 31, "loss": None})])
    found = Curves(redis).of(claim.job_id)
    columns = found.lists()
    assert list(columns) == ["step", "loss", "val_loss"]
    assert columns["step"] == list(range(32))
    assert all(isinstance(step, int) for step in columns["step"])
    assert columns["loss"][-3:] == [1 / 30, None, None]
    assert columns["val_loss"] == [None] * 30 + [0.5, None]
    assert found.rows(after_step=28).lists()["step"] == [29, 30, 31]
    assert found.rows(after_step=4, until_step=6).lists()["step"] == [5, 6]
    assert found.only(["val_loss", "nothing"]).lists().keys() == {"step", "val_loss"}
    assert Curves(redis).of("job_none").lists() == {"step": []}
    with pytest.raises(InvalidInput, match="/query/max_points: is 1; must be 2 or more"):
        found.rows(max_points=1)


def test_a_curve_goes_on_where_it_was_read_to_and_is_not_read_again_after_its_end(
    redis: Redis, store: JobStore
) -> None:
    claim, curves = job_with_metrics(store, 3), Curves(redis)
    assert curves.of(claim.job_id).length == 3
    store.write(claim, events=[("metric", {"step": 3, "val_loss": 0.5})])
    assert curves.of(claim.job_id).lists() == Curves(redis).of(claim.job_id).lists()
    assert curves.of(claim.job_id).lists()["val_loss"] == [None, None, None, 0.5]
    store.finish(claim, Status.SUCCEEDED)
    assert curves.of(claim.job_id).ended
    before = reads(redis)
    assert curves.of(claim.job_id).length == 4
    assert reads(redis) == before


def test_the_columns_of_a_long_curve_are_kept_when_it_has_ended_and_its_events_are_not_read_again(
    redis: Redis, store: JobStore
) -> None:
    claim = job_with_metrics(store, KEPT_POINTS)
    store.write(claim, events=[("metric", {"step": KEPT_POINTS, "val_loss": 0.5, "loss": None})])
    Curves(redis).keep(claim.job_id)
    assert not redis.exists(keys.curve(claim.job_id)), "it may go on"
    store.finish(claim, Status.SUCCEEDED)
    redis.config_set("maxmemory", "1mb")
    assert Curves(redis).of(claim.job_id).ended, "a full store is read all the same"
    assert not redis.exists(keys.curve(claim.job_id))
    redis.config_set("maxmemory", 0)
    from_events = Curves(redis).of(claim.job_id)
    before = reads(redis)
    kept = Curves(redis).of(claim.job_id)
    assert reads(redis) == before
    assert kept.ended
    assert orjson.dumps(kept.lists()) == orjson.dumps(from_events.lists())
    assert kept.rows(max_points=100).lists() == from_events.rows(max_points=100).lists()
    store.delete(claim.job_id)
    Curves(redis).keep(claim.job_id)
    assert not redis.exists(keys.curve(claim.job_id)), "it goes with its job"


def test_short_curves_and_those_of_jobs_that_are_gone_are_not_kept(redis: Redis, store: JobStore) -> None:
    short, gone = job_with_metrics(store, KEPT_POINTS - 1), job_with_metrics(store, KEPT_POINTS)
    curves = Curves(redis)
    for claim in (short, gone):
        store.finish(claim, Status.SUCCEEDED)
        curves.of(claim.job_id)
    store.delete(gone.job_id)
    for claim in (short, gone):
        curves.keep(claim.job_id)
        assert not redis.exists(keys.curve(claim.job_id))


def test_a_history_longer_than_one_read_is_whole(redis: Redis) -> None:
    with redis.pipeline(transaction=False) as pipe:
        for n in range(12_000):
            fields = {"type": "metric", "data": orjson.dumps({"step": n}), "at": 0}
            pipe.xadd(keys.events("job_long"), fields, id=f"0-{n + 1}")
        pipe.execute()
    assert Curves(redis).of("job_long").lists()["step"] == list(range(12_000))


def test_what_was_asked_for_longest_ago_is_forgotten_first(redis: Redis, store: JobStore) -> None:
    claims = [job_with_metrics(store, 100) for _ in range(3)]
    curves = Curves(redis, held_bytes=2 * 100 * 16)
    for claim in (claims[0], claims[1], claims[0], claims[2]):
        curves.of(claim.job_id)
    assert list(curves._held) == [claims[0].job_id, claims[2].job_id]


@pytest.mark.parametrize("length", [0, 1, 2, 3, 7, 100, 1001])
@pytest.mark.parametrize("most", [2, 3, 10, 100])
@pytest.mark.parametrize("columns", [1, 3])
def test_thinning_keeps_first_last_and_no_more_than_was_asked_for(length: int, most: int, columns: int) -> None:
    noise = np.random.default_rng(length).normal(size=(columns, length))
    kept = thin(list(noise), most)
    assert len(kept) == length if length <= most else most // 2 <= len(kept) <= most
    assert (np.diff(kept) > 0).all()
    if length:
        assert (kept[0], kept[-1]) == (0, length - 1)


def test_a_spike_stays_in_every_figure_however_few_points_are_asked_for() -> None:
    steps, rng = np.arange(10_000), np.random.default_rng(0)
    spikes = {"train_loss": (1234, 9.0), "val_loss": (7777, -9.0), "val_accuracy": (5000, 50.0)}
    columns = {"step": steps} | {name: rng.normal(size=10_000) for name in spikes} | {"none": np.full(10_000, math.nan)}
    for name, (place, value) in spikes.items():
        columns[name][place] = value
    whole = Columns(columns)
    for most in (40, 500):
        rows = whole.rows(max_points=most).lists()
        assert len(rows["step"]) <= most
        for name, (place, value) in spikes.items():
            assert rows[name][rows["step"].index(place)] == value
            own, values = whole.curve(name, -1, None, most)
            assert most * 0.9 <= len(own) <= most
            assert values[own.tolist().index(place)] == value
    assert [len(part) for part in whole.curve("none", -1, None, 500)] == [0, 0]
    assert [len(part) for part in whole.curve("unknown", -1, None, 500)] == [0, 0]
