"""Many jobs from one request: each is looked at, all are recorded or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from kernels.errors import FieldError, InvalidInput, NotFound
from nets.parts import Sizes
from nets.spec import TrainingSpec
from nets.training_spec import TrainingOptions
from service.body import validated
from service.context import Services
from service.models.requests import JobRequest
from service.submit import Resolved, new_job, resolved_of
from store.records import Job, Json, NewJob

_SPEC = set(TrainingSpec.model_fields)
_ROWS = {
    "validation_fraction",
    "seed",
    "stratify",
    "split",
    "test_fraction",
    "test_dataset",
    "validation_dataset",
}
"""Training options that say which rows train, validate and test."""


class Errors:
    """What is wrong with the parts of a request, one list for all of them."""

    def __init__(self) -> None:
        self.found: list[FieldError] = []

    @contextmanager
    def below(self, pointer: str) -> Iterator[None]:
        """Collect what is wrong with the part at `pointer` instead of raising it."""
        try:
            yield
        except InvalidInput as error:
            self.found += [FieldError(pointer + one.pointer, one.detail) for one in error.errors]

    def check(self) -> None:
        """Raise InvalidInput if anything is wrong."""
        if self.found:
            raise InvalidInput(*self.found)


class Resolver:
    """Requests of `owner` as records to be. Jobs that share their rows have them counted once."""

    def __init__(self, services: Services, owner: str) -> None:
        self._services, self._owner = services, owner
        self._sizes: dict[tuple[str, str], Sizes] = {}

    def resolved(self, request: JobRequest) -> Resolved:
        """With every default. Raises InvalidInput."""
        key = request.dataset, _rows_of(request.training)
        found = resolved_of(self._services, request, self._sizes.get(key))
        self._sizes[key] = found.sizes
        return found

    def new_job(self, request: JobRequest, found: Resolved, point: Json | None = None) -> NewJob:
        """The record to be; `point` is what its sweep has set."""
        asked = request.model_dump(mode="json", exclude_unset=True, include=_SPEC)
        return replace(new_job(request, found, asked, self._owner), point=point)


def _rows_of(training: TrainingOptions) -> str:
    return training.model_dump_json(include=_ROWS)


def submit_many(
    services: Services, bodies: Sequence[Json], owner: str, idempotency: tuple[str, str] | None
) -> list[Job]:
    """Record and queue them all. Raises InvalidInput naming every wrong one; then nothing is recorded."""
    news = _resolved(services, bodies, owner)
    try:
        return services.jobs.create_many(news, idempotency)[0]
    except NotFound:  # a data set was deleted since its description was read
        for new in news:
            for dataset in (new.dataset, *new.reads):
                services.tables.forget(dataset)
        _resolved(services, bodies, owner)  # names the one that is gone
        raise


def _resolved(services: Services, bodies: Sequence[Json], owner: str) -> list[NewJob]:
    resolver, errors, news = Resolver(services, owner), Errors(), list[NewJob]()
    for place, body in enumerate(bodies):
        with errors.below(f"/jobs/{place}"):
            request = validated(JobRequest, body)
            news.append(resolver.new_job(request, resolver.resolved(request)))
    errors.check()
    return news
