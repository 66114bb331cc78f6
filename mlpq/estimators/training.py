"""One fit on the service: send the rows, train, bring the weights home, leave nothing behind."""

from __future__ import annotations

import hashlib
import io
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlpq.arrays import Array
from mlpq.client import Client
from mlpq.errors import MlpqError
from mlpq.estimators.together import shared
from mlpq.events import MetricEvent
from mlpq.job import Job
from mlpq.records import DatasetRecord
from mlpq.settings import job_changes, job_specification

TAG = "scikit-learn"
LARGE_BYTES = 16 * 1024 * 1024
"""Weights beyond this do not stay on the service until a search ends: there may be a thousand of them."""
CANCEL_S = 10.0
"""Seconds that an interrupted fit waits for its job to stop."""


@dataclass(frozen=True)
class Rows:
    """What one fit sends: x (n, features) float, y (n,) codes or numbers, weights (n,) or None."""

    x: Array
    y: Array
    weights: Array | None
    task: str
    standardize: bool

    @property
    def weight_column(self) -> str | None:
        """The name of the column that holds the weights."""
        return None if self.weights is None else f"x{self.x.shape[1]}"

    def npz(self) -> bytes:
        """The file. It is not compressed: float columns hardly shrink, and sparse ones would look like a bomb."""
        x = self.x if self.weights is None else np.column_stack([self.x, self.weights.astype(self.x.dtype)])
        buffer = io.BytesIO()
        np.savez(buffer, X=x, y=self.y)
        return buffer.getvalue()


@dataclass(frozen=True)
class Fitted:
    """What a fit brings home: the weights file's arrays, curves by name, epochs done, the job's id if it was kept."""

    weights: Mapping[str, Array]
    curves: Mapping[str, Array]
    n_epochs: int
    job_id: str | None


@dataclass(frozen=True)
class Stay:
    """What a fit leaves on the service."""

    rows: bool
    job: bool

    @property
    def for_more(self) -> bool:
        """Whether the job stays only so that another fit goes on from it."""
        return self.job and not self.rows


def train(
    client: Client,
    rows: Rows,
    settings: Mapping[str, Any],
    *,
    name: str,
    stay: Stay,
    verbose: bool,
    origin: str | None = None,
) -> Fitted:
    """Train on the service.

    Args:
        client: the service.
        rows: the data.
        settings: keywords of `Client.train`.
        name: what job and data set are called.
        stay: what is left on the service.
        verbose: print each epoch's losses.
        origin: the job from whose weights this one starts.

    Raises:
        ServiceUnreachableError: nobody answers at the client's address.
        JobFailedError: the run diverged, or was cancelled by somebody.
        InvalidInputError: the service refuses a setting.
        NotFoundError: the job to start from is gone.
    """
    common = shared()
    tags = [TAG] if common is None else [common.tag, TAG]
    named = {"name": name, "tags": tags, "sample_weight": rows.weight_column, **settings}
    with _uploaded(client, rows, name, keep=stay.rows) as dataset:
        try:
            if origin is not None:
                job = client.fork(origin, {"dataset": dataset.id, **job_changes(named)})
            elif common is not None and not stay.for_more:
                job = common.submit(client, job_specification(dataset.id, named), keep=stay.job)
            else:
                job = client.submit(job_specification(dataset.id, named))
        except KeyboardInterrupt:
            if common is None:
                _abandon_all(client, dataset.id)
            raise
        return _followed(job, stay, verbose=verbose)


@contextmanager
def _uploaded(client: Client, rows: Rows, name: str, *, keep: bool) -> Iterator[DatasetRecord]:
    """The rows as a data set of their own, whose name makes it nobody else's; gone afterwards unless kept.

    Inside `together` fits on the same rows share one, which is gone when that ends.
    """
    content, own = rows.npz(), f"{name} {uuid.uuid4().hex[:12]}"

    def send() -> DatasetRecord:
        return client.upload_bytes(content, "rows.npz", name=own, task=rows.task, standardize=rows.standardize)

    common = shared()
    if common is not None:
        key = (client.url, hashlib.sha256(content).hexdigest(), rows.task, rows.standardize)
        yield common.record(key, client, send, keep=keep)
        return
    record = send()
    try:
        yield record
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            with suppress(MlpqError):
                client.delete_dataset(record.id)


def _followed(job: Job, stay: Stay, *, verbose: bool) -> Fitted:
    """Wait for a job, fetch what it learned, and forget it unless it is to be kept, or goes with its sweep."""
    try:
        if verbose:
            _tell(job)
        job.wait()
        done = Fitted(job.weights(), job.metrics(), job.progress.epoch, job.id if stay.job else None)
    except BaseException:
        _abandon(job)
        raise
    large = sum(array.nbytes for array in done.weights.values()) > LARGE_BYTES
    if not stay.job and (large or job.record.raw["sweep"] is None):
        with suppress(MlpqError):
            job.delete()
    return done


def forget(client: Client, job_id: str) -> None:
    """Delete a job that has ended; one that is gone is no error."""
    with suppress(MlpqError):
        client.job(job_id).delete()


def _tell(job: Job) -> None:
    for event in job.watch():
        if isinstance(event, MetricEvent):
            score = "" if event.score is None else f", validation score {event.score:.6f}"
            sys.stdout.write(f"Iteration {event.epoch}, loss = {event.train_loss:.8f}{score}\n")


def _abandon_all(client: Client, dataset_id: str) -> None:
    """Stop the job on rows that are one fit's alone: the service may have it though its answer never came."""
    with suppress(MlpqError):
        for job in client.jobs(tag=TAG):
            if job.record.dataset == dataset_id:
                _abandon(job)


def _abandon(job: Job) -> None:
    """Stop a job that nobody waits for any more, and forget it."""
    with suppress(MlpqError):
        if not job.refresh().ended:
            job.cancel().wait(CANCEL_S, check=False)
        job.delete()
