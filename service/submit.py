"""From a request to a job: resolved against its data set, or only described (dry run)."""

from __future__ import annotations

import hashlib
from typing import Any

from kernels.errors import InvalidInput, NotFound
from nets.resolve import MEMORY_SHARE, memory_estimate_bytes, parameter_count, resolve, split_sizes
from nets.spec import ResolvedSpec
from nets.table import TableInfo
from service.context import Services
from service.gradients import check_of
from service.models import CHECK_ROWS, JobRequest
from service.text import echo
from store.records import Job, NewJob
from store.transitions import Action


def submit(services: Services, request: JobRequest, idempotency: tuple[str, str] | None) -> Job:
    """Record and queue `request`: every default filled in, every impossible combination refused."""
    spec = _resolved(services, request, _info(services, request.dataset))
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


def ask(services: Services, job_id: str, action: Action, key: str | None) -> Job:
    """Ask to cancel, pause or resume; a key that asked for the same before finds the job as it is now.

    Raises:
        NotFound: no such job. IllegalTransition: its status does not allow this. InvalidInput: the key did other work.
    """
    asked = hashlib.sha256(f"{action} {job_id}".encode()).hexdigest()
    if key is not None and services.idempotency.seen(key, asked):
        return services.jobs.get(job_id)
    job = services.jobs.request(job_id, action)
    if key is not None:
        services.idempotency.remember(key, asked, job_id)
    return job


def dry_run_of(services: Services, request: JobRequest) -> dict[str, Any]:
    """The resolved spec with its size, its memory, its initial loss and a gradient check; nothing is recorded."""
    info = _info(services, request.dataset)
    spec = _resolved(services, request, info)
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


def _resolved(services: Services, request: JobRequest, info: TableInfo) -> ResolvedSpec:
    """The spec with every default. Raises InvalidInput, also for what cannot train on this data or these workers."""
    spec = resolve(request, info)
    _check_classes(spec, info)
    _check_device(services, spec.training.device)
    _check_capacity(services, spec, info)
    return spec


def _check_classes(spec: ResolvedSpec, info: TableInfo) -> None:
    """Refuse a split that must leave a class without a row."""
    fraction = spec.training.validation_fraction
    n_train, _ = split_sizes(info.n_rows, fraction)
    if info.task == "classification" and n_train < len(info.classes):
        detail = f"is {fraction:g}; leaves {n_train} of {info.n_rows} rows to train {len(info.classes)} classes"
        raise InvalidInput.at("/training/validation_fraction", detail)


def _check_device(services: Services, device: str) -> None:
    """Refuse a GPU that no living worker has; without any worker the job waits for one."""
    if services.nobody_takes(device):
        offered = services.offered(age_s=0.0)  # one may have come since
        if offered is not None and device not in offered:
            detail = f"is {echo(device)}; the workers offer {', '.join(sorted(offered))}"
            raise InvalidInput.at("/training/device", detail)


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
