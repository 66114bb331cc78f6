"""From a request to a job: resolved against its data set, or only described (dry run)."""

from __future__ import annotations

from typing import Any

from kernels.errors import InvalidInput, NotFound
from nets.gradient_check import gradient_check
from nets.resolve import memory_estimate_bytes, parameter_count, resolve
from nets.spec import TrainingSpec
from nets.table import TableInfo
from service.context import Services
from service.models import JobRequest
from service.text import echo
from store.records import NewJob

DRY_RUN_ROWS = 8
"""Rows of the gradient check in a dry run."""

DRY_RUN_PARAMETERS = 5_000_000
"""Larger nets are described without a gradient check: it is a float64 computation in the API's process."""


def new_job(services: Services, request: JobRequest) -> NewJob:
    """What is recorded for `request`: every default filled in, every impossible combination refused."""
    spec = resolve(request, _info(services, request.dataset))
    return NewJob(
        spec=spec_json(spec),
        dataset=request.dataset,
        name=request.name or "",
        tags=tuple(request.tags),
        metadata=request.metadata,
        priority=request.priority,
    )


def dry_run_of(services: Services, request: JobRequest) -> dict[str, Any]:
    """The resolved spec with its size, its memory, its initial loss and a gradient check; nothing is recorded."""
    info = _info(services, request.dataset)
    spec = resolve(request, info)
    return {
        "object": "dry_run",
        "dataset": request.dataset,
        "spec": spec_json(spec),
        "parameters": parameter_count(spec, info.n_inputs, info.n_outputs),
        "memory_bytes": memory_estimate_bytes(spec, info),
    }


def spec_json(spec: TrainingSpec) -> dict[str, Any]:
    """The training part of a spec, as it is recorded."""
    return spec.model_dump(mode="json", include=set(TrainingSpec.model_fields))


def _info(services: Services, dataset_id: str) -> TableInfo:
    try:
        return services.tables.info(dataset_id)
    except NotFound:
        detail = f"is {echo(dataset_id)}; there is no such data set: see GET /v1/datasets"
        raise InvalidInput.at("/dataset", detail) from None
