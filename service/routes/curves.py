"""The curves of many jobs in one answer, as charts draw them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from service.models.curves import CurveList
from service.params import AfterStep, JobIds, ServicesDep, UntilStep, answer, answers, job_ids
from service.strict_query import Route
from store.curves import STEP, Columns

router = APIRouter(prefix="/v1/metrics", tags=["results"], route_class=Route)


@router.get("", responses=answers({200: {"model": CurveList}}, 404))
def get_curves(
    services: ServicesDep,
    jobs: JobIds,
    names: Annotated[
        str | None, Query(max_length=1000, description="Figures, separated by commas; default all")
    ] = None,
    after_step: AfterStep = -1,
    until_step: UntilStep = None,
    max_points: Annotated[int, Query(ge=2, le=10_000, description="Of each curve; its extremes stay")] = 500,
) -> Response:
    """The curves of up to 100 jobs, each figure with steps of its own: it is thinned by its own extremes.

    A job that is not there is left out. `GET /v1/jobs/{id}/metrics` has the points as they are.
    """
    ids = services.jobs.existing(job_ids(jobs))
    wanted = None if names is None else names.split(",")

    def curves_of(found: Columns) -> dict[str, Any]:
        chosen = wanted or [name for name in found.columns if name != STEP]
        curves = {
            name: found.curve(name, after_step, until_step, max_points) for name in chosen if name in found.columns
        }
        return {name: {"steps": steps, "values": values} for name, (steps, values) in curves.items()}

    data = []
    for job in ids:
        found = services.curves.of(job)
        data.append({"object": "curves", "job": job, "n_points": found.length, "curves": curves_of(found)})
    return answer(
        {
            "object": "list",
            "data": data,
            "first_id": next(iter(ids), None),
            "last_id": next(reversed(ids), None),
            "has_more": False,
        }
    )
