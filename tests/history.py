"""The history checker: what must be true of every accepted job, whatever was killed while it ran.

It reads the store alone (records, event logs, files), so it holds for workers driven directly and through HTTP.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from store.events import Event, EventLog
from store.jobs import JobStore
from store.records import Job
from store.transitions import TERMINAL, TRANSITIONS, Status

_CLOCK_FIELDS = frozenset({"samples_per_s", "attempt"})
"""Fields of a metric point that may differ between two runs of the same job."""


@dataclass(frozen=True)
class History:
    """One job and everything its log says."""

    job: Job
    events: tuple[Event, ...]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The data of every metric event, in order."""
        return [json.loads(event.data) for event in self.events if event.type == "metric"]

    @property
    def curve(self) -> list[dict[str, Any]]:
        """The metric points without what depends on the clock: equal for equal runs, bit for bit."""
        return [{key: value for key, value in point.items() if key not in _CLOCK_FIELDS} for point in self.metrics]

    @property
    def statuses(self) -> list[Status]:
        """Every status the job passed through."""
        return [Status(json.loads(event.data)["status"]) for event in self.events if event.type == "status"]


def read_history(store: JobStore, job_id: str) -> History:
    """The record and the whole log of a job."""
    events: list[Event] = []
    while True:
        more = EventLog(store.redis).read(job_id, after=events[-1].id if events else 0, count=1000)
        if not more:
            return History(store.get(job_id), tuple(events))
        events += more


def check(store: JobStore, data_dir: Path, job_ids: Iterable[str]) -> list[History]:
    """Every law below, for each job that was accepted; each must have ended. Returns the histories."""
    histories = [read_history(store, job_id) for job_id in job_ids]
    for history in histories:
        check_log(history)
        check_end(history)
        check_curve(history)
        check_result(history, data_dir)
    return histories


def check_log(history: History) -> None:
    """Event ids are 1, 2, 3, … without holes, data is JSON without NaN, and every status move is legal."""
    job = history.job
    ids = [event.id for event in history.events]
    assert ids == list(range(1, len(ids) + 1)), f"{job.id}: event ids {ids[:50]} have holes"
    assert job.last_event == len(ids), f"{job.id}: the record counts {job.last_event} events, the log {len(ids)}"
    for event in history.events:
        _strict_json(event.data)
    moves = list(pairwise(history.statuses))
    illegal = [(source, to) for source, to in moves if to not in TRANSITIONS[source]]
    assert not illegal, f"{job.id}: illegal moves {illegal} in {history.statuses}"
    attempts = [json.loads(e.data)["attempt"] for e in history.events if e.type in {"status", "metric"}]
    assert attempts == sorted(attempts), f"{job.id}: attempts go back: {attempts}"


def check_end(history: History) -> None:
    """Exactly one terminal status, then `end`, then nothing; the record says the same."""
    job = history.job
    terminal = [status for status in history.statuses if status in TERMINAL]
    assert terminal == [job.status], f"{job.id} is {job.status}; its log ends {terminal}"
    ends = [event.id for event in history.events if event.type == "end"]
    assert ends == [len(history.events)], f"{job.id}: `end` at {ends} of {len(history.events)} events"
    assert job.worker_id is None, f"{job.id} has ended and is still held by {job.worker_id}"


def check_curve(history: History) -> None:
    """Metric steps strictly increase: no point is told twice, whatever was repeated."""
    steps = [point["step"] for point in history.metrics]
    assert all(a < b for a, b in pairwise(steps)), f"{history.job.id}: steps {steps}"


def check_result(history: History, data_dir: Path) -> None:
    """A succeeded job has one published result, whose file has the recorded size and sha256."""
    job = history.job
    if job.status is Status.SUCCEEDED:
        assert job.result is not None, f"{job.id} succeeded without a result"
    if job.result is not None:
        content = result_path(job, data_dir).read_bytes()
        assert hashlib.sha256(content).hexdigest() == job.result["sha256"], f"{job.id}: its file is not what it says"
        assert len(content) == job.result["bytes"]


def result_path(job: Job, data_dir: Path) -> Path:
    """Where the published result lies."""
    assert job.result is not None
    return data_dir / "artifacts" / str(job.result["key"])


def assert_same_run(one: History, data_dir: Path, other: History, other_dir: Path) -> None:
    """Two runs of one spec are the same: equal curves and bit-identical weights."""
    assert one.curve == other.curve, _first_difference(one.curve, other.curve)
    import numpy as np

    with np.load(result_path(one.job, data_dir)) as a, np.load(result_path(other.job, other_dir)) as b:
        assert a.files == b.files
        for name in a.files:
            if name != "meta":
                assert a[name].tobytes() == b[name].tobytes(), f"{name} of {one.job.id} and {other.job.id} differ"


def _first_difference(one: Sequence[Any], other: Sequence[Any]) -> str:
    for position, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return f"point {position}: {a} != {b}"
    return f"{len(one)} points and {len(other)}"


def _strict_json(data: bytes) -> None:
    def refuse(word: str) -> float:
        raise AssertionError(f"{word} is not JSON")

    value = json.loads(data, parse_constant=refuse)
    assert isinstance(value, dict)
    assert not any(isinstance(item, float) and not math.isfinite(item) for item in value.values())
