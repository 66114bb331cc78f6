"""Gradient checks: analytic gradients against float64 central differences, on the caller's own net and data."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from service.body import accepts, json_body
from service.explanations import GRADIENT_CHECK, Made
from service.gradients import explanation_of, gradient_check_of
from service.models.requests import CHECK_ROWS, MAX_CHECK_ROWS, GradientCheckRequest
from service.models.results import GradientCheckOut
from service.negotiation import form_of
from service.params import JobId, ServicesDep, answer, answers
from service.routes.explanations import PICTURE, WIDTH, Shape, Width, respond
from service.strict_query import Route

router = APIRouter(prefix="/v1", tags=["gradient checks"], route_class=Route)


@router.post(
    "/gradient_checks",
    openapi_extra=accepts(GradientCheckRequest),
    responses=answers({200: {"model": GradientCheckOut}}, 400, 413, 415, 429),
)
def create_gradient_check(
    services: ServicesDep, body: Annotated[GradientCheckRequest, Depends(json_body(GradientCheckRequest))]
) -> Response:
    """Compare every tensor's gradient with central differences in float64: the largest relative error of each."""
    return answer(gradient_check_of(services, body))


@router.get(
    "/jobs/{job_id}/explanations/gradient_check",
    responses=answers({200: {"model": GradientCheckOut, "content": PICTURE}}, 404, 406, 429),
)
def explain_gradients(
    request: Request,
    services: ServicesDep,
    job_id: JobId,
    rows: Annotated[
        int, Query(ge=1, le=MAX_CHECK_ROWS, description="Training rows that the loss is taken on")
    ] = CHECK_ROWS,
    format: Shape = None,  # noqa: A002 - the contract's name
    width: Width = WIDTH,
) -> Response:
    """The same for a job, at its result, else at its last checkpoint, else at the weights it starts from."""
    form = form_of(request, format)
    job = services.jobs.get(job_id)
    document = Made.of(orjson.dumps(explanation_of(services, job, rows)))
    return respond(request, services, job, GRADIENT_CHECK, document, form, width)
