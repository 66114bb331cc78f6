"""What a person may say of a job beside its training: a name, tags, metadata, a priority."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from service.text import echo, name_error
from store.records import PRIORITY_RANGE, TAGS_MAX

MAX_TAG_CHARACTERS = 64
MAX_METADATA_BYTES = 16 * 1024
MAX_METADATA_DEPTH = 8
MAX_SAFE_INTEGER = 2**53 - 1
"""Beyond it JSON readers disagree about integers."""


def _name(text: str) -> str:
    why = name_error(text)
    if why is not None:
        raise ValueError(why)
    return text


def _tag(text: str) -> str:
    why = name_error(text, MAX_TAG_CHARACTERS) or (None if text.strip() else "is empty")
    if why is not None:
        raise ValueError(why)
    return text


def _unique(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tags))


def _metadata(value: Any) -> Any:
    """Any small JSON object: depth, size and numbers are bounded, so that every reader reads it alike."""
    if isinstance(value, dict):
        size = _measure(value, 1)
        if size > MAX_METADATA_BYTES:
            raise ValueError(f"takes {size} bytes; at most {MAX_METADATA_BYTES} are allowed")
    return value


def _measure(value: Any, depth: int) -> int:
    if depth > MAX_METADATA_DEPTH:
        raise ValueError(f"is nested more than {MAX_METADATA_DEPTH} levels deep")
    match value:
        case dict():
            return 2 + sum(len(key) + 4 + _measure(item, depth + 1) for key, item in value.items())
        case list():
            return 2 + sum(1 + _measure(item, depth + 1) for item in value)
        case str():
            return len(value.encode()) + 2
        case bool() | None:
            return 5
        case int() if abs(value) > MAX_SAFE_INTEGER:
            raise ValueError(f"holds {echo(value)}; integers must be within ±(2^53 - 1)")
        case float() if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(f"holds {echo(value)}; numbers must be finite")
    return 20


Name = Annotated[str, AfterValidator(_name), Field(json_schema_extra={"maxLength": 200})]
Tag = Annotated[str, AfterValidator(_tag), Field(json_schema_extra={"minLength": 1, "maxLength": MAX_TAG_CHARACTERS})]
Tags = Annotated[list[Tag], Field(max_length=TAGS_MAX), AfterValidator(_unique)]
Metadata = Annotated[dict[str, Any], BeforeValidator(_metadata)]
Priority = Annotated[int, Field(ge=PRIORITY_RANGE[0], le=PRIORITY_RANGE[1])]
