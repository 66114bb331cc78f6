"""What every answer has in common: described fields, pages, problems."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Out(BaseModel):
    """A described answer; further fields may come."""

    model_config = ConfigDict(extra="allow")


class Page(Out):
    """A list; where there is more of it, `after=<last_id>` asks for the next page."""

    object: Literal["list"]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FieldProblem(Out):
    """One rejected field."""

    pointer: str
    detail: str


class ProblemOut(Out):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[FieldProblem]
