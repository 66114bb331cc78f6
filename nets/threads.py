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


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    import scipy.linalg.cython_blas  # noqa: F401 - SciPy's BLAS, which compiled code calls, is a library of its own

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


@contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """BLAS runs on `count` threads inside the block, as before after it."""
    with _controller().limit(limits=count, user_api="blas"):
        yield
