"""How many threads matrix products get: chosen once per run from its largest product, never per step."""

from __future__ import annotations

import math
import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from itertools import pairwise
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController

SMALL_PRODUCT = 1_000_001
"""Multiply-adds (m·k·n) of one product below which a second BLAS thread brings nothing: OpenBLAS computes
products up to 100³ by kernels of one thread."""

PROBE = 32
"""Turns of a team from one look at a single thread to the next."""
PROBE_TEAM = 8
"""Most turns of a single thread from one look at the team to the next: more is to be won."""
RECENT = 3
"""Turns of one size whose fastest counts: one that the system held up is no reason to change."""
TRIAL_S = 0.01
"""Seconds of a turn that only tries how fast a size is, one step at least: threads that slept begin late."""
FIRST_TURNS = (True, False, True)
"""Whether a run's first turns, which only try, are by a team."""


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@lru_cache(maxsize=1)
def available_threads() -> int:
    """Processors that this process may run on, and no more than BLAS was started with (OPENBLAS_NUM_THREADS)."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([processors, *(int(pool["num_threads"]) for pool in _controller().info() if pool["user_api"] == "blas")])


def threads_for(widths: tuple[int, ...], batch: int) -> int:
    """1 for small products, else every available processor. Depends on one model's shapes, never on M."""
    largest = max(i * o for i, o in pairwise(widths)) * batch
    return 1 if largest < SMALL_PRODUCT else available_threads()


class Pace:
    """Whether a step is faster by a team of threads or by one alone: tried out again and again while a run goes on.

    Nobody can know beforehand who else wants the processors: a team whose members wait for each other is slower than
    one thread where other programs are busy. Only for work whose result does not depend on the number of threads.

    That one thread is faster is looked at again after one turn, then after two, four, and so on: a run's first steps,
    whose memory is new and whose threads have slept, may have told so wrongly, and most is lost by that.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._recent: dict[int, deque[float]] = {size: deque(maxlen=RECENT) for size in (1, threads)}
        self._last_s = TRIAL_S
        self._turns = 0
        self._since_trial, self._until_team = 0, 1

    def team(self) -> int:
        """Threads for the next turn: each size tried on a few steps, then the faster; the other now and then again."""
        if self.threads == 1:
            return 1
        if self._turns < len(FIRST_TURNS):
            return self.threads if FIRST_TURNS[self._turns] else 1
        faster = self._faster()
        return 1 + self.threads - faster if self._tries() else faster

    def most_steps(self) -> int:
        """Steps that the next turn may have: few where it only tries."""
        if self.threads == 1 or not self._tries():
            return sys.maxsize
        return max(1, int(TRIAL_S / self._last_s))

    def took(self, team: int, steps: int, seconds: float) -> None:
        """What the turn took; the very first only warms, and one without steps tells nothing."""
        if steps == 0:
            return
        tried, before = self._tries(), self._faster()
        self._last_s = max(seconds / steps, 1e-9)
        if self._turns:
            self._recent[team].append(self._last_s)
        self._turns += 1
        self._since_trial = 0 if tried else self._since_trial + 1
        changed = self._turns <= len(FIRST_TURNS) or self._faster() != before
        if tried or changed:
            self._until_team = 1 if changed else min(2 * self._until_team, PROBE_TEAM)

    def _faster(self) -> int:
        return min(self._recent, key=lambda size: min(self._recent[size], default=math.inf))

    def _tries(self) -> bool:
        if self._turns < len(FIRST_TURNS):
            return True
        return self._since_trial >= (self._until_team if self._faster() == 1 else PROBE)


@contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """BLAS runs on `count` threads inside the block, as before after it."""
    available_threads()  # is remembered as it was without a limit
    with _controller().limit(limits=count, user_api="blas"):
        yield


class OneThread:
    """BLAS runs on one thread while anybody is in a block: `with alone: …`; blocks of several threads may overlap.

    For many products of a moderate size beside other programs: threads of a team would wait for each other.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._limit: AbstractContextManager[Any] | None = None

    def __enter__(self) -> None:
        """The first one in sets the limit."""
        with self._lock:
            available_threads()  # is remembered as it was without a limit
            self._inside += 1
            if self._limit is None:
                self._limit = _controller().limit(limits=1, user_api="blas")
                self._limit.__enter__()

    def __exit__(self, *_: object) -> None:
        """The last one out lifts it."""
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._limit is not None:
                self._limit.__exit__(None, None, None)
                self._limit = None


ALONE = OneThread()
"""For whatever this process does in many small products; one object, since each restores what it found."""

LARGE_PARAMETERS = 1_000_000
"""From this size on a net's products are worth a team of threads outside of training, too."""


def on_threads(count: int) -> AbstractContextManager[None]:
    """`blas_threads` for a long block in which others are `ALONE` again and again, which then costs little."""
    return ALONE if count == 1 else blas_threads(count)


def beside_others(parameters: int) -> AbstractContextManager[None]:
    """What a net of this size is run in where a trainer may be at work on the same machine."""
    return ALONE if parameters < LARGE_PARAMETERS else nullcontext()
