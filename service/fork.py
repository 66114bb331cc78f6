"""A new job from another one's weights: its spec with changes, and a copy of the weights that outlives their job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kernels.errors import StoreUnavailable
from nets.origin import Origin
from service.body import validated
from service.context import Services
from service.models.requests import ForkRequest, JobRequest
from service.submit import new_job, record, resolved_of
from store.jobs import new_id
from store.records import Job, Json

_CHOICES = ("loss", "optimizer", "schedule")
"""Parts with a name: another name brings its own settings."""
_ASKED = {"dataset", "net", "training", *_CHOICES}


def fork(
    services: Services,
    origin: Job,
    changes: Json,
    checkpoint: str | None,
    owner: str,
    idempotency: tuple[str, str] | None,
) -> Job:
    """Record and queue a job that starts from the weights of `origin`, or of one of its checkpoints.

    Args:
        services: everything.
        origin: the job whose weights these are.
        changes: the fields that are named in the request, as JSON.
        checkpoint: its step, or `latest`; None: the result.
        owner: who asks.
        idempotency: the client's key and the sha256 of what it asked for.

    Raises:
        Refused: 404, there are no such weights. InvalidInput: a net of the changed spec cannot start from them.
    """
    manifest = services.predictors.source(origin, checkpoint)
    request = validated(JobRequest, changed(origin, changes))
    found = resolved_of(services, request)
    Origin.from_arrays(services.predictors.arrays(origin, checkpoint)).check(found.spec, found.about)
    job_id = new_id()
    weights = services.predictors.file(origin, "npz", checkpoint)
    try:
        stored = services.artifacts.put(f"{job_id}/origin.npz", weights.copy_to)
        copy = {"key": stored.key, "sha256": stored.sha256, "bytes": stored.bytes}
        start = {"job": origin.id, "checkpoint": manifest.get("step"), **copy}
        asked = {name: value for name, value in changes.items() if name in _ASKED}
        new = replace(new_job(request, found, asked, owner), origin=start)
        job, made = record(services, request, new, idempotency, job_id)
    except StoreUnavailable:  # it may be recorded all the same, and then needs its copy
        raise
    except BaseException:
        services.artifacts.delete_folder(job_id)
        raise
    if not made:
        services.artifacts.delete_folder(job_id)
    return job


def named_in(request: ForkRequest) -> Json:
    """What a request says, without its defaults."""
    return request.model_dump(mode="json", exclude_unset=True)


def changed(origin: Job, changes: Mapping[str, Any]) -> Json:
    """The request for a job like `origin` with these changes; it never cross-validates unless told to."""
    spec = origin.spec
    request = {**spec, "dataset": origin.dataset, "name": origin.name or None, "tags": list(origin.tags)}
    for field, value in changes.items():
        if field in _CHOICES and value is not None:
            request[field] = _chosen(spec[field], value)
        elif field in ("net", "training"):
            request[field] = {**spec[field], **value}
        elif value is not None:
            request[field] = value
    folds = changes.get("training", {}).get("folds")
    request["training"] = {**request["training"], "folds": folds}
    return request


def _chosen(before: str | Json, now: str | Json) -> Json:
    """A choice with some of its settings changed, or another one."""
    old, new = ({"name": one} if isinstance(one, str) else one for one in (before, now))
    return {**old, **new} if new.get("name", old["name"]) == old["name"] else new
