"""Rows of the lecture as they are answered."""

from __future__ import annotations

from typing import Literal

from service.models.answers import Out, Page


class LectureRow(Out):
    """A row of the lecture."""

    object: Literal["lecture_row"]
    id: str
    chapter: str
    title: str
    text: str
    where: str
    computed: bool
    proof: str | None
    link: str | None


class ClaimOut(Out):
    """One comparison of a row; `slide`: the number as the lecture prints it, to which `got` must round."""

    what: str
    expected: bool | float | str
    got: bool | float | str | None
    tolerance: float
    slide: str | None
    ok: bool


class LectureRowOut(LectureRow):
    """A row with its numbers."""

    claims: list[ClaimOut]
    ok: bool | None
    seconds: float


class LectureList(Page):
    """All rows of the lecture, in its order."""

    data: list[LectureRow]
