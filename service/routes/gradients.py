"""Gradient checks: analytic gradients against float64 central differences, on the caller's own net and data."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from service.body import accepts, json_body
from service.gradients import explanation_of, gradient_check_of
from service.models import CHECK_ROWS, MAX_CHECK_ROWS, GradientCheckOut, GradientCheckRequest
from service.params import JobId, ServicesDep, answer, answers

router = APIRouter(prefix="/v1", tags=["gradient checks"])


@router.post(
    "/gradient_checks",
    openapi_extra=accepts(GradientCheckRequest),
    responses=answers({200: {"model": GradientCheckOut}}, 400, 413, 415, 422, 429),
)
def create_gradient_check(
    services: ServicesDep, body: Annotated[GradientCheckRequest, Depends(json_body(GradientCheckRequest))]
) -> Response:
    """Compare every tensor's gradient with central differences in float64: the largest relative error of each."""
    return answer(gradient_check_of(services, body))


@router.get(
    "/jobs/{job_id}/explanations/gradient_check",
    responses=answers({200: {"model": GradientCheckOut}}, 404, 422, 429),
)
def explain_gradients(
    services: ServicesDep,
    job_id: JobId,
    rows: Annotated[
        int, Query(ge=1, le=MAX_CHECK_ROWS, description="Training rows that the loss is taken on")
    ] = CHECK_ROWS,
) -> Response:
    """The same for a job, at its result, else at its last checkpoint, else at the weights it starts from."""
    return answer(explanation_of(services, services.jobs.get(job_id), rows))
