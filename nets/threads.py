"""How many threads matrix products get: chosen once per run from its largest product, never per step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise

from threadpoolctl import ThreadpoolController

SMALL_PRODUCT = 1_000_001
"""Multiply-adds (m·k·n) of one product below which a second BLAS thread brings nothing: OpenBLAS computes
products up to 100³ by kernels of one thread."""

PROBE = 16
"""Turns from one look at the slower team to the next."""


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
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._s_per_step: dict[int, float] = {}
        self._turns = 0

    def team(self) -> int:
        """Threads for the next turn: both sizes once, then the faster; every PROBE turns the other again."""
        if self._threads == 1:
            return 1
        sizes = (self._threads, 1)
        for size in sizes:
            if size not in self._s_per_step:
                return size
        best, other = sorted(sizes, key=lambda size: self._s_per_step[size])
        return other if self._turns % PROBE == 0 else best

    def took(self, team: int, steps: int, seconds: float) -> None:
        """What the turn took: the newest figure of its size."""
        self._turns += 1
        self._s_per_step[team] = seconds / steps


@contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """BLAS runs on `count` threads inside the block, as before after it."""
    with _controller().limit(limits=count, user_api="blas"):
        yield
