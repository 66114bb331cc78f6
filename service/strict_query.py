"""Query parameters that a route does not know are refused, as unknown fields of a body are: with all that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params, request_params_to_args
from fastapi.params import Query
from fastapi.routing import APIRoute
from starlette.responses import Response

from kernels.errors import FieldError, InvalidInput, meant
from service.problems import SHOWN_ERRORS, parameter_errors
from service.strict_json import escape_pointer


class Route(APIRoute):
    """A route of the contract: it takes the query parameters that it declares, and no others.

    What is not in the schema (the page, probes, Prometheus) declares nothing, and takes any.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request."""
        answer = super().get_route_handler()
        if not self.include_in_schema:
            return answer
        declared = [field for field in get_flat_params(self.dependant) if isinstance(field.field_info, Query)]
        known = [field.alias for field in declared]

        async def strictly(request: Request) -> Response:
            if request.scope["query_string"]:
                unknown = [name for name in request.query_params if name not in known]
                if unknown:
                    _, wrong = request_params_to_args(declared, request.query_params)
                    told = [_unknown(name, known) for name in unknown[:SHOWN_ERRORS]]
                    raise InvalidInput(*parameter_errors(wrong), *told)
            return await answer(request)

        return strictly


def _unknown(name: str, known: Sequence[str]) -> FieldError:
    """The parameter that was meant, or all there are."""
    there = f"; must be one of {', '.join(known)}" if known else "; there are none here"
    return FieldError(f"/query/{escape_pointer(name)}", f"is not a known parameter{meant(name, known) or there}")
