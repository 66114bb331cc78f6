"""What pydantic finds wrong with a spec, as pointers and sentences that name value and allowed range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from kernels.errors import FieldError

UNION_LABELS = frozenset({"<one>", "<many>"})
"""Names of the branches of a union in nets.spec; nobody outside should meet them."""


def shown(value: object) -> str:
    """A value as an error shows it: at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def field_errors(error: ValidationError, prefix: str = "") -> tuple[FieldError, ...]:
    """A validation error as pointers and sentences, for InvalidInput; union labels are left out."""
    found = []
    for item in error.errors(include_url=False):
        context = item.get("ctx", {})
        path = [str(part) for part in item["loc"] if part not in UNION_LABELS]
        if item["type"] == "setting":
            path += filter(None, [context["at"]])
            detail = context["detail"]
        elif item["type"] in {"extra_forbidden", "missing"}:
            detail = "is not a known field" if item["type"] == "extra_forbidden" else "is required"
        else:
            detail = f"is {shown(item['input'])}; must be {_wanted(item['type'], item['msg'], context)}"
        pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)
        found.append(FieldError(prefix + pointer, detail))
    return tuple(found)


_WANTED = {
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a string",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "finite_number": "a finite number",
}


def _wanted(kind: str, message: str, context: Mapping[str, Any]) -> str:
    if kind == "too_long":
        return f"at most {context['max_length']} long"
    if kind == "string_pattern_mismatch":
        return f"text that matches {context['pattern']}"
    return _WANTED.get(kind, message.removeprefix("Input should be "))
