"""From a plan to the jobs of its points: every point is looked at before any is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from kernels.errors import Conflict, FieldError, InvalidInput, NotFound
from nets.sweeps.objective import check_objective, direction_of, figures
from nets.sweeps.plan import MAX_JOBS, Plan
from nets.sweeps.points import PathError, Point, points_of, with_point
from service.batch import Errors, Resolver
from service.body import validated
from service.context import Services
from service.models.many import PointsRequest, SweepRequest
from service.models.requests import JobRequest
from service.submit import Resolved, check_room, resolved_of
from service.sweep_views import LIST
from service.text import echo
from store.records import Job, Json, NewJob
from store.sweeps import Halving, NewSweep, Sweep

_MOST_NAMED = 100
"""Distinct complaints about points after which no more are looked for."""


def submit_sweep(services: Services, request: SweepRequest, owner: str, idempotency: tuple[str, str] | None) -> Sweep:
    """Record a sweep of `owner` and queue all of its jobs.

    Raises InvalidInput, naming every path and value that no job can have. Refused: so many jobs may not wait.
    """
    points = points_of(request)
    check_room(services, idempotency, len(points))
    new = _new_sweep(services, request, points, owner)
    with _deleted_named(services, new.jobs, lambda: _new_sweep(services, request, points, owner)):
        return services.sweeps.create_sweep(new, idempotency)[0]


def add_points(
    services: Services, sweep_id: str, more: PointsRequest, owner: str, idempotency: tuple[str, str] | None
) -> list[Job]:
    """Queue the jobs of further points of a list, as if the sweep had begun with them.

    Raises NotFound, Conflict for a sweep that takes no points, InvalidInput as `submit_sweep` does, Refused as it does.
    """
    sweep = services.sweeps.get_sweep(sweep_id)
    check_room(services, idempotency, len(more.list))
    known = {name: getattr(sweep, name) for name in ("dataset", "base", "objective", "direction")}
    request = SweepRequest.model_validate({**known, "name": sweep.name or None, "list": more.list})
    begun = sum(sweep.counts.values())

    def jobs() -> list[NewJob]:
        base = _base(request)
        try:
            found = _resolved_base(services, base)
        except InvalidInput as error:
            raise Conflict(f"what the jobs of {sweep_id} share is no job any more: {error}") from error
        return _jobs(Resolver(services, owner), request, base, points_of(request), found.spec.to_json(), begun)

    new = jobs()
    with _deleted_named(services, new, jobs):
        return services.sweeps.add_points(sweep_id, new, MAX_JOBS, idempotency)


@contextmanager
def _deleted_named(services: Services, jobs: Sequence[NewJob], look_again: Callable[[], object]) -> Iterator[None]:
    """Where a data set was deleted since its description was read, the one that is gone is named."""
    try:
        yield
    except NotFound:
        for job in jobs:
            for dataset in (job.dataset, *job.reads):
                services.tables.forget(dataset)
        look_again()
        raise


def _new_sweep(services: Services, request: SweepRequest, points: list[Point], owner: str) -> NewSweep:
    base = _base(request)
    found = _resolved_base(services, base)
    direction = request.direction or direction_of(request.objective)
    halving = None
    if request.asha is not None:
        halving = Halving(request.asha.rungs, request.asha.reduction, direction == "maximize")
    plan: Json = {LIST: []}  # whose points are those of its jobs
    if request.list is None:
        plan = request.model_dump(mode="json", include={request.kind}, exclude_none=True)
    return NewSweep(
        plan=plan,
        dataset=request.dataset,
        base=request.base,
        objective=request.objective,
        direction=direction,
        jobs=_jobs(Resolver(services, owner), request, base, points, found.spec.to_json()),
        name=request.name or "",
        halving=halving,
        dataset_name=found.dataset_name,
    )


def _base(request: SweepRequest) -> Json:
    """The job that the points change."""
    base = dict(request.base)
    if base.setdefault("dataset", request.dataset) != request.dataset:
        raise InvalidInput.at("/base/dataset", f"is {echo(base['dataset'])}; must be that of the sweep, or left out")
    if request.asha is not None:
        training = base.get("training", {})
        if isinstance(training, dict):
            most = request.asha.max_epochs
            if training.get("epochs", most) != most:
                detail = f"is {echo(training['epochs'])}; asha.max_epochs, which is {most}, says how long trials train"
                raise InvalidInput.at("/base/training/epochs", detail)
            base["training"] = {**training, "epochs": most}
    return base


def _resolved_base(services: Services, base: Json) -> Resolved:
    try:
        return resolved_of(services, validated(JobRequest, base))
    except InvalidInput as error:
        raise InvalidInput(*(FieldError(_below_base(one.pointer), one.detail) for one in error.errors)) from None


def _below_base(pointer: str) -> str:
    return pointer if pointer == "/dataset" else f"/base{pointer}"


def _check_objective(request: SweepRequest, found: Resolved) -> None:
    halves = request.asha is not None
    known = figures(found.spec, found.about.task, found.sizes, while_training=halves)
    check_objective(request.objective, known)


def _jobs(
    resolver: Resolver, request: SweepRequest, base: Json, points: list[Point], defaults: Json, begun: int = 0
) -> list[NewJob]:
    """The jobs of these points, before which the sweep has `begun` others."""
    errors, jobs = dict[str, FieldError](), list[NewJob]()
    for place, point in enumerate(points):
        own = Errors()
        with own.below(""):
            job = _job_request(request, base, begun + place, point, defaults)
            found = resolver.resolved(job)
            _check_objective(request, found)
            jobs.append(resolver.new_job(job, found, point))
        for error in own.found:
            named = _named(request, place, point, error)
            errors.setdefault(named.pointer, named)
        if len(errors) >= _MOST_NAMED:
            break
    if errors:
        raise InvalidInput(*errors.values())
    return jobs


def _job_request(request: SweepRequest, base: Json, number: int, point: Point, defaults: Json) -> JobRequest:
    try:
        body = with_point(base, point, defaults)
    except PathError as error:
        raise InvalidInput.at("/" + error.path.replace(".", "/"), str(error)) from None
    if request.name and not base.get("name"):
        body["name"] = f"{request.name[:190]} #{number}"
    return validated(JobRequest, body)


def _named(plan: Plan, place: int, point: Point, error: FieldError) -> FieldError:
    """A complaint about a job as one about the path and the value of the plan that it comes from."""
    if error.pointer == "/objective":
        return FieldError(error.pointer, f"{error.detail} (point {place})")
    steps = error.pointer.strip("/").replace("/", ".")
    paths = [path for path in point if f"{steps}.".startswith(f"{path}.") or path.startswith(f"{steps}.")]
    if not steps or not paths:
        return FieldError(f"/{plan.kind}", f"cannot have point {place}: {error.pointer} {error.detail}")
    path = max(paths, key=len)
    below = steps[len(path) :].replace(".", "/")
    if plan.grid is not None:
        value = next(i for i, one in enumerate(plan.grid[path]) if one is point[path])
        return FieldError(f"/grid/{path}/{value}{below}", error.detail)
    if plan.list is not None:
        return FieldError(f"/list/{place}/{path}{below}", error.detail)
    return FieldError(f"/{plan.kind}/space/{path}", f"gives point {place} what no job can have: {error.detail}")
