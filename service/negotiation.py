"""JSON or a picture: what a client takes, by `?format=` or by its `Accept` header (RFC 9110, 12.5.1)."""

from __future__ import annotations

from typing import Literal

from starlette.requests import Request

from service.problems import Refused
from service.text import echo

Form = Literal["json", "png"]
MEDIA_TYPES: dict[Form, str] = {"json": "application/json", "png": "image/png"}


def form_of(request: Request, asked: Form | None) -> Form:
    """What to answer with: `asked` if given, else what the client prefers; JSON where it is all the same.

    Raises:
        Refused: 406, the client takes neither.
    """
    if asked is not None:
        return asked
    header = request.headers.get("accept", "").strip()
    if not header:
        return "json"
    weights: dict[Form, float] = {form: _weight(header, media_type) for form, media_type in MEDIA_TYPES.items()}
    if not any(weights.values()):
        detail = f"Accept is {echo(header)}; must take one of {', '.join(MEDIA_TYPES.values())}"
        raise Refused(406, "not_acceptable", "There is no answer of that media type", detail)
    return "png" if weights["png"] > weights["json"] else "json"


def _weight(header: str, media_type: str) -> float:
    """The q of the most specific range that covers a media type; 0 where none does."""
    best, found = 0, 0.0
    for item in header.split(","):
        pattern, *parameters = (part.strip().lower() for part in item.split(";"))
        specific = {media_type: 3, f"{media_type.partition('/')[0]}/*": 2, "*/*": 1}.get(pattern, 0)
        if specific > best:
            best, found = specific, _quality(parameters)
    return found


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
