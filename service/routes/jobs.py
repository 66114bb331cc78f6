"""/v1/jobs: submit, look, change, delete, cancel, pause, resume, fork."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from kernels.errors import InvalidInput
from service.batch import submit_many
from service.body import accepts, json_body
from service.context import Services
from service.fork import fork, named_in
from service.models.jobs import DryRunOut, JobList, JobOut
from service.models.many import BatchBody, BatchOut, BatchRequest
from service.models.requests import ForkRequest, JobPatch, JobRequest
from service.params import (
    After,
    Checkpoint,
    IdempotencyKey,
    JobId,
    Limit,
    ServicesDep,
    WaitS,
    answer,
    answers,
    job_ids,
    page_of,
)
from service.strict_query import Route
from service.submit import ask, check_room, dry_run_of, submit
from service.views import job_view
from store.records import Job
from store.transitions import Action, Status

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=Route)


@router.post(
    "",
    status_code=202,
    openapi_extra=accepts(JobRequest),
    responses=answers(
        {202: {"model": JobOut, "description": "Recorded and queued"}, 200: {"model": DryRunOut}},
        400,
        413,
        415,
        429,
        507,
    ),
)
def create_job(
    request: Request,
    services: ServicesDep,
    body: Annotated[JobRequest, Depends(json_body(JobRequest))],
    key: IdempotencyKey = None,
    dry_run: Annotated[bool, Query(description="Only say what the job would be")] = False,
) -> Response:
    """Queue a job; with `dry_run=true` answer what it would be: spec, size, memory, gradient check, initial loss."""
    if dry_run:
        return answer(dry_run_of(services, body))
    idempotency = None if key is None else (key, "jobs:" + request.state.body_sha256)
    check_room(services, idempotency)
    job = submit(services, body, request.state.owner, idempotency)
    return answer(_shown(services, job), 202, {"Location": f"/v1/jobs/{job.id}"})


@router.post(
    ":batch",
    status_code=202,
    openapi_extra=accepts(BatchRequest),
    responses=answers({202: {"model": BatchOut, "description": "All recorded and queued"}}, 400, 413, 415, 429, 507),
)
def create_jobs(
    request: Request,
    services: ServicesDep,
    body: Annotated[BatchBody, Depends(json_body(BatchBody))],
    key: IdempotencyKey = None,
) -> Response:
    """Queue up to 1 000 jobs at once, or none: every wrong one is named by its pointer, `/jobs/3/net/hidden`."""
    idempotency = None if key is None else (key, "batch:" + request.state.body_sha256)
    check_room(services, idempotency, len(body.jobs))
    found = submit_many(services, body.jobs, request.state.owner, idempotency)
    return answer(page_of([_shown(services, job) for job in found], has_more=False), 202)


@router.get("", responses=answers({200: {"model": JobList}}, 404))
def list_jobs(
    services: ServicesDep,
    status: Annotated[Status | None, Query(description="Only jobs with this status")] = None,
    tag: Annotated[str | None, Query(max_length=64, description="Only jobs with this tag")] = None,
    sweep: Annotated[str | None, Query(max_length=80, description="Only jobs of this sweep")] = None,
    limit: Limit = 20,
    after: After = None,
    ids: Annotated[
        str | None, Query(description="These jobs alone, in this order; what is not there is left out")
    ] = None,
) -> Response:
    """Jobs, newest first; or some by their `ids`."""
    if ids is not None:
        if any(one is not None for one in (status, tag, sweep, after)):
            raise InvalidInput.at("/query/ids", "cannot be asked for together with status, tag, sweep or after")
        found = services.jobs.find(job_ids(ids, "ids"))
        return answer(page_of([_shown(services, job) for job in found], has_more=False))
    page = services.jobs.page(status, tag, limit, after, sweep)
    return answer(page_of([_shown(services, job) for job in page.items], page.has_more))


@router.get("/{job_id}", responses=answers({200: {"model": JobOut}}, 404))
async def get_job(request: Request, services: ServicesDep, job_id: JobId, wait_s: WaitS = 0.0) -> Response:
    """One job as it is now; with `wait_s` as it is when it has ended."""
    if wait_s:
        await services.ends.until(request, job_id, partial(_has_ended, services, job_id), wait_s)
    return await run_sync(_answered, services, job_id)


@router.patch(
    "/{job_id}",
    openapi_extra=accepts(JobPatch),
    responses=answers({200: {"model": JobOut}}, 400, 404, 413, 415),
)
def patch_job(
    services: ServicesDep, job_id: JobId, body: Annotated[JobPatch, Depends(json_body(JobPatch))]
) -> Response:
    """Change name, tags or priority; a new priority moves a queued job."""
    changes = {field: getattr(body, field) for field in body.model_fields_set}
    if "name" in changes:
        changes["name"] = changes["name"] or ""
    return answer(_shown(services, services.jobs.patch(job_id, **changes)))


@router.delete("/{job_id}", status_code=204, responses=answers({204: {"description": "Deleted"}}, 404, 409))
def delete_job(services: ServicesDep, job_id: JobId) -> Response:
    """Forget a job that has ended, with its events and files."""
    services.jobs.delete(job_id)
    services.artifacts.delete_folder(job_id)
    return Response(status_code=204)


@router.post("/{job_id}/cancel", status_code=202, responses=answers({202: {"model": JobOut}}, 404, 409))
def cancel_job(services: ServicesDep, job_id: JobId, key: IdempotencyKey = None) -> Response:
    """Stop for good: at once while it waits, within two seconds while it trains."""
    return answer(_shown(services, ask(services, job_id, Action.CANCEL, key)), 202)


@router.post("/{job_id}/pause", status_code=202, responses=answers({202: {"model": JobOut}}, 404, 409))
def pause_job(services: ServicesDep, job_id: JobId, key: IdempotencyKey = None) -> Response:
    """Write a checkpoint, release the device and wait for `resume`."""
    return answer(_shown(services, ask(services, job_id, Action.PAUSE, key)), 202)


@router.post("/{job_id}/resume", status_code=202, responses=answers({202: {"model": JobOut}}, 404, 409))
def resume_job(services: ServicesDep, job_id: JobId, key: IdempotencyKey = None) -> Response:
    """Go on from where the job was paused."""
    return answer(_shown(services, ask(services, job_id, Action.RESUME, key)), 202)


@router.post(
    "/{job_id}/fork",
    status_code=202,
    openapi_extra=accepts(ForkRequest),
    responses=answers({202: {"model": JobOut, "description": "Recorded and queued"}}, 400, 404, 413, 415, 429, 507),
)
def fork_job(
    request: Request,
    services: ServicesDep,
    job_id: JobId,
    body: Annotated[ForkRequest, Depends(json_body(ForkRequest))],
    key: IdempotencyKey = None,
    checkpoint: Checkpoint = None,
) -> Response:
    """Queue a job that starts from this one's weights, or a checkpoint's, with changes to its spec.

    The optimizer starts afresh; what prepares the inputs stays as these weights know it, on another data set too.
    """
    idempotency = None if key is None else (key, f"fork:{job_id}:{checkpoint}:{request.state.body_sha256}")
    check_room(services, idempotency)
    origin, owner = services.jobs.get(job_id), request.state.owner
    job = fork(services, origin, named_in(body), checkpoint, owner, idempotency)
    return answer(_shown(services, job), 202, {"Location": f"/v1/jobs/{job.id}"})


def _has_ended(services: Services, job_id: str) -> bool:
    services.check_store()
    return services.jobs.get(job_id).terminal


def _answered(services: Services, job_id: str) -> Response:
    return answer(_shown(services, services.jobs.get(job_id)))


def _shown(services: Services, job: Job) -> dict[str, Any]:
    return job_view(job, services.nobody_takes)
