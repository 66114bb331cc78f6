"""From a request to a job: resolved against its data set, or only described (dry run)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kernels.errors import InvalidInput, NotFound
from kernels.precisions import PRECISIONS, wanted_device
from nets.parts import Sizes, inputs_of
from nets.resolve import MEMORY_SHARE, input_count, memory_estimate_bytes, parameter_count, resolve
from nets.spec import ResolvedSpec, TrainingSpec
from nets.stacking import shape_of
from nets.table import TableInfo
from nets.training_spec import TrainingOptions
from service.context import Services
from service.gradients import check_of
from service.models.requests import CHECK_ROWS, JobRequest
from service.problems import Refused
from service.splits import info_of, reads, sizes_for
from service.text import echo
from store.records import Job, Json, NewJob, Stackable
from store.transitions import Action

_SPEC = set(TrainingSpec.model_fields)


def submit(services: Services, request: JobRequest, owner: str, idempotency: tuple[str, str] | None) -> Job:
    """Record and queue `request` of `owner`: every default filled in, every impossible combination refused."""
    asked = request.model_dump(mode="json", exclude_unset=True, include=_SPEC)
    new = new_job(request, resolved_of(services, request), asked, owner)
    return record(services, request, new, idempotency)[0]


def new_job(request: JobRequest, found: Resolved, asked: Json, owner: str) -> NewJob:
    """The record to be: the spec with every default, `asked` without."""
    spec, shape = found.spec, shape_of(found.spec, found.about, found.sizes)
    return NewJob(
        spec=spec.to_json(),
        dataset=request.dataset,
        name=request.name or "",
        tags=tuple(request.tags),
        metadata=request.metadata,
        priority=request.priority,
        reads=reads(spec.training),
        asked=asked,
        stack=None if shape is None else Stackable(shape.key, shape.bytes, shape.steps, shape.work),
        owner=owner,
        dataset_name=found.dataset_name,
    )


def record(
    services: Services,
    request: JobRequest,
    new: NewJob,
    idempotency: tuple[str, str] | None,
    job_id: str | None = None,
) -> tuple[Job, bool]:
    """Record and queue; False if an earlier call with this key did. Raises InvalidInput: a data set is gone."""
    try:
        return services.jobs.create(new, idempotency, job_id)
    except NotFound:  # deleted since its description was read
        for dataset in (new.dataset, *new.reads):
            services.tables.forget(dataset)
        resolved_of(services, request)  # names the one that is gone
        raise


def check_room(services: Services, idempotency: tuple[str, str] | None, jobs: int = 1) -> None:
    """Raise Refused (429) where so many jobs are more than may still be queued; those of a repeated request are there.

    Raises InvalidInput: the key came before with another body.
    """
    limit = services.settings.max_queued
    if services.queued() + jobs > limit and not (idempotency and services.idempotency.made(*idempotency)):
        detail = f"{limit} jobs may wait at once; {services.queued()} wait already"
        raise Refused(429, "queue_full", "Too much is queued", detail, {"Retry-After": "10"})


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
    resolved = resolved_of(services, request)
    spec, info = resolved.spec, resolved.about
    n_inputs = input_count(spec.features, info)
    found = check_of(services, request.dataset, spec, CHECK_ROWS)
    check = None if found is None else found.to_json()
    return {
        "object": "dry_run",
        "dataset": request.dataset,
        "spec": spec.to_json(),
        "inputs": n_inputs,
        "parameters": parameter_count(spec, n_inputs, info.n_outputs),
        "rows": dict(zip(("train", "validation", "test"), resolved.sizes, strict=True)),
        "memory_bytes": resolved.memory_bytes,
        "initial_loss": None if check is None else check["initial_loss"],
        "gradient_check": check,
    }


@dataclass(frozen=True)
class Resolved:
    """A spec with every default, the inputs that it leaves, its rows, and the memory that it needs."""

    spec: ResolvedSpec
    about: TableInfo
    sizes: Sizes
    dataset_name: str

    @cached_property
    def memory_bytes(self) -> int:
        """What the run holds on its device."""
        return memory_estimate_bytes(self.spec, self.about, self.sizes.train + self.sizes.val)


def resolved_of(services: Services, request: JobRequest, sizes: Sizes | None = None) -> Resolved:
    """The spec with every default. Raises InvalidInput, also for what cannot train on this data or these workers.

    `sizes` are given by who has counted the same rows already.
    """
    info = info_of(services, request.dataset)
    sizes = sizes or sizes_for(services, request.dataset, request.training)
    spec = resolve(request, info, sizes)
    found = Resolved(spec, inputs_of(info, spec.training), sizes, services.tables.name(request.dataset))
    _check_classes(found)
    _check_sample_weight(services, request)
    _check_device(services, spec.training)
    _check_capacity(services, found)
    return found


def _check_classes(found: Resolved) -> None:
    """Refuse a split that must leave a class without a row."""
    training, info, n_train = found.spec.training, found.about, found.sizes.train
    if info.task == "classification" and n_train < len(info.classes):
        field = "validation_fraction" if training.test_fraction is None else "test_fraction"
        detail = f"is {getattr(training, field):g}; leaves {n_train} of {info.n_rows} rows to train"
        raise InvalidInput.at(f"/training/{field}", f"{detail} {len(info.classes)} classes")


def _check_sample_weight(services: Services, request: JobRequest) -> None:
    """Refuse a column that cannot hold weights: it has a number below 0, or nothing else than 0."""
    name = request.training.sample_weight
    if name is None:
        return
    columns = services.tables.about(request.dataset)["columns"]
    lowest, highest = next((one.get("minimum"), one.get("maximum")) for one in columns if one["name"] == name)
    if lowest is not None and lowest < 0:
        detail = f"is {echo(name)}, whose smallest number is {lowest:g}; weights must be at least 0"
        raise InvalidInput.at("/training/sample_weight", detail)
    if highest == 0:
        raise InvalidInput.at("/training/sample_weight", f"is {echo(name)}, which is 0 in every row")


def _check_device(services: Services, training: TrainingOptions) -> None:
    """Refuse a GPU that no living worker has; without any worker the job waits for one."""
    device = wanted_device(training.device, training.precision)
    if not services.nobody_takes(device):
        return
    offered = services.offered(age_s=0.0)  # one may have come since
    if offered is None or not services.nobody_takes(device):
        return
    there = f"the workers offer {', '.join(sorted(offered))}"
    if device != "cuda":
        raise InvalidInput.at("/training/device", f"is {echo(device)}; {there}")
    anywhere = " or ".join(name for name, row in PRECISIONS.items() if not row.needs_gpu)
    detail = f"is {echo(training.precision)}, which needs a GPU; {there}: must be {anywhere}"
    raise InvalidInput.at("/training/precision", detail)


def _check_capacity(services: Services, found: Resolved) -> None:
    """Refuse what no living worker has the memory for. A worker looks again, at what is free when the run begins."""
    needed = found.memory_bytes
    training = found.spec.training
    capacity = services.capacity(wanted_device(training.device, training.precision))
    if capacity is not None and needed > MEMORY_SHARE * capacity:
        largest = f"the largest worker has {capacity / 2**30:.1f} GiB, of which {MEMORY_SHARE:.0%} may be taken"
        raise InvalidInput.at("/net/hidden", f"makes a run of about {needed / 2**30:.1f} GiB; {largest}")
