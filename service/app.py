"""The application: its parts made and ended with it, its routes, its errors, its OpenAPI document."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.status import HTTP_405_METHOD_NOT_ALLOWED

from kernels.errors import MlpqError, NotFound, StoreUnavailable
from service.context import Services, StillAway
from service.edge import Edge
from service.ends import Ends
from service.explanations import Explanations
from service.feed import Feed
from service.guard import Guard
from service.metrics import Metrics
from service.models.answers import ProblemOut
from service.models.many import BatchRequest, SweepRequest
from service.models.requests import GradientCheckRequest, JobPatch, JobRequest, PredictRequest
from service.predictors import Predictors
from service.problems import problem_of
from service.routes import (
    curves,
    datasets,
    events,
    explanations,
    gradients,
    jobs,
    lecture,
    page,
    results,
    sweeps,
    system,
)
from service.settings import Settings
from service.tables import Tables
from store.connection import connect, connect_async
from store.curves import Curves
from store.datasets import DatasetStore
from store.events import EventLog
from store.files import LocalArtifacts
from store.idempotency import Idempotency
from store.identity import Ownership
from store.jobs import JobStore
from store.reaper import Reaper
from store.sweeps import SweepStore
from store.workers import Workers

VERSION = "0.1.0"
DESCRIPTION = "Train fully connected networks over HTTP: submit a job, watch the loss fall, take the weights home."
THREADS = 256
"""Requests that may wait for the store at once; while it hangs each holds a thread for 0.8 s."""

BODIES = (JobRequest, BatchRequest, SweepRequest, JobPatch, PredictRequest, GradientCheckRequest)
"""Models that `service.body.json_body` reads; FastAPI does not see them, nor `ProblemOut`, which refusals name."""


def create_app(settings: Settings) -> FastAPI:
    """An application on the store and the data directory that `settings` name. Connects when it starts."""
    metrics = Metrics()
    app = FastAPI(
        title="mlpq",
        version=VERSION,
        description=DESCRIPTION,
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.services = build(settings, metrics)
    # the busiest first
    for module in (jobs, events, results, curves, sweeps, explanations, gradients, datasets, lecture, system, page):
        app.router.routes.extend(module.router.routes)  # `include_router` would make each a second time
    for error in (MlpqError, HTTPException, RequestValidationError, ClientDisconnect):
        app.add_exception_handler(error, refuse)
    app.add_middleware(Edge, guard=Guard(settings), metrics=metrics)
    setattr(app, "openapi", lambda: _openapi(app))  # noqa: B010 - FastAPI's documented way to extend it
    return app


def build(settings: Settings, metrics: Metrics) -> Services:
    """Every part, not yet connected to anything."""
    redis = connect(settings.redis_url, "fail_fast", max_connections=2 * THREADS)
    store = DatasetStore(redis, settings.data_dir)
    artifacts = LocalArtifacts(settings.data_dir)
    tables = Tables(store)
    predictors = Predictors(artifacts, tables)
    return Services(
        settings=settings,
        jobs=JobStore(redis),
        sweeps=SweepStore(redis),
        log=EventLog(redis),
        curves=Curves(redis),
        workers=Workers(redis),
        idempotency=Idempotency(redis),
        datasets=store,
        artifacts=artifacts,
        tables=tables,
        predictors=predictors,
        explanations=Explanations(predictors, tables),
        feed=Feed(connect_async(settings.redis_url, "fail_fast"), metrics),
        ends=Ends(connect_async(settings.redis_url, "fail_fast"), metrics, settings.max_streams),
        metrics=metrics,
        ownership=Ownership(redis, settings.data_dir),
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    settings = services.settings
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    await asyncio.to_thread(services.artifacts.sweep)
    await asyncio.to_thread(services.datasets.sweep)
    current_default_thread_limiter().total_tokens = THREADS
    reaper = Reaper(JobStore(connect(settings.redis_url, "fail_fast")), guard=services.check_ownership)
    reaper.start()
    services.feed.start()
    services.ends.start()
    gc.collect()
    gc.freeze()  # what is made here stays: no later collection looks through it again
    yield
    await services.feed.stop()
    await services.ends.stop()
    await asyncio.to_thread(reaper.stop)
    services.jobs.redis.close()


async def refuse(request: Request, error: Exception) -> Response:
    """The one mapper. What is not there is named by its route, so that all such answers are alike."""
    instance = request.url.path
    if isinstance(error, NotFound):
        instance = getattr(request.scope.get("route"), "path", instance)
    if isinstance(error, StoreUnavailable) and not isinstance(error, StillAway):
        services: Services = request.app.state.services
        services.store_failed()
    problem = problem_of(error)
    if problem.status == HTTP_405_METHOD_NOT_ALLOWED:
        methods = _methods(request)
        detail = f"{request.method} is not taken here; must be one of {methods}"
        problem = replace(problem, detail=detail, headers={"Allow": methods})
    return problem.response(instance)


def _methods(request: Request) -> str:
    """Those of a path; the router names those of the first route that matches it, not of all."""
    template = getattr(request.scope.get("route"), "path", "")
    same = (route for route in request.app.routes if getattr(route, "path", "") == template)
    return ", ".join(method for route in same for method in getattr(route, "methods", None) or ())


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        _, bodies = models_json_schema(
            [*((model, "validation") for model in BODIES), (ProblemOut, "serialization")],
            ref_template="#/components/schemas/{model}",
        )
        schemas = document["components"]["schemas"]
        schemas.update(bodies["$defs"])
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        for methods in document["paths"].values():
            for operation in methods.values():
                operation["responses"] = _true_answers(operation["responses"])
        if app.state.services.settings.api_keys:
            document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{"key": []}]
        app.openapi_schema = document
    return app.openapi_schema


def _true_answers(responses: dict[str, Any]) -> dict[str, Any]:
    """Without FastAPI's own 422, which no route gives."""
    return {
        status: answer
        for status, answer in responses.items()
        if "HTTPValidationError" not in str(answer.get("content", {}))
    }
