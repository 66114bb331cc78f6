"""What routes take from paths, queries and headers, and how they answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from fastapi import Depends, Header, Path, Query, Request
from pydantic import AfterValidator
from starlette.responses import Response

from kernels.errors import InvalidInput, MalformedInput, NotFound
from service.context import Services
from service.text import echo

_JOB_ID = re.compile(r"job_[0-9a-zA-Z]{1,64}", re.ASCII)
_DATASET_ID = re.compile(r"ds_[0-9a-zA-Z]{1,64}|[a-z][a-z0-9_]{1,31}", re.ASCII)
_SWEEP_ID = re.compile(r"swp_[0-9a-zA-Z]{1,64}", re.ASCII)
_EVENT_ID = re.compile(r"[0-9]{1,15}", re.ASCII)
_HEADER_KEY = re.compile(r"[!-~]{1,255}", re.ASCII)

MAX_JOBS = 100
"""Jobs that one request may name."""

MAX_WAIT_S = 60
"""Seconds after which a request is answered in any case: proxies wait about as long."""

NO_JOB = "there is no such job"
NO_SWEEP = "there is no such sweep"
NO_DATASET = "there is no such data set"


async def services_of(request: Request) -> Services:
    """The application's parts."""
    found: Services = request.app.state.services
    return found


async def services_with_store(request: Request) -> Services:
    """The same, for a route that needs the store. Raises StoreUnavailable at once while it is known to be away."""
    found: Services = request.app.state.services
    found.check_store()
    return found


def checked_job_id(text: str) -> str:
    """`text` if it could be a job's id. Raises NotFound."""
    if not _JOB_ID.fullmatch(text):
        raise NotFound(NO_JOB)
    return text


def job_ids(text: str, where: str = "jobs") -> list[str]:
    """Different ids from the query parameter `where`, separated by commas. Raises NotFound, InvalidInput."""
    names = list(dict.fromkeys(checked_job_id(name) for name in text.split(",")))
    if len(names) > MAX_JOBS:
        raise InvalidInput.at(f"/query/{where}", f"names {len(names)} jobs; must be 1..{MAX_JOBS}")
    return names


def checked_dataset_id(text: str) -> str:
    """`text` if it could be a data set's id. Raises NotFound."""
    if not _DATASET_ID.fullmatch(text):
        raise NotFound(NO_DATASET)
    return text


def checked_sweep_id(text: str) -> str:
    """`text` if it could be a sweep's id. Raises NotFound."""
    if not _SWEEP_ID.fullmatch(text):
        raise NotFound(NO_SWEEP)
    return text


def checked_header_key(text: str) -> str:
    """`text` if it can be an idempotency key. Raises ValueError."""
    if not _HEADER_KEY.fullmatch(text):
        raise ValueError("must be 1..255 printable ASCII characters without spaces")
    return text


def event_number(text: str, where: str) -> int:
    """The id of one event of a job. Raises MalformedInput naming `where` it stood."""
    if not _EVENT_ID.fullmatch(text):
        raise MalformedInput(f"{where} is {echo(text)}; must be the number of an event, 0 for the start")
    return int(text)


AnyServices = Annotated[Services, Depends(services_of)]
ServicesDep = Annotated[Services, Depends(services_with_store)]
JobId = Annotated[str, Path(description="`job_…`, as the service made it"), AfterValidator(checked_job_id)]
"""What could be no id is answered like a job that is not there."""
DatasetId = Annotated[
    str, Path(description="`ds_…`, or the name of a built-in set"), AfterValidator(checked_dataset_id)
]
SweepId = Annotated[str, Path(description="`swp_…`, as the service made it"), AfterValidator(checked_sweep_id)]
IdempotencyKey = Annotated[
    Annotated[str, AfterValidator(checked_header_key)] | None,
    Header(
        alias="Idempotency-Key",
        description="The same key with the same body gives the same resource, for 24 h",
        json_schema_extra={"pattern": f"^{_HEADER_KEY.pattern}$", "maxLength": 255},
    ),
]
Limit = Annotated[int, Query(ge=1, le=100, description="Items per page")]
After = Annotated[str | None, Query(max_length=100, description="The last id of the page before")]
JobIds = Annotated[str, Query(description=f"Ids of up to {MAX_JOBS} jobs, separated by commas")]
AfterStep = Annotated[int, Query(ge=-1, le=2**53, description="Only points of later steps")]
UntilStep = Annotated[int | None, Query(ge=0, le=2**53, description="Only points of this step and earlier ones")]
WaitS = Annotated[
    float,
    Query(
        ge=0,
        le=MAX_WAIT_S,
        allow_inf_nan=False,
        description="Answer when it has ended, or after so many seconds as it is then; at once where too many wait",
    ),
]
Checkpoint = Annotated[
    str | None,
    Query(
        max_length=30,
        description="A step of `…/checkpoints`, or `latest`; nothing: the result",
        json_schema_extra={"pattern": "^(latest|[0-9]+)$"},
    ),
]


def answer(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`content` as JSON; NaN and infinities become null."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    return Response(body, status, {"Cache-Control": "no-store"} | (headers or {}), "application/json")


def prefers(accept: str, media_type: str) -> bool:
    """Whether an `Accept` header ranks a media type above JSON; what it does not name, or only by `*`, it does not."""
    ranks = {"application/json": 0.0, media_type: 0.0}
    for item in accept.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        weights = [part[2:] for part in parameters if part.startswith("q=")]
        if name in ranks and re.fullmatch(r"[01](\.\d{0,3})?", weights[0] if weights else "1", re.ASCII):
            ranks[name] = float(weights[0] if weights else "1")
    return ranks[media_type] > ranks["application/json"]


def page_of(items: list[dict[str, Any]], has_more: bool) -> dict[str, Any]:
    """A cursor list."""
    ids = [item["id"] for item in items]
    return {
        "object": "list",
        "data": items,
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
        "has_more": has_more,
    }


def answers(good: Mapping[int, Mapping[str, Any]], *refusals: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: what it gives, and the refusals it may answer beside those that every route has.

    These name their schema: of a model FastAPI makes one more for each refusal of each route, when it starts.
    """
    schema = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}
    found: dict[int | str, dict[str, Any]] = {status: dict(answer) for status, answer in good.items()}
    for status in sorted({*refusals, *EVERYWHERE}):
        found[status] = {"description": _MEANINGS[status], "content": schema}
    return found


EVERYWHERE = (401, 403, 421, 422, 503)
"""What any route may answer: the guard's refusals, that a query parameter is unknown, that the store is away."""


_MEANINGS = {
    400: "The request could not be read",
    401: "A valid API key is needed",
    403: "Requests from other sites are refused",
    404: "There is no such resource",
    406: "There is no answer of the media types that the client takes",
    409: "The present state does not allow this; the detail names what is allowed",
    413: "The body is too large",
    415: "The media type is not taken here",
    416: "The range lies outside the file",
    421: "This service does not answer to that name",
    422: "A value is not allowed; `errors` names each field",
    429: "Too much is queued; try again later",
    503: "The job store cannot be reached; try again after Retry-After",
    507: "There is no space left on the data volume",
}
