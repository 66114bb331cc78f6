"""Query parameters that a route does not know, and repeated ones, are refused as such fields of a body are.

All that is wrong is told at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from annotated_types import Ge, Le
from fastapi import Request
from fastapi.dependencies.utils import get_flat_params, request_params_to_args
from fastapi.exceptions import RequestValidationError
from fastapi.params import Query
from fastapi.routing import APIRoute
from pydantic.fields import FieldInfo
from starlette.responses import Response

from kernels.errors import FieldError, InvalidInput, meant
from service.problems import SHOWN_ERRORS, parameter_errors
from service.strict_json import escape_pointer


@dataclass(frozen=True)
class Holds:
    """Beside the `Query` of a parameter that is a JSON object: the names that belong into it."""

    names: frozenset[str]


class Route(APIRoute):
    """A route of the contract: it takes the query parameters that it declares, each once, and no others.

    What is not in the schema (the page, probes, Prometheus) declares nothing, and takes any.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request."""
        answer = super().get_route_handler()
        if not self.include_in_schema:
            return answer
        declared = [field for field in get_flat_params(self.dependant) if isinstance(field.field_info, Query)]
        known = [field.alias for field in declared]
        inside = {name: field.alias for field in declared for name in _held(field.field_info)}
        ranges = {field.alias: told for field in declared if (told := _range(field.field_info))}

        async def strictly(request: Request) -> Response:
            if request.scope["query_string"]:
                times = Counter(name for name, _ in request.query_params.multi_items())
                faults = ((name, times[name]) for name in times if name not in known or times[name] > 1)
                told = [_fault(name, count, known, inside) for name, count in islice(faults, SHOWN_ERRORS)]
                if told:
                    _, wrong = request_params_to_args(declared, request.query_params)
                    raise InvalidInput(*parameter_errors(wrong, ranges), *told)
            try:
                return await answer(request)
            except RequestValidationError as error:
                raise InvalidInput(*parameter_errors(error.errors(), ranges)) from error

        return strictly


def _held(declared: FieldInfo) -> frozenset[str]:
    return frozenset[str]().union(*(one.names for one in declared.metadata if isinstance(one, Holds)))


def _range(declared: FieldInfo) -> str:
    """What a number may be, as an option of a body says it; empty where it has no two bounds."""
    lows = [one.ge for one in declared.metadata if isinstance(one, Ge)]
    highs = [one.le for one in declared.metadata if isinstance(one, Le)]
    kind = "a number" if declared.annotation is float else "an integer"
    return f"{kind} >= {lows[0]} and <= {highs[0]}" if lows and highs else ""


def _fault(name: str, count: int, known: Sequence[str], inside: Mapping[str, str]) -> FieldError:
    """That a parameter is repeated or stands in a wrong place; the one that was meant, or all there are."""
    if name in known:
        wrong = f"is given {count} times; must be given once"
    elif name in inside:
        wrong = f'is not a parameter of its own; it belongs into {inside[name]}: {{"{name}": …}}'
    else:
        there = f"; must be one of {', '.join(known)}" if known else "; there are none here"
        wrong = f"is not a known parameter{meant(name, known) or there}"
    return FieldError(f"/query/{escape_pointer(name)}", wrong)
