"""Event streams: one job's, or many on one connection."""

from __future__ import annotations

import re
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Query
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kernels.errors import MalformedInput
from service.context import Services
from service.params import JobId, JobIds, ServicesDep, answers, event_number, job_ids
from service.problems import Refused
from service.sse import STREAM_HEADERS, EventStream
from service.strict_query import Route
from service.text import echo

router = APIRouter(tags=["events"], route_class=Route)

_POSITION = re.compile(r"(job_[0-9a-zA-Z]{1,64}):([0-9]{1,15})", re.ASCII)

_STREAM: dict[int, dict[str, Any]] = {
    200: {
        "description": "Server-sent events: status, metric, checkpoint, log, end, reset",
        "content": {"text/event-stream": {}},
    },
    204: {"description": "Everything was sent before: the job has ended"},
}
_NUMBER = {"pattern": "^[0-9]{1,15}$"}  # in the schema alone: a refusal is a 400 that says more
After = Annotated[
    str | None, Query(description="Resume after this event; 0 or nothing replays all", json_schema_extra=_NUMBER)
]
_LAST = {"alias": "Last-Event-ID", "description": "Resume after this event"}
LastEventNumber = Annotated[str | None, Header(**_LAST, json_schema_extra=_NUMBER)]
LastEventId = Annotated[str | None, Header(**_LAST)]


class StreamResponse(Response):
    """An event stream where FastAPI expects a response."""

    def __init__(self, stream: EventStream) -> None:
        super().__init__()
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream, or only say that there is one."""
        if scope["state"].get("head"):
            await Response(headers=STREAM_HEADERS)(scope, receive, send)
            return
        await self._stream.serve(receive, send, scope["state"]["send_body"])


@router.get("/v1/jobs/{job_id}/events", responses=answers(_STREAM, 400, 404))
async def job_events(
    services: ServicesDep,
    job_id: JobId,
    after: After = None,
    last_event_id: LastEventNumber = None,
) -> Response:
    """Everything that happened to a job and will happen, until its `end`; ids count 1, 2, 3, …"""
    cursor = 0
    if after is not None:
        cursor = event_number(after, "after")
    if last_event_id is not None:
        cursor = event_number(last_event_id, "Last-Event-ID")
    return await _stream(services, {job_id: cursor}, prefixed=False)


@router.get("/v1/events", responses=answers(_STREAM, 400, 404))
async def many_events(
    services: ServicesDep,
    jobs: JobIds,
    after: Annotated[str | None, Query(description="`job:number` pairs, separated by commas")] = None,
    last_event_id: LastEventId = None,
) -> Response:
    """The events of many jobs; ids are `job:number/vector`, the vector being the positions of all jobs in order."""
    cursors = dict.fromkeys(job_ids(jobs), 0)
    if after:
        for part in after.split(","):
            _place(cursors, part, "after")
    if last_event_id is not None:
        _resume(cursors, last_event_id)
    return await _stream(services, cursors, prefixed=True)


def _resume(cursors: dict[str, int], text: str) -> None:
    """Positions from a Last-Event-ID: the vector tells all of them, a bare `job:number` only one."""
    head, slash, vector = text.partition("/")
    _place(cursors, head, "Last-Event-ID")
    if slash:
        numbers = vector.split(",")
        if len(numbers) != len(cursors):
            raise MalformedInput(f"Last-Event-ID holds {len(numbers)} positions for {len(cursors)} jobs")
        for name, number in zip(cursors, numbers, strict=True):
            cursors[name] = event_number(number, "Last-Event-ID")


def _place(cursors: dict[str, int], text: str, where: str) -> None:
    match = _POSITION.fullmatch(text.strip())
    if match is None or match[1] not in cursors:
        raise MalformedInput(f"{where} holds {echo(text)}; must be job:number for a job of this stream")
    cursors[match[1]] = int(match[2])


async def _stream(services: Services, cursors: dict[str, int], *, prefixed: bool) -> Response:
    if len(services.feed.listeners) >= services.settings.max_streams or services.feed.closing:
        detail = f"{len(services.feed.listeners)} event streams are open here; try again, or another process"
        raise Refused(503, "too_many_streams", "Too many event streams", detail, {"Retry-After": "2"})
    for name in cursors:
        if not services.feed.knows(name):
            await run_sync(services.jobs.get, name)
    channels = {await services.feed.open(name): cursor for name, cursor in cursors.items()}
    stream = EventStream(services.feed, channels, prefixed=prefixed)
    return Response(status_code=204) if stream.finished else StreamResponse(stream)
