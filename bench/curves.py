"""Jobs that have ended with long curves, written into a store by hand: training them would take hours."""

from __future__ import annotations

import math
import random
from typing import Any

from redis import Redis

from bench.listing import SPEC
from store import keys
from store.curves import Curves
from store.records import encode
from store.transitions import Status

BATCH = 1000


def job_id_of(number: int) -> str:
    """The id of the job with this number, from 1."""
    return f"job_{number:020x}"


Spike = tuple[int, float]
"""A step, and what the validation loss is there."""


def fill_curves(redis: Redis, jobs: int, points: int, kinds: int = 10, spike: Spike | None = None) -> list[str]:
    """Write `jobs` jobs of `points` metric events each, as the store and the worker would have left them; their ids.

    There are `kinds` different curves, of which the others are copies.
    """
    first = int(redis.get(keys.TEMPLATES["sequence"]) or 0) + 1
    for number in range(first, first + jobs):
        if number < first + kinds:
            _write_events(redis, number, points, spike)
        else:
            original = first + (number - first) % kinds
            redis.copy(keys.events(job_id_of(original)), keys.events(job_id_of(number)))
        _write_record(redis, number, points)
        Curves(redis).keep(job_id_of(number))
    redis.set(keys.TEMPLATES["sequence"], first + jobs - 1)
    return [job_id_of(number) for number in range(first, first + jobs)]


def _point(number: int, step: int, noise: random.Random) -> dict[str, Any]:
    decay = math.exp(-step / (500 * (1 + number % 7)))
    return {
        "step": step,
        "epoch": step,
        "train_loss": 0.1 + decay + 0.02 * noise.random(),
        "val_loss": 0.15 + decay + 0.05 * noise.random(),
        "val_accuracy": 0.95 - 0.5 * decay - 0.02 * noise.random(),
        "learning_rate": 0.01,
        "samples_per_s": 1e5,
        "attempt": 1,
    }


def _write_events(redis: Redis, number: int, points: int, spike: Spike | None) -> None:
    key, noise = keys.events(job_id_of(number)), random.Random(number)
    for first in range(1, points + 1, BATCH):
        with redis.pipeline(transaction=False) as pipe:
            for step in range(first, min(first + BATCH, points + 1)):
                point = _point(number, step, noise)
                if spike is not None and step == spike[0]:
                    point["val_loss"] = spike[1]
                pipe.xadd(key, {"type": "metric", "data": encode(point), "at": 1}, id=f"0-{step}")
            pipe.execute()
    end = encode({"status": "succeeded"})
    redis.xadd(key, {"type": "end", "data": end, "at": 1}, id=f"0-{points + 1}")


def _write_record(redis: Redis, number: int, points: int) -> None:
    job, last = job_id_of(number), _point(number, points, random.Random(number))
    spec = SPEC | {"optimizer": SPEC["optimizer"] | {"learning_rate": 0.001 * number}}
    record: dict[str, Any] = {
        "id": job,
        "name": f"curve {number}",
        "status": Status.SUCCEEDED.value,
        "status_reason": "completed",
        "dataset": "digits",
        "spec": encode(spec),
        "tags": "[]",
        "metadata": "{}",
        "metrics": encode({name: last[name] for name in ("train_loss", "val_loss", "val_accuracy")}),
        "priority": 0,
        "sequence": number,
        "last_event": points + 1,
        "last_metric_step": points,
    }
    record |= dict.fromkeys(("attempt", "created_at_ms", "started_at_ms", "finished_at_ms", "updated_at_ms"), 1)
    record |= dict.fromkeys(("crashes", "fence"), 0)
    redis.hset(keys.job(job), mapping=record)
    for index in (keys.JOBS, keys.index(Status.SUCCEEDED)):
        redis.zadd(index, {job: number})
