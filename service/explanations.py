"""Explanations of jobs, made when first asked for and kept: as JSON, and as pictures of that JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Any

import orjson

from kernels.errors import FieldError, InvalidInput, NotFound
from nets.explain.registry import EXPLANATIONS, Explanation
from nets.explain.subject import Known, Subject
from nets.options import Value
from nets.parts import inputs_of
from nets.spec import ResolvedSpec
from nets.table import TableInfo
from nets.threads import beside_others
from service.predictors import ByteCache, Predictors
from service.problems import Refused
from service.tables import Tables
from service.text import no_dataset
from store.records import Job, Json

CACHED_BYTES = 64 * 1024 * 1024
"""Of explanations, and again of pictures."""

GRADIENT_CHECK = "gradient_check"
"""The explanation that needs no weights; `service.gradients` makes it."""

AT_ONCE, WAIT_S = 2, 10.0
"""Explanations that are made at the same time by one process, and how long another one waits for its turn."""


@dataclass(frozen=True)
class Made:
    """One explanation or picture, and its sha256 in hex."""

    content: bytes
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Made:
        """With the hash of the content."""
        return cls(content, hashlib.sha256(content).hexdigest())


class Explanations:
    """What is asked of jobs' weights beside predictions."""

    def __init__(self, predictors: Predictors, tables: Tables) -> None:
        self._predictors, self._tables = predictors, tables
        self._documents: ByteCache[Made] = ByteCache(CACHED_BYTES)
        self._pictures: ByteCache[Made] = ByteCache(CACHED_BYTES)
        self._turns = BoundedSemaphore(AT_ONCE)

    def document(
        self, job: Job, row: Explanation, options: Mapping[str, Value], dataset: str | None, checkpoint: str | None
    ) -> Made:
        """An explanation as JSON: of the result, or where there is none yet of the newest checkpoint.

        Raises:
            Refused: 404 without weights or without the job's data set, 422 where the job has no such explanation,
                429 while others are made.
            InvalidInput: an option's value, or a data set that does not fit.
        """
        if checkpoint is None and job.result is None and job.checkpoints:
            checkpoint = "latest"
        source = self._predictors.source(job, checkpoint)
        about = self._about(job)
        self._check(row, known_of(job, about))
        given = None if dataset is None else self._described(dataset)
        key = repr((job.id, source["sha256"], row.name, sorted(options.items()), dataset))
        step = source.get("step")

        def make() -> tuple[Made, int]:
            with self.turn():
                subject = self._subject(job, about, dataset, checkpoint)
                with beside_others(subject.predictor.layout.count):
                    found = _computed(row, subject, options)
            head = {
                "object": row.name,
                "job": job.id,
                "dataset": dataset or job.dataset,
                "dataset_name": str((given or about).get("name")),
                "at": "result" if step is None else "checkpoint",
                "step": step,
                "target": about.get("target"),
            }
            made = Made.of(orjson.dumps(head | found))
            return made, len(made.content)

        return self._documents.get(key, make)

    def picture(self, job: Job, name: str, document: bytes, width: int) -> Made:
        """The picture of an explanation's JSON, so many pixels wide. Raises Refused (429) while others are drawn."""
        shown = orjson.loads(document)
        place = shown.get("dataset_name") or shown["dataset"]
        caption = f"{_cut(job.name or job.id)} on {_cut(str(place))}"
        if shown.get("step") is not None:
            caption += f", step {shown['step']}"
        key = repr((name, hashlib.sha256(document).hexdigest(), caption, width))

        def make() -> tuple[Made, int]:
            from service.pictures.registry import PICTURES
            from service.pictures.style import render

            with self.turn():
                made = Made.of(render(lambda: PICTURES[name](shown, caption), width))
            return made, len(made.content)

        return self._pictures.get(key, make)

    def available(self, job: Job) -> list[Json]:
        """Every explanation with what it needs, and why this job lacks it, if it does."""
        known = known_of(job, self._about(job))
        listed = [(row.name, row.doc, row.needs, row.missing(known)) for row in EXPLANATIONS.values()]
        listed.append((GRADIENT_CHECK, "Every gradient against central differences, in float64.", "nothing", None))
        base = f"/v1/jobs/{job.id}/explanations"
        return [
            {
                "id": name,
                "object": "explanation",
                "doc": doc,
                "needs": needs,
                "available": reason is None,
                "reason": reason,
                "links": {"self": f"{base}/{name}", "picture": f"{base}/{name}?format=png"},
            }
            for name, doc, needs, reason in listed
        ]

    def _about(self, job: Job) -> Mapping[str, Any]:
        try:
            return self._tables.about(job.dataset)
        except NotFound:
            raise _no_dataset(job) from None

    def _described(self, dataset: str) -> Mapping[str, Any]:
        try:
            return self._tables.about(dataset)
        except NotFound:
            raise no_dataset("/query/dataset", dataset) from None

    def _check(self, row: Explanation, known: Known) -> None:
        reason = row.missing(known)
        if reason is not None:
            raise Refused(422, "not_applicable", "This job has no such explanation", f"{row.name}: {reason}")

    def _subject(self, job: Job, about: Mapping[str, Any], dataset: str | None, checkpoint: str | None) -> Subject:
        ready = self._predictors.ready(job, checkpoint)
        try:
            table = self._tables.table(dataset or job.dataset)
        except NotFound:  # deleted a moment ago
            raise _no_dataset(job) from None
        foreign = dataset is not None and dataset != job.dataset
        return Subject(ready.predictor, table, ready.scores, TableInfo.from_json(about).image, foreign)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One of the explanations that are made at the same time. Raises Refused (429) after `WAIT_S`."""
        if not self._turns.acquire(timeout=WAIT_S):
            detail = f"{AT_ONCE} are being made already"
            raise Refused(429, "busy", "Too many explanations at once", detail, {"Retry-After": "2"})
        try:
            yield
        finally:
            self._turns.release()


def known_of(job: Job, about: Mapping[str, Any]) -> Known:
    """What tells which explanations a job can have."""
    spec = ResolvedSpec.parse(job.spec)
    info = TableInfo.from_json(about)
    return Known(spec, inputs_of(info, spec.training), info.image)


def _computed(row: Explanation, subject: Subject, options: Mapping[str, Value]) -> Json:
    """The row's numbers; what is wrong with another data set points at the query that named it."""
    try:
        return row.explain(subject, options)
    except InvalidInput as error:
        moved = [FieldError(f"/query{e.pointer}", e.detail) if e.pointer == "/dataset" else e for e in error.errors]
        raise InvalidInput(*moved) from None


def _no_dataset(job: Job) -> Refused:
    detail = f"data set {job.dataset}, which the job was trained on, was deleted"
    return Refused(404, "no_dataset", "The job's data set is gone", detail)


def _cut(name: str) -> str:
    return name if len(name) <= 32 else f"{name[:31].rstrip()}…"
