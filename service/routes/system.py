"""Capabilities, queue, workers, health, Prometheus, and the documents about the API itself."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from functools import cache
from typing import Annotated

import orjson
from fastapi import APIRouter, Header, Request
from starlette.responses import Response

from kernels.errors import StoreUnavailable
from nets.capabilities import capabilities
from service import docs
from service.metrics import CONTENT_TYPE
from service.models.system import QueueOut, WorkersOut
from service.params import AnyServices, ServicesDep, answer, answers, page_of
from service.strict_query import Route
from store.connection import examine
from store.records import iso

router = APIRouter(tags=["system"], route_class=Route)


@cache
def _capabilities() -> tuple[bytes, str]:
    body = orjson.dumps({"object": "capabilities"} | capabilities())
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'


@router.get(
    "/v1/capabilities",
    responses=answers({200: {"description": "All registries"}, 304: {"description": "Unchanged"}}),
)
async def get_capabilities(if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """Every activation, loss, optimizer, schedule and initialiser with parameters, ranges, defaults and docs."""
    body, etag = _capabilities()
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if if_none_match is not None and etag in if_none_match:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


@router.get("/v1/queue", responses=answers({200: {"model": QueueOut}}))
def get_queue(services: ServicesDep) -> Response:
    """How many jobs wait and run, and how long the oldest has waited."""
    now = services.jobs.statistics()
    return answer(
        {
            "object": "queue",
            "depth": now.queued,
            "held": now.held,
            "oldest_wait_s": now.oldest_wait_s,
            "workers": now.workers,
            "jobs": {str(status): number for status, number in now.counts.items()},
        }
    )


@router.get("/v1/workers", responses=answers({200: {"model": WorkersOut}}))
def get_workers(services: ServicesDep) -> Response:
    """The workers that said within the last seconds that they live.

    `kernels` is `compiling` while jobs wait for the code of the CPU, once on a machine; else `loading` or `ready`.
    """
    shown = []
    for worker in services.workers.list():
        view = {"object": "worker", "name": worker.id} | asdict(worker)
        view["stack"] = len(worker.jobs)
        view["started_at"] = iso(view.pop("started_at_ms"))
        shown.append(view)
    return answer(page_of(shown, has_more=False))


@router.get("/healthz", include_in_schema=False)
async def healthz() -> Response:
    """This process answers, whatever its store does."""
    return answer({"status": "ok"})


@router.get("/readyz", include_in_schema=False)
def readyz(services: ServicesDep) -> Response:
    """200 when requests can be served: the store is ours and answers, not only with its clock while it loads. Else 503.

    `warnings` names each setting of the store that would break a promise, such as a log that is switched off.
    """
    services.check_ownership()
    services.jobs.counts()
    return answer({"status": "ready", "warnings": examine(services.jobs.redis)})


@router.get("/metrics", include_in_schema=False)
def prometheus(services: AnyServices) -> Response:
    """Metrics of this process and, if it answers, of the store."""
    try:
        counts = {str(status): number for status, number in services.jobs.counts().items()}
        services.metrics.store(counts, len(services.workers.list()))
    except StoreUnavailable:
        services.metrics.store(None, 0)
    return Response(services.metrics.page(), media_type=CONTENT_TYPE)


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """The OpenAPI document."""
    return answer(request.app.openapi())


@router.get("/docs", include_in_schema=False)
async def get_docs(request: Request) -> Response:
    """The OpenAPI document for people."""
    return Response(docs.page(request.app.openapi()), headers=docs.HEADERS, media_type="text/html; charset=utf-8")
