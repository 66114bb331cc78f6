"""What a job has brought: its curve, its checkpoints, its weights, predictions."""

from __future__ import annotations

import csv
import io
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from nets.weight_formats import EXPORTERS
from service.body import accepts, json_body
from service.card import card_of
from service.card_markdown import markdown_of
from service.download import download
from service.evaluation import evaluation_of
from service.models.curves import MetricsOut
from service.models.jobs import CardOut, CheckpointList
from service.models.requests import EvaluateRequest, PredictRequest
from service.models.results import EvaluationOut, PredictOut
from service.params import AfterStep, Checkpoint, JobId, ServicesDep, UntilStep, answer, answers, page_of, prefers
from service.strict_query import Route
from service.views import checkpoint_view

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["results"], route_class=Route)

Format = Literal["npz", "safetensors", "onnx", "torch", "predict.py"]
_MOST = "Thin out to at most so many; of every column the lowest and the highest stay"
_FILE = {"schema": {"type": "string", "format": "binary"}}
_WEIGHTS: dict[int, dict[str, Any]] = {
    200: {"description": "The file", "content": {"application/octet-stream": _FILE}},
    206: {"description": "The asked part", "content": {"application/octet-stream": _FILE}},
    304: {"description": "The client has it"},
}


@router.get(
    "/metrics",
    responses=answers(
        {
            200: {"model": MetricsOut, "content": {"text/csv": {"schema": {"type": "string"}}}},
        },
        404,
    ),
)
def get_metrics(
    services: ServicesDep,
    job_id: JobId,
    after_step: AfterStep = -1,
    until_step: UntilStep = None,
    max_points: Annotated[int | None, Query(ge=2, le=200_000, description=_MOST)] = None,
    format: Annotated[Literal["json", "csv"], Query(description="Columns as JSON, or CSV")] = "json",  # noqa: A002
) -> Response:
    """The curve: one column per quantity, all of equal length; null where a point lacks a value."""
    services.jobs.get(job_id)
    columns = services.curves.of(job_id).rows(after_step, until_step, max_points).lists()
    if format == "csv":
        headers = {"Content-Disposition": f'attachment; filename="{job_id}.csv"', "Cache-Control": "no-store"}
        return Response(_csv(columns), headers=headers, media_type="text/csv; charset=utf-8")
    return answer({"object": "metrics", "job": job_id, "n_points": len(columns["step"]), "columns": columns})


@router.get("/checkpoints", responses=answers({200: {"model": CheckpointList}}, 404))
def get_checkpoints(services: ServicesDep, job_id: JobId) -> Response:
    """The checkpoints that are kept, newest first."""
    job = services.jobs.get(job_id)
    return answer(page_of([checkpoint_view(job, manifest) for manifest in job.checkpoints], has_more=False))


@router.get("/weights", responses=answers(_WEIGHTS, 404, 416))
def get_weights(
    request: Request,
    services: ServicesDep,
    job_id: JobId,
    format: Annotated[Format, Query(description="File format")] = "npz",  # noqa: A002 - the contract's name
    checkpoint: Checkpoint = None,
) -> Response:
    """Weights with their preprocessing: arrays `W1 (in, out)`, `b1 (out,)`, `W2`, … 404 while there are none."""
    file = services.predictors.file(services.jobs.get(job_id), format, checkpoint)
    return download(request, file.content, file.sha256, file.filename, "application/octet-stream")


_MARKDOWN = "text/markdown; charset=utf-8"
_TEXT = {"text/markdown": {"schema": {"type": "string"}}}


@router.get(
    "/card",
    responses=answers({200: {"model": CardOut, "content": {"text/markdown": {"schema": {"type": "string"}}}}}, 404),
)
def get_card(
    request: Request,
    services: ServicesDep,
    job_id: JobId,
    format: Annotated[Literal["json", "md"] | None, Query(description="Default by `Accept`, else JSON")] = None,  # noqa: A002
) -> Response:
    """The model card: data, spec, figures, environment, files with their hashes, and how to load them."""
    card = card_of(services, services.jobs.get(job_id))
    wanted = format or ("md" if prefers(request.headers.get("accept", ""), "text/markdown") else "json")
    headers = {"Cache-Control": "no-store", "Vary": "Accept"}
    if wanted == "json":
        return answer(card, headers=headers)
    headers["Content-Disposition"] = f'inline; filename="{job_id}-card.md"'
    return Response(markdown_of(card), headers=headers, media_type=_MARKDOWN)


@router.post(
    "/predict",
    openapi_extra=accepts(PredictRequest),
    responses=answers({200: {"model": PredictOut}}, 400, 404, 413, 415),
)
def predict(
    services: ServicesDep,
    job_id: JobId,
    body: Annotated[PredictRequest, Depends(json_body(PredictRequest))],
    checkpoint: Checkpoint = None,
) -> Response:
    """Predictions for rows: lists in the order of the columns, or objects by column name; null is missing.

    A category that the training rows did not have counts as none; `unseen` names its column, how many rows have one,
    and the first ten.
    """
    ready = services.predictors.ready(services.jobs.get(job_id), checkpoint)
    return answer(ready.predict(body.rows))


@router.post(
    "/evaluate",
    openapi_extra=accepts(EvaluateRequest),
    responses=answers({200: {"model": EvaluationOut}}, 400, 404, 413, 415, 429),
)
def evaluate(
    services: ServicesDep,
    job_id: JobId,
    body: Annotated[EvaluateRequest, Depends(json_body(EvaluateRequest))],
    checkpoint: Checkpoint = None,
) -> Response:
    """Measure the weights on every row of a data set with the same columns.

    `metrics` holds loss, accuracy, balanced accuracy, macro F1 and for two classes the area under the ROC curve; or
    loss, rmse, mae and r2 in the target's own unit.
    """
    return answer(evaluation_of(services, services.jobs.get(job_id), body.dataset, checkpoint))


def _csv(columns: dict[str, list[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


if set(EXPORTERS) != set(Format.__args__):  # type: ignore[attr-defined]
    raise RuntimeError("the formats of the API differ from those of nets.weight_formats")
