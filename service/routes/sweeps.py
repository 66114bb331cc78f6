"""/v1/sweeps: many jobs of one plan: submit, look, cancel, delete."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from service.body import accepts, json_body
from service.context import Services
from service.models.many import BatchOut, PointsRequest, SweepDetailsOut, SweepList, SweepRequest
from service.params import After, IdempotencyKey, Limit, ServicesDep, SweepId, WaitS, answer, answers, page_of
from service.strict_query import Route
from service.sweep_views import CURVES, MAX_CURVES, POINTS, details, has_ended, sweep_view
from service.sweeps import add_points, submit_sweep
from service.views import job_view

router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"], route_class=Route)


@router.post(
    "",
    status_code=202,
    openapi_extra=accepts(SweepRequest),
    responses=answers(
        {202: {"model": SweepDetailsOut, "description": "Recorded, all jobs queued"}}, 400, 413, 415, 429, 507
    ),
)
def create_sweep(
    request: Request,
    services: ServicesDep,
    body: Annotated[SweepRequest, Depends(json_body(SweepRequest))],
    key: IdempotencyKey = None,
) -> Response:
    """Queue a job for every point of a `grid`, of `random` draws or of a `list`, or draws that `asha` halves."""
    idempotency = None if key is None else (key, "sweeps:" + request.state.body_sha256)
    sweep = submit_sweep(services, body, request.state.owner, idempotency)
    shown = details(sweep, services.sweeps.members(sweep.id), services.curves)
    return answer(shown, 202, {"Location": f"/v1/sweeps/{sweep.id}"})


@router.post(
    "/{sweep_id}/points",
    status_code=202,
    openapi_extra=accepts(PointsRequest),
    responses=answers(
        {202: {"model": BatchOut, "description": "All recorded and queued"}}, 400, 404, 409, 413, 415, 429, 507
    ),
)
def create_points(
    request: Request,
    services: ServicesDep,
    sweep_id: SweepId,
    body: Annotated[PointsRequest, Depends(json_body(PointsRequest))],
    key: IdempotencyKey = None,
) -> Response:
    """Queue jobs for further points of a sweep whose plan is a `list`; the answer has them in the order of the points.

    So a search that learns is one sweep: ask it for points, tell it their objectives, add the next ones.
    """
    idempotency = None if key is None else (key, f"points:{sweep_id}:{request.state.body_sha256}")
    found = add_points(services, sweep_id, body, request.state.owner, idempotency)
    return answer(page_of([job_view(job, services.nobody_takes) for job in found], has_more=False), 202)


@router.get("", responses=answers({200: {"model": SweepList}}))
def list_sweeps(services: ServicesDep, limit: Limit = 20, after: After = None) -> Response:
    """Sweeps, newest first, without their jobs."""
    found, has_more = services.sweeps.page_sweeps(limit, after)
    return answer(page_of([sweep_view(sweep) for sweep in found], has_more))


@router.get("/{sweep_id}", responses=answers({200: {"model": SweepDetailsOut}}, 404))
async def get_sweep(
    request: Request,
    services: ServicesDep,
    sweep_id: SweepId,
    curves: Annotated[int, Query(ge=0, le=MAX_CURVES, description="Of how many jobs, the best first")] = CURVES,
    max_points: Annotated[int, Query(ge=2, le=1000, description="Points of each curve")] = POINTS,
    wait_s: WaitS = 0.0,
) -> Response:
    """One sweep as it is now: its jobs with point and objective, the best of them, curves.

    With `wait_s` as it is when all of its jobs have ended.
    """
    if wait_s:
        await services.ends.until(request, sweep_id, partial(_has_ended, services, sweep_id), wait_s)
    return await run_sync(_answered, services, sweep_id, curves, max_points)


@router.post("/{sweep_id}/cancel", status_code=202, responses=answers({202: {"model": SweepDetailsOut}}, 404))
def cancel_sweep(services: ServicesDep, sweep_id: SweepId) -> Response:
    """Cancel every job that has not ended; a sweep that has ended stays as it is."""
    sweep = services.sweeps.cancel_sweep(sweep_id)
    return answer(details(sweep, services.sweeps.members(sweep_id), services.curves), 202)


@router.delete("/{sweep_id}", status_code=204, responses=answers({204: {"description": "Deleted"}}, 404, 409))
def delete_sweep(services: ServicesDep, sweep_id: SweepId) -> Response:
    """Forget a sweep whose jobs have all ended, with its jobs, their events and files."""
    for job_id in services.sweeps.delete_sweep(sweep_id):
        services.artifacts.delete_folder(job_id)
    return Response(status_code=204)


def _has_ended(services: Services, sweep_id: str) -> bool:
    services.check_store()
    return has_ended(services.sweeps.get_sweep(sweep_id))


def _answered(services: Services, sweep_id: str, curves: int, max_points: int) -> Response:
    sweep = services.sweeps.get_sweep(sweep_id)
    return answer(details(sweep, services.sweeps.members(sweep_id), services.curves, curves, max_points))
