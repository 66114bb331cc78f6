"""Reading request bodies: media type, size as the bytes arrive, strict JSON, strict models."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from anyio.to_thread import run_sync
from fastapi import Request
from pydantic import BaseModel, ValidationError

from kernels.errors import InvalidInput, TooLarge
from service.problems import Refused, invalid_input
from service.strict_json import parse
from service.text import echo

Model = TypeVar("Model", bound=BaseModel)

_IN_THREAD_BYTES = 32 * 1024
"""Longer bodies are parsed beside the event loop."""


async def limited(request: Request, limit_bytes: int) -> AsyncIterator[bytes]:
    """The body's chunks, until it turns out longer than `limit_bytes`, whatever its Content-Length said.

    Raises:
        TooLarge: the declared or the real length is over the limit.
    """
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > 18 or int(declared) > limit_bytes):
        raise TooLarge(f"the body is declared as {echo(declared)} bytes; at most {limit_bytes} are taken here")
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit_bytes:
            raise TooLarge(f"the body is longer than the {limit_bytes} bytes that are taken here")
        yield chunk


async def read(request: Request, limit_bytes: int) -> bytes:
    """The whole body, at most `limit_bytes` of it."""
    return b"".join([chunk async for chunk in limited(request, limit_bytes)])


def media_type(request: Request) -> str:
    """The Content-Type without its parameters, lower case; empty if there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def require_json(request: Request) -> None:
    """Raise `Refused` (415) unless the body says that it is JSON in UTF-8."""
    kind = media_type(request)
    _, _, charset = request.headers.get("content-type", "").lower().partition("charset=")
    if kind not in {"application/json", "application/merge-patch+json"} or charset.strip(' "') not in {"", "utf-8"}:
        shown = echo(request.headers.get("content-type", ""))
        detail = f"Content-Type is {shown}; must be application/json"
        raise Refused(415, "unsupported_media_type", "This media type is not taken here", detail)


def model_of(model: type[Model], raw: bytes) -> Model:
    """`raw` as strict JSON and then as `model`.

    Raises:
        MalformedInput: not JSON. InvalidInput: not what the model allows, each field with its pointer.
    """
    value = parse(raw)
    if not isinstance(value, dict):
        raise InvalidInput.at("", f"is {echo(value)}; must be a JSON object")
    return validated(model, value)


def validated(model: type[Model], value: Any) -> Model:
    """`value` as `model`, with pydantic's complaints as the tree's own error."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid_input(error, value, model) from None
    except RecursionError:
        raise InvalidInput.at("", "is nested too deeply") from None


def json_body(model: type[Model]) -> Callable[[Request], Awaitable[Model]]:
    """A dependency that reads the body as `model`; its SHA-256 is left in `request.state.body_sha256`."""

    async def read_model(request: Request) -> Model:
        require_json(request)
        raw = await read(request, request.app.state.services.settings.max_body_bytes)
        request.state.body_sha256 = hashlib.sha256(raw).hexdigest()
        if len(raw) > _IN_THREAD_BYTES:
            return await run_sync(model_of, model, raw)
        return model_of(model, raw)

    return read_model


def accepts(model: type[BaseModel]) -> dict[str, Any]:
    """For a route's `openapi_extra`: the body is read by `json_body`, which FastAPI does not see."""
    reference = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": reference}}}}
