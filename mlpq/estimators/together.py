"""The fits of a search on the service at once, where workers train those that fit together as one stack."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

from joblib import parallel_config

from mlpq.client import Client
from mlpq.errors import MlpqError
from mlpq.estimators.growing import GrowingSweep, connected_again
from mlpq.job import Job
from mlpq.records import DatasetRecord

FITS = 64
"""Fits under way at the same time; each is a thread that waits for the service."""


class Shared:
    """What fits have in common: a tag of their jobs, the sweep that these are of, and data sets, each sent once.

    Sweep and data sets are deleted at the end unless they are to be kept.
    """

    def __init__(self) -> None:
        self.tag = f"search {uuid.uuid4().hex[:8]}"
        self._lock = threading.Lock()
        self._sweeps: dict[tuple[str, str, bool], GrowingSweep] = {}
        self._sent: dict[Hashable, Future[DatasetRecord]] = {}
        self._clients: dict[Hashable, Client] = {}
        self._kept: set[Hashable] = set()
        self._closed = False

    def record(self, key: Hashable, client: Client, send: Callable[[], DatasetRecord], *, keep: bool) -> DatasetRecord:
        """The data set of this key: sent by whoever asks first, waited for by the others."""
        with self._lock:
            found = self._sent.get(key)
            first = found is None
            sent = self._sent[key] = found or Future()
            self._clients[key] = client
            if keep:
                self._kept.add(key)
        if first:
            try:
                sent.set_result(send())
            except BaseException as error:
                with self._lock:
                    del self._sent[key]
                sent.set_exception(error)
                raise
        return sent.result()

    def submit(self, client: Client, specification: Mapping[str, Any], *, keep: bool) -> Job:
        """Queue the job of a fit as a point of the sweep. Raises RuntimeError once this is closed."""
        validates = specification.get("training", {}).get("validation_fraction", 1.0) > 0
        objective = "val_loss" if validates else "train_loss"
        with self._lock:
            if self._closed:
                raise RuntimeError("the search is over")
            sweep = self._sweeps.setdefault((client.url, objective, keep), GrowingSweep(self.tag, objective))
        return sweep.submit(client, specification)

    def close(self) -> None:
        """Take no further fit, and delete what nobody keeps."""
        with self._lock:
            self._closed, sweeps = True, list(self._sweeps.items())
        for (_, _, keep), sweep in sweeps:
            sweep.close(keep=keep)
        for key in self._sent.keys() - self._kept:
            with suppress(MlpqError), connected_again(self._clients[key]) as client:
                client.delete_dataset(self._sent[key].result().id)


_active: list[Shared] = []
"""What the innermost `together` shares; joblib's threads see no context variables."""


def shared() -> Shared | None:
    """What fits share now, or None outside `together`."""
    return _active[-1] if _active else None


@contextmanager
def together(fits: int = FITS) -> Iterator[str]:
    """Let `GridSearchCV`, `RandomizedSearchCV`, `cross_val_score`, … inside submit up to `fits` fits before they wait.

    It is joblib's threading backend with so many threads: an estimator of ours only waits in them, so their number
    has nothing to do with cores. Fits on the same rows send them once. Results are those of one fit after another, bit
    for bit on a CPU. A search with `n_jobs` of its own keeps that number. Jobs are one sweep, of up to 1 000; when
    it is cancelled, the fits that are still to come fail. It is gone at the end, unless the estimators keep their jobs.
    Gives the name of the sweep, which is the tag of all of its jobs too.
    """
    common = Shared()
    _active.append(common)
    try:
        with parallel_config(backend="threading", n_jobs=fits):
            yield common.tag
    finally:
        _active.pop().close()
