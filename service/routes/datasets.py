"""/v1/datasets: upload, look, delete."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from typing import Annotated, TypeVar

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from kernels.errors import InvalidInput
from service.body import limited, media_type
from service.context import Services
from service.models.datasets import DatasetList, DatasetOut
from service.params import After, DatasetId, IdempotencyKey, Limit, ServicesDep, answer, answers, page_of
from service.problems import Refused
from service.strict_query import Holds, Route
from service.text import echo
from service.uploads import OPTIONS, MultipartBody, RawBody, Receiver, pour
from store.datasets import Dataset
from store.ingest.intake import Intake, Upload

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], route_class=Route)

T = TypeVar("T")

FORM = "multipart/form-data"
RAW = frozenset(
    {
        "",
        "application/octet-stream",
        "text/csv",
        "application/gzip",
        "application/x-gzip",
        "application/zip",
        "application/x-tar",
        "application/vnd.apache.parquet",
    }
)
"""Media types of a body that is the file itself."""

OVERHEAD_BYTES = 2 << 20
"""What a form may hold beside its files."""

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "contentMediaType": "application/octet-stream"},
                        "options": {"type": "string", "contentMediaType": "application/json"},
                    },
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.post(
    "",
    status_code=201,
    openapi_extra=_BODY,
    responses=answers({201: {"model": DatasetOut}}, 400, 413, 415, 507),
)
async def create_dataset(
    request: Request,
    services: ServicesDep,
    key: IdempotencyKey = None,
    filename: Annotated[str, Query(max_length=400, description="Name of the file, if the body is the file")] = "upload",
    options: Annotated[
        str | None, Query(description="JSON object of options, if the body is the file"), Holds(OPTIONS)
    ] = None,
) -> Response:
    """Upload a CSV, JSON, Parquet, Feather, NPZ, NPY, IDX or CIFAR file as `multipart/form-data` or as the body itself.

    A form has a part `file` (two of an IDX pair) and the field `options`, a JSON object: `name`, `target`, `format`,
    `task`, `features`, `columns`, `missing`, `standardize`, `part`, `delimiter`, `header`, `encoding`, `decimal`,
    `thousands`, `dates`.
    """
    limit = services.settings.max_upload_bytes
    async with _in_threads(services.datasets.receive(limit)) as intake:
        receiver = await run_sync(_receiver, request, intake, filename, options)
        await pour(limited(request, limit + OVERHEAD_BYTES), receiver)
        dataset = await run_sync(_create, services, intake, receiver, key)
    return answer(dataset.to_json(), 201, {"Location": f"/v1/datasets/{dataset.id}"})


@router.get("", responses=answers({200: {"model": DatasetList}}))
def list_datasets(services: ServicesDep, limit: Limit = 20, after: After = None) -> Response:
    """Data sets, newest first; the built-in ones come last."""
    page = services.datasets.page(limit, after)
    return answer(page_of([dataset.to_json() for dataset in page.items], page.has_more))


@router.get("/{dataset_id}", responses=answers({200: {"model": DatasetOut}}, 404))
def get_dataset(services: ServicesDep, dataset_id: DatasetId) -> Response:
    """One data set."""
    return answer(services.datasets.get(dataset_id).to_json())


@router.delete("/{dataset_id}", status_code=204, responses=answers({204: {"description": "Deleted"}}, 404, 409))
def delete_dataset(services: ServicesDep, dataset_id: DatasetId) -> Response:
    """Forget a data set; 409 while an unfinished job uses it."""
    services.datasets.delete(dataset_id)
    services.tables.forget(dataset_id)
    return Response(status_code=204)


def _receiver(request: Request, intake: Intake, filename: str, options: str | None) -> Receiver:
    kind = media_type(request)
    if kind == FORM:
        if options is not None:
            raise InvalidInput.at("/query/options", "is for a body that is the file; in a form they are a part")
        return MultipartBody(intake, request.headers["content-type"])
    if kind in RAW:
        return RawBody(intake, filename, options)
    detail = f"Content-Type is {echo(kind)}; must be {FORM}, or application/octet-stream for the file itself"
    raise Refused(415, "unsupported_media_type", "This media type is not taken here", detail)


def _create(services: Services, intake: Intake, receiver: Receiver, key: str | None) -> Dataset:
    uploads = intake.uploads()
    if key is None:
        return services.datasets.create_from_upload(uploads, receiver.chosen)
    body_sha256 = _body_sha256(uploads, receiver.options)
    services.idempotency.seen(key, body_sha256)
    dataset = services.datasets.create_from_upload(uploads, receiver.chosen)
    services.idempotency.remember(key, body_sha256, dataset.id)
    return dataset


def _body_sha256(uploads: list[Upload], options: bytes | None) -> str:
    parts = [b"datasets", options or b"", *(f"{u.filename}\0{u.sha256}".encode() for u in uploads)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


@asynccontextmanager
async def _in_threads(context: AbstractContextManager[T]) -> AsyncIterator[T]:
    """A context whose beginning and end touch the disk, entered and left in threads."""
    stack = ExitStack()
    entered = await run_sync(stack.enter_context, context)
    try:
        yield entered
    finally:
        await run_sync(stack.close)
