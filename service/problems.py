"""Every refusal as `application/problem+json` (RFC 9457): the one place where errors become HTTP."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from kernels import errors
from kernels.errors import FieldError
from nets.spec_errors import demand, unknown_field
from service.strict_json import escape_pointer
from service.text import echo, safe_sentence

MEDIA_TYPE = "application/problem+json"

SHOWN_ERRORS = 20
"""Who sends a million bad numbers is told about the first twenty, and about the first in every item of a list."""
_SHOWN_ITEMS = 1_000
_MUST = "; must be "
_ITEM = re.compile(r"/[a-z]+/[0-9]+(?=/|$)")

ERRORS: Mapping[type[errors.MlpqError], tuple[int, str]] = {
    errors.InvalidInput: (422, "The request holds values that are not allowed"),
    errors.MalformedInput: (400, "The request could not be read"),
    errors.NotFound: (404, "There is no such resource"),
    errors.IllegalTransition: (409, "The job's state does not allow this"),
    errors.Conflict: (409, "The resource is in use"),
    errors.TooLarge: (413, "The request is too large"),
    errors.DiskFull: (507, "There is no space left on the data volume"),
    errors.StoreUnavailable: (503, "The job store cannot be reached"),
    errors.ForeignStore: (503, "The job store belongs to another data directory"),
    errors.Corrupted: (500, "A stored file is damaged"),
}
"""HTTP status and title of each class of the exception tree; what is not here is our own fault (500)."""

ROUTER = {
    404: ("not_found", "There is no such resource", "nothing has this path; /docs shows all that there is"),
    405: ("method_not_allowed", "This resource does not know the method", "another method is taken here"),
}
"""Code, title and detail of what the router refuses."""


class Refused(errors.MlpqError):
    """A refusal that only HTTP knows: media types, keys, hosts, ranges, limits on connections."""

    def __init__(self, status: int, code: str, title: str, detail: str, headers: Mapping[str, str] | None = None):
        super().__init__(detail)
        self.status, self.code, self.title, self.headers = status, code, title, dict(headers or {})


@dataclass(frozen=True)
class Problem:
    """One refusal, ready to be written."""

    status: int
    code: str
    title: str
    detail: str
    errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self, instance: str) -> Response:
        """The refusal as a response; `instance` is the path that was asked for."""
        body = {
            "type": f"urn:mlpq:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": safe_sentence(self.detail),
            "instance": safe_sentence(instance),
            "code": self.code,
            "errors": [
                {"pointer": safe_sentence(e.pointer), "detail": safe_sentence(e.detail)}
                for e in _worth_showing(self.errors)
            ],
        }
        return Response(orjson.dumps(body), self.status, self.headers, MEDIA_TYPE)


def _worth_showing(found: Sequence[FieldError]) -> list[FieldError]:
    shown, items = list(found[:SHOWN_ERRORS]), set[str]()
    for place, error in enumerate(found):
        item = _ITEM.match(error.pointer)
        if item is None or item[0] in items:
            continue
        items.add(item[0])
        if place >= SHOWN_ERRORS and len(items) <= _SHOWN_ITEMS:
            shown.append(error)
    return shown


def problem_of(error: Exception) -> Problem:
    """What `error` is in HTTP. Unknown errors are 500 and tell nothing about the inside."""
    match error:
        case Refused():
            return Problem(error.status, error.code, error.title, str(error), headers=error.headers)
        case RequestValidationError():
            return _invalid(parameter_errors(error.errors()))
        case ValidationError():
            return _invalid(field_errors(error))
        case HTTPException():
            refused = ("http_error", "The request was refused", str(error.detail))
            code, title, detail = ROUTER.get(error.status_code, refused)
            return Problem(error.status_code, code, title, detail, headers=error.headers or {})
        case ClientDisconnect():
            return Problem(400, "malformed_input", "The request could not be read", "the body ended early")
        case errors.MlpqError():
            return _of_tree(error)
    return Problem(500, "internal", "Something went wrong here", "the error was logged under this request's id")


def _of_tree(error: errors.MlpqError) -> Problem:
    for kind in type(error).__mro__:
        if kind in ERRORS:
            status, title = ERRORS[kind]
            fields = error.errors if isinstance(error, errors.InvalidInput) else ()
            retry = {"Retry-After": str(error.retry_after_s)} if isinstance(error, errors.StoreUnavailable) else {}
            # One sentence for all that is not there, whether it never was, is gone, or could not be an id.
            detail = title if status == 404 else _sentences(fields) or str(error) or title
            return Problem(status, error.code, title, detail, fields, retry)
    return Problem(500, "internal", "Something went wrong here", "the error was logged under this request's id")


def _invalid(found: Sequence[FieldError]) -> Problem:
    status, title = ERRORS[errors.InvalidInput]
    return Problem(status, errors.InvalidInput.code, title, _sentences(found[:3]) or title, found)


def _sentences(found: Sequence[FieldError]) -> str:
    """The refusals of fields in one line; what concerns the body as a whole has no pointer to begin with."""
    return "; ".join(f"{e.pointer or 'the body'}{':' if e.pointer else ''} {e.detail}" for e in found)


def invalid_input(error: ValidationError, body: object, model: type[BaseModel]) -> errors.InvalidInput:
    """Pydantic's complaint about `body`, which is no `model`, as the tree's own error, field by field."""
    return errors.InvalidInput(*field_errors(error, body, model))


def field_errors(error: ValidationError, body: object = None, model: type[BaseModel] | None = None) -> list[FieldError]:
    """Each complaint with a pointer into `body` and a sentence: the value, then what is allowed.

    As many unknown fields as are shown are compared with those of `model`: bodies may hold very many. A value that is
    of none of several types is one complaint.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for item in error.errors(include_url=False):
        for one in _explain(item, body, model if len(found) < SHOWN_ERRORS else None):
            value, _, wanted = one.detail.partition(_MUST)
            wants = found.setdefault((one.pointer, value), [])
            if wanted not in wants:
                wants.append(wanted)
    return [FieldError(pointer, _demanded(value, wants)) for (pointer, value), wants in found.items()]


def _demanded(value: str, wants: Sequence[str]) -> str:
    alternatives = " or ".join(filter(None, wants))
    return f"{value}{_MUST}{alternatives}" if alternatives else value


def _explain(item: Any, body: object, model: type[BaseModel] | None) -> list[FieldError]:
    pointer = _pointer(item["loc"], body, missing=item["type"] == "missing")
    cause = item.get("ctx", {}).get("error")
    if item["type"] == "setting":  # a registry row's own check; see nets.spec.Choice
        context = item["ctx"]
        step = f"/{escape_pointer(context['at'])}" if context["at"] else ""
        return [FieldError(pointer + step, context["detail"])]
    if isinstance(cause, errors.InvalidInput):
        return [FieldError(_joined(pointer, e.pointer), e.detail) for e in cause.errors]
    if item["type"] == "extra_forbidden" and model is not None:
        return [FieldError(pointer, unknown_field(model, item["loc"]))]
    return [FieldError(pointer, _sentence(item))]


def _joined(outer: str, inner: str) -> str:
    """`inner` may be relative to the field that raised it or already the whole pointer."""
    return inner if inner.startswith(outer) else outer + inner


def _sentence(item: Any) -> str:
    match item["type"]:
        case "extra_forbidden":
            return "is not a known field"
        case "missing":
            return "is required"
        case "value_error":
            message = str(item["msg"]).removeprefix("Value error, ")
            return message[:1].lower() + message[1:]
    return f"is {echo(item['input'])}; {demand(item['type'], item['msg'], item.get('ctx', {}))}"


def _pointer(location: Sequence[int | str], body: object, *, missing: bool) -> str:
    """A JSON pointer from pydantic's location, without the names of union branches that `body` does not hold."""
    steps: list[str] = []
    here = body
    for index, step in enumerate(location):
        known_item = isinstance(here, list) and isinstance(step, int) and 0 <= step < len(here)
        if known_item or (isinstance(here, dict) and step in here):
            here = here[step]  # type: ignore[index]
        elif body is not None and not (missing and index == len(location) - 1):
            continue
        steps.append(escape_pointer(str(step)))
    return "".join(f"/{step}" for step in steps)


def parameter_errors(wrong: Sequence[Any], ranges: Mapping[str, str] = MappingProxyType({})) -> list[FieldError]:
    """FastAPI's complaints about query, path and header parameters: `/query/limit`, `/headers/Idempotency-Key`.

    `ranges` are those of numbers in the query, of which FastAPI tells one bound or none.
    """
    found = []
    for item in wrong:
        where, *rest = item["loc"]
        steps = ("headers" if where == "header" else where, *rest)
        pointer = "".join(f"/{escape_pointer(str(step))}" for step in steps)
        allowed = ranges.get(str(rest[-1])) if where == "query" and rest else None
        found.append(
            FieldError(pointer, f"is {echo(item['input'])}; must be {allowed}" if allowed else _sentence(item))
        )
    return found
