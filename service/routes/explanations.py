"""Explanations of what a job has learned: a route per row of `nets.explain.registry`, with the row's own parameters."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from nets.explain.registry import EXPLANATIONS, Explanation
from nets.options import Option
from service.context import Services
from service.download import download
from service.explanations import Made
from service.models.results import ExplanationList, ExplanationOut
from service.negotiation import MEDIA_TYPES, Form, form_of
from service.params import Checkpoint, JobId, ServicesDep, answer, answers, page_of
from service.strict_query import Route
from store.records import Job

router = APIRouter(prefix="/v1/jobs/{job_id}/explanations", tags=["explanations"], route_class=Route)

Shape = Annotated[Form | None, Query(description="json or png; nothing: what the Accept header prefers")]
Width = Annotated[int, Query(ge=200, le=2400, description="Pixels across, of a picture")]
Dataset = Annotated[
    str | None, Query(max_length=100, description="Another data set with the same columns; nothing: the job's own")
]
PICTURE: dict[str, Any] = {"image/png": {"schema": {"type": "string", "format": "binary"}}}
WIDTH = 900


@router.get("", responses=answers({200: {"model": ExplanationList}}, 404))
def list_explanations(services: ServicesDep, job_id: JobId) -> Response:
    """Every explanation, and whether this job has it once it has weights."""
    return answer(page_of(services.explanations.available(services.jobs.get(job_id)), has_more=False))


def respond(
    request: Request, services: Services, job: Job, name: str, document: Made, form: Form, width: int
) -> Response:
    """An explanation as JSON or as a picture, with its entity tag."""
    made = document if form == "json" else services.explanations.picture(job, name, document.content, width)
    response = download(
        request, made.content, made.sha256, f"{job.id}-{name}.{form}", MEDIA_TYPES[form], disposition="inline"
    )
    response.headers["Vary"] = "Accept"
    return response


def _add(row: Explanation) -> None:
    """The route of a row; FastAPI reads its parameters from the signature that is made here."""

    def explain(request: Request, services: Services, job_id: str, **asked: Any) -> Response:
        shape, width = asked.pop("format"), asked.pop("width")
        dataset, checkpoint = asked.pop("dataset", None), asked.pop("checkpoint")
        form = form_of(request, shape)
        job = services.jobs.get(job_id)
        document = services.explanations.document(job, row, asked, dataset, checkpoint)
        return respond(request, services, job, row.name, document, form, width)

    explain.__doc__ = f"{row.doc}\n\nFor jobs with: {row.needs}. Of the result, else of the newest checkpoint."
    setattr(explain, "__signature__", inspect.Signature(_parameters(row)))  # noqa: B010 - read by FastAPI
    router.add_api_route(
        f"/{row.name}",
        explain,
        name=f"explain_{row.name}",
        responses=answers(
            {200: {"model": ExplanationOut, "content": PICTURE}, 304: {"description": "The client has it"}},
            404,
            406,
            429,
        ),
    )


def _parameters(row: Explanation) -> list[inspect.Parameter]:
    def parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)

    own = [parameter(option.name, _query(option), option.default) for option in row.options]
    elsewhere = [parameter("dataset", Dataset, None)] if row.elsewhere else []
    return [
        parameter("request", Request),
        parameter("services", ServicesDep),
        parameter("job_id", JobId),
        *own,
        *elsewhere,
        parameter("checkpoint", Checkpoint, None),
        parameter("format", Shape, None),
        parameter("width", Width, WIDTH),
    ]


def _query(option: Option) -> Any:
    """The option as a query parameter."""
    if option.choices:
        return Annotated[Literal[option.choices], Query(description=option.doc)]
    return Annotated[int, Query(ge=option.low, le=option.high, description=option.doc)]


for _row in EXPLANATIONS.values():
    _add(_row)
