"""Jobs measured on data sets, a few at a time, beside the event loop."""

from __future__ import annotations

from threading import BoundedSemaphore

from kernels.errors import InvalidInput, NotFound
from service.context import Services
from service.problems import Refused
from service.text import no_dataset
from store.records import Job, Json

MAX_CELLS = 2_000_000_000
"""Rows times columns of a data set that one request may read."""

_turns = BoundedSemaphore(2)
"""Requests that are measured at the same time by one process."""


def evaluation_of(services: Services, job: Job, dataset: str, checkpoint: str | None) -> Json:
    """Measure a job's result, or one of its checkpoints.

    Raises:
        Refused: 404 without weights, 429 while two others are measured.
        InvalidInput: no such data set, one that does not fit, or one that is too large.
    """
    ready = services.predictors.ready(job, checkpoint)
    try:
        table = services.tables.table(dataset)
    except NotFound:
        raise no_dataset("/dataset", dataset) from None
    cells = table.info.n_rows * len(table.info.columns)
    if cells > MAX_CELLS:
        raise InvalidInput.at("/dataset", f"has {cells} cells; must be 1..{MAX_CELLS}")
    if not _turns.acquire(blocking=False):
        raise Refused(429, "busy", "Too many evaluations at once", "two run already", {"Retry-After": "2"})
    try:
        found = ready.evaluate(table)
    finally:
        _turns.release()
    return {
        "object": "evaluation",
        "job": job.id,
        "dataset": dataset,
        "task": ready.info.task,
        "n_rows": found.n_rows,
        "metrics": found.metrics,
        "classes": list(ready.info.classes) or None,
        "confusion_matrix": None if found.confusion is None else found.confusion.tolist(),
    }
