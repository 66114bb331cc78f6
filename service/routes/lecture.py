"""/v1/lecture: what the theory behind the service says, computed by the service itself."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from service.lecture import computed, rows
from service.models.lecture import LectureList, LectureRowOut
from service.params import answer, answers, page_of
from service.strict_query import Route

router = APIRouter(prefix="/v1/lecture", tags=["lecture"], route_class=Route)


@router.get("", responses=answers({200: {"model": LectureList}}))
async def list_lecture() -> Response:
    """Every row of the lecture: what it says, where a user meets it, and whether its numbers are computed here."""
    return answer(page_of(rows(), has_more=False))


@router.get("/{row_id}", responses=answers({200: {"model": LectureRowOut}}, 404, 429))
def get_lecture_row(row_id: Annotated[str, Path(description="`L01` to `L50`")]) -> Response:
    """One row with its numbers, computed now: each with what is expected, within which tolerance, and whether it holds.

    `ok` is null for a row that needs a trained job, or has nothing to compute; `proof` says what shows it instead.
    """
    return answer(computed(row_id))
