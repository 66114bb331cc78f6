"""The fits of a search on the service at once, where workers train those that fit together as one stack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from joblib import parallel_config

FITS = 64
"""Fits under way at the same time; each is a thread that waits for the service."""


@contextmanager
def together(fits: int = FITS) -> Iterator[None]:
    """Let `GridSearchCV`, `RandomizedSearchCV`, `cross_val_score`, … inside submit up to `fits` fits before they wait.

    It is joblib's threading backend with so many threads: an estimator of ours only waits in them, so their number
    has nothing to do with cores. Results are those of one fit after another, bit for bit on a CPU. A search with
    `n_jobs` of its own keeps that number.
    """
    with parallel_config(backend="threading", n_jobs=fits):
        yield
