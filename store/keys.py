"""Every Redis key of the project, in one place; the Lua scripts get their names from here too.

job {id}            hash     the record: the truth about a job
events {id}         stream   the job's event log, ids 0-1, 0-2, … without holes
curve {id}          string   the columns of its metric events, where it has ended after many; see `packed`
jobs                zset     every job, score = creation sequence
status {s}          zset     … with this status        } all with the same score, so that
tag {t}             zset     … with this tag           } any filter is one range query
both {s} {t}        zset     … with this status and tag
queue               zset     queued jobs, lowest score next: -priority * 1e13 + sequence
queue {device}      zset     … those that name a GPU, or need any (`cuda`), which only its workers take; not in `queue`
line {queue} {o}    zset     … with the same score: those of one owner (`owner` of the record; "" where it has none)
owners {queue}      zset     … owner -> the score of its first job
turns {priority}    hash     owner -> when it last led with such a job, by a count of all that led; at first by its
                             first job
turn                string   that count
stack {key} {owner} zset     … those of an owner that may train together: in its line as well, with the same score
owners {key}        set      … whose they are
tags {key} {owner}  zset     … first tag ("" for none) -> the score of its first job
share {key} {o} {t} zset     … with the same score: of one owner and first tag
leases              zset     held jobs, score = the time in ms at which the holder is given up
idempotency {hash}  string   "<sha256 of the body> <job id>", kept 24 h
deleted {id}        string   the sequence of a deleted job, kept 1 h, so that a page cursor outlives it
claimed {token}     string   ids taken by one claim, kept 60 s, so that a repeated call gets the same answer
dataset {id}        hash     a data set's record; dataset_jobs {id}: set of unfinished jobs that read it
sweeps              zset     every sweep, score = creation sequence
sweep {id}          hash     what a sweep tries; `version` counts what happened to its trials
trials {id}         hash     job id -> "state place rung value …", where a sweep halves (see `halving`)
undecided           set      sweeps whose trials have moved since somebody last decided about them
swept {id} {s}      zset     the jobs of a sweep, and those with this status
worker {id}         string   what a worker says of itself (JSON), gone when it stops saying it
data_dir            string   which data directory holds the files of all this (JSON); see `identity`
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType

PREFIX = "mlpq:"

NOTIFY = PREFIX + "notify"
"""Pub/sub channel: every script that writes to a job says its id here."""

ENDED = PREFIX + "ended"
"""Pub/sub channel: who ends a job says its id here and, behind a space, that of its sweep if it has one."""

TEMPLATES: Mapping[str, str] = MappingProxyType(
    {
        "job": PREFIX + "job:%s",
        "events": PREFIX + "job:%s:events",
        "curve": PREFIX + "job:%s:curve",
        "jobs": PREFIX + "jobs",
        "status": PREFIX + "jobs:status:%s",
        "tag": PREFIX + "jobs:tag:%s",
        "both": PREFIX + "jobs:both:%s:%s",
        "queue": PREFIX + "queue",
        "device_queue": PREFIX + "queue:%s",
        "line": "%s:line:%s",
        "owners": "%s:owners",
        "turns": PREFIX + "turns:%s",
        "turn": PREFIX + "turn",
        "stack": PREFIX + "queue:stack:%s:line:%s",
        "stack_owners": PREFIX + "queue:stack:%s:owners",
        "stack_tags": PREFIX + "queue:stack:%s:tags:%s",
        "stack_share": PREFIX + "queue:stack:%s:share:%s:%s",
        "leases": PREFIX + "leases",
        "sequence": PREFIX + "sequence",
        "idempotency": PREFIX + "idempotency:%s",
        "deleted": PREFIX + "deleted:%s",
        "claimed": PREFIX + "claimed:%s",
        "datasets": PREFIX + "datasets",
        "dataset": PREFIX + "dataset:%s",
        "dataset_jobs": PREFIX + "dataset:%s:jobs",
        "sweeps": PREFIX + "sweeps",
        "sweep": PREFIX + "sweep:%s",
        "trials": PREFIX + "sweep:%s:trials",
        "undecided": PREFIX + "sweeps:undecided",
        "swept": PREFIX + "jobs:sweep:%s",
        "swept_both": PREFIX + "jobs:sweep:%s:%s",
        "workers": PREFIX + "workers",
        "worker": PREFIX + "worker:%s",
        "data_dir": PREFIX + "data_dir",
        "wakeups": PREFIX + "wakeups",
        "reaper_last": PREFIX + "reaper:last",
        "reaper_grace": PREFIX + "reaper:grace",
    }
)
"""Names with `%s` for each variable part; Lua formats the very same strings."""

JOBS = TEMPLATES["jobs"]
QUEUE = TEMPLATES["queue"]
LEASES = TEMPLATES["leases"]
DATASETS = TEMPLATES["datasets"]
WORKERS = TEMPLATES["workers"]
SWEEPS = TEMPLATES["sweeps"]
UNDECIDED = TEMPLATES["undecided"]
DATA_DIR = TEMPLATES["data_dir"]


def job(job_id: str) -> str:
    """The record of a job."""
    return TEMPLATES["job"] % job_id


def events(job_id: str) -> str:
    """The event stream of a job."""
    return TEMPLATES["events"] % job_id


def curve(job_id: str) -> str:
    """The columns of a curve that has ended."""
    return TEMPLATES["curve"] % job_id


def index(status: str | None = None, tag: str | None = None) -> str:
    """The index that holds exactly the jobs with this status and this tag (None: any)."""
    if status is not None and tag is not None:
        return TEMPLATES["both"] % (status, tag)
    if status is not None:
        return TEMPLATES["status"] % status
    if tag is not None:
        return TEMPLATES["tag"] % tag
    return JOBS


def sweep(sweep_id: str) -> str:
    """The record of a sweep."""
    return TEMPLATES["sweep"] % sweep_id


def trials(sweep_id: str) -> str:
    """How far the trials of a sweep are that halves."""
    return TEMPLATES["trials"] % sweep_id


def swept(sweep_id: str, status: str | None = None) -> str:
    """The index that holds exactly the jobs of this sweep with this status (None: any)."""
    return TEMPLATES["swept"] % sweep_id if status is None else TEMPLATES["swept_both"] % (sweep_id, status)


def idempotency(key: str) -> str:
    """Where the answer to an `Idempotency-Key` is kept; the client's text is hashed, whatever its length."""
    return TEMPLATES["idempotency"] % hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def dataset(dataset_id: str) -> str:
    """The record of a data set."""
    return TEMPLATES["dataset"] % dataset_id


def dataset_jobs(dataset_id: str) -> str:
    """The unfinished jobs that use a data set."""
    return TEMPLATES["dataset_jobs"] % dataset_id


def device_queue(device: str) -> str:
    """The queued jobs that name this GPU; those that need any, for `cuda`."""
    return TEMPLATES["device_queue"] % device


def line(queue: str, owner: str) -> str:
    """The jobs of one owner in a queue, which is named by its key."""
    return TEMPLATES["line"] % (queue, owner)


def owners(queue: str) -> str:
    """Whose jobs wait in a queue, which is named by its key."""
    return TEMPLATES["owners"] % queue


def turns(priority: int) -> str:
    """When owners last led with a job of this priority."""
    return TEMPLATES["turns"] % priority


def stack(key: str, owner: str) -> str:
    """The queued jobs of one owner that may train together."""
    return TEMPLATES["stack"] % (key, owner)


def stack_owners(key: str) -> str:
    """Whose the queued jobs are that may train together."""
    return TEMPLATES["stack_owners"] % key


def stack_tags(key: str, owner: str) -> str:
    """The first tags of those of one owner."""
    return TEMPLATES["stack_tags"] % (key, owner)


def stack_share(key: str, owner: str, tag: str) -> str:
    """Those of one owner and first tag."""
    return TEMPLATES["stack_share"] % (key, owner, tag)


def worker(worker_id: str) -> str:
    """What a worker last said of itself."""
    return TEMPLATES["worker"] % worker_id
