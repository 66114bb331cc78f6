"""What is remembered of a job, typed, and the one mapping between it and its Redis hash. JSON is orjson's."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from kernels.errors import InvalidInput
from kernels.precisions import wanted_device
from store.transitions import DIRECTIVES, TERMINAL, Directive, Status

PRIORITY_RANGE = (-100, 100)
"""Allowed priorities; higher runs sooner."""

TAGS_MAX = 32
"""Tags per job: each costs two index entries."""

Json = dict[str, Any]

_log = logging.getLogger("mlpq.store")


@dataclass(frozen=True, slots=True)
class Stackable:
    """What is known of a job before it trains: jobs with equal `key` may train together.

    `bytes` that its run holds on the device, `steps` in all, `work` of each of them in multiply-adds of a forward pass.
    """

    key: str
    bytes: int
    steps: int
    work: int


@dataclass(frozen=True, slots=True)
class Companion:
    """A queued job that may train beside another, as far as it matters for choosing it."""

    id: str
    priority: int
    sequence: int
    tags: tuple[str, ...]
    crashes: int
    stack: Stackable
    owner: str
    place: float
    """In the order of claims, as a score: -priority * 1e13 + how many owners' turns come before it."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """What a user submits: the resolved spec and the words beside it; `reads` are further data sets that it needs.

    `asked` is what the user said, without what was filled in. `origin` is what a fork starts from: `job`, `checkpoint`
    (a step, or None for the result), and the `key`, `sha256` and `bytes` of its own copy of those weights.
    `point` is what its sweep has set; after `halt_epoch` it pauses until its sweep decides. `owner` stands for the API
    key that it came with, whose secret is in no record; "" where none was asked for. `dataset_name` is kept where it is
    not the id: what people call the data set, also when it is gone.
    """

    spec: Json
    dataset: str
    name: str = ""
    tags: tuple[str, ...] = ()
    metadata: Json = field(default_factory=dict)
    priority: int = 0
    reads: tuple[str, ...] = ()
    asked: Json = field(default_factory=dict)
    origin: Json | None = None
    stack: Stackable | None = None
    sweep: str | None = None
    point: Json | None = None
    halt_epoch: int | None = None
    owner: str = ""
    dataset_name: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as recorded at one moment. Times are ms since 1970 by the clock of the Redis server."""

    id: str
    name: str
    status: Status
    status_reason: str | None
    attempt: int
    priority: int
    dataset: str
    spec: Json
    asked: Json
    origin: Json | None
    tags: tuple[str, ...]
    metadata: Json
    created_at_ms: int
    updated_at_ms: int
    started_at_ms: int | None
    finished_at_ms: int | None
    queue_position: int | None
    progress: Json | None
    metrics: Json
    error: Json | None
    result: Json | None
    checkpoints: tuple[Json, ...]
    device: str | None
    backend: str | None
    environment: Json
    worker_id: str | None
    crashes: int
    fence: int
    last_event: int
    last_metric_step: int
    sequence: int
    stack: Stackable | None
    sweep: str | None = None
    point: Json | None = None
    rung: int | None = None
    halt_epoch: int | None = None
    owner: str = ""
    dataset_name: str = ""

    @property
    def terminal(self) -> bool:
        """Whether the job has ended for good."""
        return self.status in TERMINAL


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run a job: every write carries `fence`, and counts only while this claim holds the job."""

    job: Job
    fence: int
    worker_id: str
    lease_s: float

    @property
    def job_id(self) -> str:
        """The id of the claimed job."""
        return self.job.id


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing, newest first."""

    items: tuple[Job, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Reaped:
    """What one reap did: where the jobs of lost workers went, wake-ups pushed, and whether it held back."""

    moved: Mapping[str, Status]
    wakeups: int
    in_grace: bool


def encode(value: Any) -> bytes:
    """JSON bytes; NaN and infinities become null. Raises: InvalidInput for what JSON cannot hold."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError as error:
        raise InvalidInput.at("", f"cannot be written as JSON: {error}") from error


def iso(ms: int | None) -> str | None:
    """A stored time as UTC ISO-8601 with milliseconds and `Z`; None stays None."""
    if ms is None:
        return None
    second, rest = divmod(ms, 1000)
    return f"{_second(second)}.{rest:03d}Z"


@lru_cache(maxsize=4096)
def _second(since_1970: int) -> str:
    """To the second; the jobs of a page share many."""
    return datetime.fromtimestamp(since_1970, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def directive(status: Status) -> Directive:
    """What a held status means for the worker."""
    return DIRECTIVES[status]


def check_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Tags without repeats, in the given order. Raises: InvalidInput for an empty, long or 33rd one."""
    unique = tuple(dict.fromkeys(tags))
    if len(unique) > TAGS_MAX:
        raise InvalidInput.at("/tags", f"has {len(unique)} entries; must be at most {TAGS_MAX}")
    for position, tag in enumerate(unique):
        if not 1 <= len(tag) <= 64:
            raise InvalidInput.at(f"/tags/{position}", f"has {len(tag)} characters; must be 1..64")
    return unique


def check_priority(priority: int) -> int:
    """The priority itself. Raises: InvalidInput outside -100..100."""
    low, high = PRIORITY_RANGE
    if not low <= priority <= high:
        raise InvalidInput.at("/priority", f"is {priority}; must be {low}..{high}")
    return priority


def new_job_parts(new: NewJob) -> list[str | bytes | int]:
    """The user's part of a fresh record as field, value, …"""
    return [
        *("name", new.name),
        *("spec", encode(new.spec)),
        *("tags", encode(check_tags(new.tags))),
        *("metadata", encode(new.metadata)),
        *("priority", check_priority(new.priority)),
        *("wanted", _device(new.spec)),
        *(("owner", new.owner) if new.owner else ()),
        *(("dataset_name", new.dataset_name) if new.dataset_name not in ("", new.dataset) else ()),
        *(("asked", encode(new.asked)) if new.asked else ()),
        *(("origin", encode(new.origin)) if new.origin is not None else ()),
        *(("sweep", new.sweep) if new.sweep is not None else ()),
        *(("point", encode(new.point)) if new.point is not None else ()),
        *(("rung", 0, "halt_epoch", new.halt_epoch) if new.halt_epoch is not None else ()),
        *(("stack_key", new.stack.key, "stack", encode(asdict(new.stack))) if new.stack is not None else ()),
    ]


def _device(spec: Json) -> str:
    """On which device the spec may train; see `queue_for` in queue.lua."""
    training = spec.get("training")
    if not isinstance(training, dict):
        return "auto"
    return wanted_device(str(training.get("device", "auto")), str(training.get("precision", "float32")))


def report_parts(
    *,
    progress: Json | None = None,
    metrics: Json | None = None,
    checkpoint: Json | None = None,
    device: str | None = None,
    backend: str | None = None,
    environment: Json | None = None,
) -> list[str | bytes]:
    """The worker's part of a record as field, value, …; what is None stays as it is."""
    parts: list[str | bytes] = []
    documents = {
        "progress": progress,
        "metrics": metrics,
        "checkpoint": checkpoint,
        "environment": environment,
    }
    for name, document in documents.items():
        if document is not None:
            parts += [name, encode(document)]
    for name, text in {"device": device, "backend": backend}.items():
        if text is not None:
            parts += [name, text]
    return parts


class _Fields(dict[bytes, bytes]):
    """A job's hash; whatever is not in it yet is None."""

    def text(self, name: bytes) -> str | None:
        return self[name].decode() if self.get(name) else None

    def integer(self, name: bytes) -> int | None:
        return int(self[name]) if name in self else None

    def document(self, name: bytes) -> Any:
        return orjson.loads(self[name]) if name in self else None


def job_from_parts(parts: Sequence[bytes]) -> Job:
    """A job from its hash as a script answers it: field, value, field, value, …"""
    found = _Fields(zip(parts[::2], parts[1::2], strict=True))
    checkpoints = (found.document(b"checkpoint"), found.document(b"checkpoint_before"))
    return Job(
        id=found[b"id"].decode(),
        name=found[b"name"].decode(),
        status=Status(found[b"status"].decode()),
        status_reason=found.text(b"status_reason"),
        attempt=int(found[b"attempt"]),
        priority=int(found[b"priority"]),
        dataset=found[b"dataset"].decode(),
        spec=found.document(b"spec"),
        asked=found.document(b"asked") or {},
        origin=found.document(b"origin"),
        tags=_tags_in(found.get(b"tags"), found[b"id"]),
        metadata=found.document(b"metadata"),
        created_at_ms=int(found[b"created_at_ms"]),
        updated_at_ms=int(found[b"updated_at_ms"]),
        started_at_ms=found.integer(b"started_at_ms"),
        finished_at_ms=found.integer(b"finished_at_ms"),
        queue_position=found.integer(b"queue_position"),
        progress=found.document(b"progress"),
        metrics=found.document(b"metrics") or {},
        error=found.document(b"error"),
        result=found.document(b"result"),
        checkpoints=tuple(checkpoint for checkpoint in checkpoints if checkpoint is not None),
        device=found.text(b"device"),
        backend=found.text(b"backend"),
        environment=found.document(b"environment") or {},
        worker_id=found.text(b"worker_id"),
        crashes=int(found[b"crashes"]),
        fence=int(found[b"fence"]),
        last_event=int(found[b"last_event"]),
        last_metric_step=int(found[b"last_metric_step"]),
        sequence=int(found[b"sequence"]),
        stack=None if b"stack" not in found else Stackable(**found.document(b"stack")),
        sweep=found.text(b"sweep"),
        point=found.document(b"point"),
        rung=found.integer(b"rung"),
        halt_epoch=found.integer(b"halt_epoch"),
        owner=found.text(b"owner") or "",
        dataset_name=found.text(b"dataset_name") or found[b"dataset"].decode(),
    )


def _tags_in(text: bytes | None, job_id: bytes) -> tuple[str, ...]:
    """The tags that a record names; none where they cannot be read, as the scripts have it."""
    try:
        tags = orjson.loads(text or b"")
    except orjson.JSONDecodeError:
        tags = None
    if not isinstance(tags, list):
        _log.warning("the tags of %s cannot be read and count as none: %r", job_id.decode(), text)
        return ()
    return tuple(tags)


def companion_from_values(values: Sequence[bytes]) -> Companion:
    """A companion as `companions.lua` answers it: fields of its record, whose owner may be none, then its place."""
    job_id, priority, sequence, tags, crashes, stack, owner, place = values
    return Companion(
        job_id.decode(),
        int(priority),
        int(sequence),
        _tags_in(tags, job_id),
        int(crashes),
        Stackable(**orjson.loads(stack)),
        owner.decode() if owner else "",
        float(place),
    )
