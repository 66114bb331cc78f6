"""From a request to a job: resolved against its data set, or only described (dry run)."""

from __future__ import annotations

from typing import Any

from kernels.errors import InvalidInput, NotFound
from nets.resolve import MEMORY_SHARE, memory_estimate_bytes, parameter_count, resolve
from nets.spec import ResolvedSpec
from nets.table import TableInfo
from service.context import Services
from service.gradients import check_of
from service.models import CHECK_ROWS, JobRequest
from service.text import echo
from store.records import Job, NewJob


def submit(services: Services, request: JobRequest, idempotency: tuple[str, str] | None) -> Job:
    """Record and queue `request`: every default filled in, every impossible combination refused."""
    info = _info(services, request.dataset)
    spec = resolve(request, info)
    _check_capacity(services, spec, info)
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
    _check_capacity(services, spec, info)
    info = info.weighted_by(spec.training.sample_weight)
    count = parameter_count(spec, info.n_inputs, info.n_outputs)
    found = check_of(services, request.dataset, spec, CHECK_ROWS)
    check = None if found is None else found.to_json()
    return {
        "object": "dry_run",
        "dataset": request.dataset,
        "spec": spec.to_json(),
        "parameters": count,
        "memory_bytes": memory_estimate_bytes(spec, info),
        "initial_loss": None if check is None else check["initial_loss"],
        "gradient_check": check,
    }


def _check_capacity(services: Services, spec: ResolvedSpec, info: TableInfo) -> None:
    """Refuse what no living worker has the memory for. A worker looks again, at what is free when the run begins."""
    needed = memory_estimate_bytes(spec, info)
    capacity = services.capacity(spec.training.device)
    if capacity is not None and needed > MEMORY_SHARE * capacity:
        largest = f"the largest worker has {capacity / 2**30:.1f} GiB, of which {MEMORY_SHARE:.0%} may be taken"
        raise InvalidInput.at("/net/hidden", f"makes a run of about {needed / 2**30:.1f} GiB; {largest}")


def _info(services: Services, dataset_id: str) -> TableInfo:
    try:
        return services.tables.info(dataset_id)
    except NotFound:
        raise _no_dataset(dataset_id) from None


def _no_dataset(dataset_id: str) -> InvalidInput:
    detail = f"is {echo(dataset_id)}; there is no such data set: see GET /v1/datasets"
    return InvalidInput.at("/dataset", detail)
