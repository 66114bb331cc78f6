"""What pydantic finds wrong with a spec, as pointers and sentences that name value and allowed range."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from kernels.errors import FieldError

UNION_LABELS = frozenset({"<one>", "<many>"})
"""Names of the branches of a union in nets.spec; nobody outside should meet them."""


def shown(value: object) -> str:
    """A value as an error shows it: as JSON writes it, at most 60 characters."""
    strange = isinstance(value, float) and not math.isfinite(value)
    text = repr(value) if strange else json.dumps(value, ensure_ascii=False, default=repr)
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
            detail = f"is {shown(item['input'])}; {demand(item['type'], item['msg'], context)}"
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


def demand(kind: str, message: str, context: Mapping[str, Any]) -> str:
    """What must be instead, for a type of pydantic's errors with its message and context: `must be an integer`."""
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}"
    if kind == "literal_error":
        return "must be " + str(context["expected"]).replace("'", '"')
    if kind == "too_short":
        return f"must hold at least {context['min_length']}"
    if kind == "too_long":
        return f"must hold at most {context['max_length']}"
    return re.sub(r"^\w+ should", "must", message)
