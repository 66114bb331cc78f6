"""What pydantic finds wrong with a spec, as pointers and sentences that name value and allowed range."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from kernels.errors import FieldError, meant

UNION_LABELS = frozenset({"<one>", "<many>"})
"""Names of the branches of a union in nets.spec; nobody outside should meet them."""


def shown(value: object) -> str:
    """A value as an error shows it: as JSON writes it, at most 60 characters."""
    strange = isinstance(value, float) and not math.isfinite(value)
    text = repr(value) if strange else json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else text[:57] + "..."


def unknown_field(model: type[BaseModel], location: Sequence[int | str]) -> str:
    """What is wrong with a field that `model` has not at pydantic's `location`: the one that was meant, or all there.

    A field of this very name elsewhere in the model comes before one of nearly this name here.
    """
    *above, name = location
    elsewhere = _pointers(model).get(str(name))
    if elsewhere is not None:
        return f"is not a known field here; did you mean {elsewhere}?"
    known = _fields_at(model, above)
    allowed = f"; must be one of {', '.join(known)}"
    return f"is not a known field{meant(str(name), known) or allowed}"


def _fields_at(model: type[BaseModel], above: Sequence[int | str]) -> list[str]:
    """The fields of the model below `model` that `above` leads to; places of lists, keys and union labels lead on."""
    for step in above:
        field = model.model_fields.get(str(step))
        model = model if field is None else next(_models_in(field.annotation), model)
    return list(model.model_fields)


@lru_cache(maxsize=64)
def _pointers(model: type[BaseModel]) -> Mapping[str, str]:
    """By name the pointers of all fields and settings below the model's own fields; the first of equal names."""
    found = dict[str, str]()
    for name, field in model.model_fields.items():
        for inner in _models_in(field.annotation):
            rows = getattr(inner, "registry", {}).values()
            settings = [option.name for row in rows for option in row.options]
            own = settings if rows else inner.model_fields
            for below, rest in [*((one, f"/{one}") for one in own), *_pointers(inner).items()]:
                found.setdefault(below, f"/{name}{rest}")
    return found


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field's type names, in order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def field_errors(error: ValidationError, model: type[BaseModel]) -> tuple[FieldError, ...]:
    """The errors of a `model` as pointers and sentences, for InvalidInput; union labels are left out."""
    found = []
    for item in error.errors(include_url=False):
        context = item.get("ctx", {})
        path = [str(part) for part in item["loc"] if part not in UNION_LABELS]
        if item["type"] == "setting":
            path += filter(None, [context["at"]])
            detail = context["detail"]
        elif item["type"] == "extra_forbidden":
            detail = unknown_field(model, item["loc"])
        elif item["type"] == "missing":
            detail = "is required"
        else:
            detail = f"is {shown(item['input'])}; {demand(item['type'], item['msg'], context)}"
        pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)
        found.append(FieldError(pointer, detail))
    return tuple(found)


_WANTED = {
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_parsing_size": "an integer",
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
    if kind in ("literal_error", "enum"):
        return "must be " + str(context["expected"]).replace("'", '"')
    if kind == "too_short":
        return f"must hold at least {context['min_length']}"
    if kind == "too_long":
        return f"must hold at most {context['max_length']}"
    return re.sub(r"^\w+ should", "must", message)
