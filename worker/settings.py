"""What a worker is told when it starts, and the clocks it runs by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HEARTBEAT_S = 0.25
"""Seconds between lease renewals while nothing else is written; each brings back cancel and pause."""

BATCH_S = 0.05
"""Seconds between two writes of events; the first after a silence goes out at once."""

BATCH_EVENTS = 500
"""Most events in one write: bounds how long the script holds the server."""

BATCH_EACH_S = 0.005
"""Seconds more between two writes of events for each model of a stack: they share one round trip."""

BOARDING_S = 0.1
"""Seconds between two looks for queued jobs that could join a stack; one more whenever a model leaves it."""

LOOK_FURTHER = 16
"""Queued jobs that are looked at beyond those which a stack has room for: some of them may not fit."""

LOOK_FURTHEST = 1024
"""The same where none of so many fits; each look goes twice as far, until one does."""

GATHER = 4
"""Jobs that board together: with each boarding a stack on a GPU is put together anew, one on a CPU is copied."""

GATHER_S = 0.03
"""Seconds that a job which is ready to board waits for others."""

AHEAD_S = 0.5
"""Seconds before a model leaves the stack that a job may be claimed for its seat: to prepare one takes a while."""

AHEAD_MOST = 16
"""Jobs that wait for a seat at most."""

RUN_MOST_JOBS = 1000
"""Jobs that one stack takes in one after another; then it ends, and the worker looks after itself."""

STACK_MOST = 16
"""Most models of a stack on a CPU: as quick as any number, and results come one after another."""

STACK_MOST_GPU = 512
"""Most models of a stack on a GPU."""

ABANDON_S = 0.5
"""Seconds that a run which is to end, and is still being prepared, gets to begin and stop by itself."""

EXPLAIN_S = 1.0
"""Seconds after which a run that waits for code to be compiled is told so."""

OUTAGE_RETRY_S = 0.5
"""Seconds between attempts to reach a Redis that is away."""

DEQUEUE_S = 1
"""Seconds of one blocking pop: how late an idle worker sees SIGTERM, and a partition."""

RQ_HEARTBEAT_S = 30.0
"""Seconds between renewals of RQ's own worker key (it lives for minutes)."""

REGISTRY_S = 1.0
"""Seconds between reports to the worker registry."""

INTERMEDIATE_SWEEP_S = 60.0
"""An entry of RQ's intermediate list that is older than this belongs to a worker that died."""

RECYCLE_AFTER_RUNS = 1000
"""Runs after which the training process is replaced by a fresh one."""

GIVE_BACK_S = 20.0
"""Seconds the training process gets after SIGTERM to checkpoint and give its job back."""

GIVE_BACK_OUTAGE_S = 5.0
"""Seconds of those it waits for a Redis that is away; then the lease runs out by itself."""

RESTART_PAUSE_S = (0.0, 0.5, 1.0, 2.0, 5.0)
"""Pauses before a training process that could not even start is started again; the last one repeats."""

DATA_CACHE_BYTES = 256 * 2**20
"""Bound on the prepared data sets that the training process keeps between jobs."""

SWITCH_S = 0.0005
"""Seconds that a thread computes in Python while others wait: those that train need it for a moment between two calls
of compiled code, and processors wait with them."""

NICE = 10
"""By how much the training process gives way to the service and to Redis: a page that takes them a few milliseconds of
the processors waits for many turns of its threads otherwise."""

LEAST_URGENT = 19
"""Most that a process can give way on Linux; 0 is not at all."""

EXIT_UNUSABLE = 3
"""Exit status of a training process that can never work as it was told to (no such device)."""


@dataclass(frozen=True)
class Settings:
    """Command line of one worker, checked."""

    redis_url: str
    data_dir: Path
    device: str
    name: str
    recycle_after: int = RECYCLE_AFTER_RUNS
    nice: int = NICE
