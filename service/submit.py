"""From a request to a job: resolved against its data set, or only described (dry run)."""

from __future__ import annotations

from dataclasses import replace
from threading import BoundedSemaphore
from typing import Any

import numpy as np

from kernels.errors import InvalidInput, NotFound
from nets.gradient_check import check_prepared
from nets.prepare import prepare
from nets.resolve import memory_estimate_bytes, parameter_count, resolve
from nets.spec import ResolvedSpec
from nets.table import Table, TableInfo
from service.context import Services
from service.models import JobRequest
from service.problems import Refused
from service.text import echo
from store.records import Job, NewJob

CHECK_ROWS = 8
"""Rows of the gradient check in a dry run."""

CHECK_OPERATIONS = 1e10
"""Multiplications that a dry run may cost, some seconds; nets too large for it are described without a check."""

CHECK_PER_TENSOR = (4, 32)
"""Parameters checked in each tensor: as many as the bound allows, between these."""

SAMPLE_ROWS = 2_000
"""Rows, evenly spread over the table, that a dry run prepares."""

_turns = BoundedSemaphore(2)


def submit(services: Services, request: JobRequest, idempotency: tuple[str, str] | None) -> Job:
    """Record and queue `request`: every default filled in, every impossible combination refused."""
    spec = resolve(request, _info(services, request.dataset))
    new = NewJob(
        spec=spec.to_json(),
        dataset=request.dataset,
        name=request.name or "",
        tags=tuple(request.tags),
        metadata=request.metadata,
        priority=request.priority,
    )
    try:
        job, _ = services.jobs.create(new, idempotency)
    except NotFound:  # deleted since its description was read
        services.tables.forget(request.dataset)
        raise _no_dataset(request.dataset) from None
    return job


def dry_run_of(services: Services, request: JobRequest) -> dict[str, Any]:
    """The resolved spec with its size, its memory, its initial loss and a gradient check; nothing is recorded."""
    info = _info(services, request.dataset)
    spec = resolve(request, info)
    count = parameter_count(spec, info.n_inputs, info.n_outputs)
    check = _check(services, request.dataset, spec, count)
    return {
        "object": "dry_run",
        "dataset": request.dataset,
        "spec": spec.to_json(),
        "parameters": count,
        "memory_bytes": memory_estimate_bytes(spec, info),
        "initial_loss": None if check is None else check["initial_loss"],
        "gradient_check": check,
    }


def _check(services: Services, dataset_id: str, spec: ResolvedSpec, parameters: int) -> dict[str, Any] | None:
    """The gradient check at the initial weights; None for a net that would take too long."""
    tensors = (len(spec.net.hidden) + 1) * 2
    affordable = int(CHECK_OPERATIONS / (2 * tensors * CHECK_ROWS * parameters))
    least, most = CHECK_PER_TENSOR
    if affordable < least:
        return None
    exact = spec.model_copy(update={"training": spec.training.model_copy(update={"precision": "float64"})})
    if not _turns.acquire(timeout=10):
        raise Refused(429, "busy", "Too many dry runs at once", "two run already", {"Retry-After": "2"})
    try:
        data = prepare(_sample(services.tables.table(dataset_id)), exact)
        return check_prepared(exact, data, CHECK_ROWS, per_tensor=min(affordable, most)).to_json()
    finally:
        _turns.release()


def _sample(table: Table) -> Table:
    """At most `SAMPLE_ROWS` rows, evenly spread, so that a dry run costs the same on any data set."""
    n_rows = table.info.n_rows
    if n_rows <= SAMPLE_ROWS:
        return table
    rows = np.linspace(0, n_rows - 1, SAMPLE_ROWS).astype(np.int64)
    return Table(replace(table.info, n_rows=SAMPLE_ROWS), np.asarray(table.x[rows]), np.asarray(table.y[rows]))


def _info(services: Services, dataset_id: str) -> TableInfo:
    try:
        return services.tables.info(dataset_id)
    except NotFound:
        raise _no_dataset(dataset_id) from None


def _no_dataset(dataset_id: str) -> InvalidInput:
    detail = f"is {echo(dataset_id)}; there is no such data set: see GET /v1/datasets"
    return InvalidInput.at("/dataset", detail)
