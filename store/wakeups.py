"""The one thing RQ carries for us: a wake-up that says "something is queued", with no data and no choice.

RQ imports the function that a queue entry names, and its callbacks, by name: whoever can write to Redis could
run any function of any installed package. So exactly one name is accepted, when an entry is made and again
when it is read; everything else is treated as an entry that does not exist, which RQ passes over.
"""

from __future__ import annotations

import json
import zlib
from typing import Any, Final

from redis import Redis
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.queue import Queue
from rq.serializers import JSONSerializer

TASK: Final = "worker.tasks.wake"
"""The only name that a queue entry may carry."""

QUEUE_NAME: Final = "mlpq"
"""The only queue: a worker that listens on one queue pops with BLMOVE and cannot lose an entry."""

_TASK_DATA: Final = json.dumps((TASK, None, [], {})).encode()
_FOREIGN: Final = (
    "success_callback_name",
    "failure_callback_name",
    "stopped_callback_name",
    "webhooks",
    "dependency_ids",
    "repeats_left",
    "retry_intervals",
    "rate_limit_key",
)
"""Fields of a queue entry that would make RQ call, fetch or repeat something."""


class ForeignTaskError(NoSuchJobError):
    """A queue entry that is not a plain wake-up; RQ passes over it as over one that has vanished."""


class WakeUp(Job):
    """A queue entry that can only say "wake": JSON, one task name, no arguments, no callbacks, no webhooks."""

    def __init__(
        self,
        id: str | None = None,  # noqa: A002 - RQ's name
        connection: Redis | None = None,
        serializer: Any = None,  # noqa: ARG002 - RQ passes its default, which is pickle
    ) -> None:
        super().__init__(id, connection, JSONSerializer)

    @classmethod
    def create(cls, func: Any, *args: Any, **options: Any) -> Job:
        """Make an entry as RQ does. Raises: ForeignTaskError for anything but a plain wake-up."""
        unwanted = ("on_success", "on_failure", "on_stopped", "webhooks", "depends_on", "retry")
        given = [name for name in unwanted if options.get(name)]
        if func != TASK or args or options.get("args") or options.get("kwargs") or given:
            raise ForeignTaskError(f"only {TASK} without arguments or callbacks may be queued")
        return super().create(func, **options)

    def restore(self, raw_data: dict[bytes, bytes]) -> Any:
        """Read an entry. Raises: ForeignTaskError before anything that it names is looked at."""
        entry = {_text(name): value for name, value in raw_data.items()}
        data = entry.get("data", b"")
        try:
            data = zlib.decompress(data)
        except zlib.error as error:
            raise ForeignTaskError("a queue entry without readable data") from error
        foreign = [name for name in _FOREIGN if entry.get(name)]
        if data != _TASK_DATA or foreign:
            raise ForeignTaskError(f"a queue entry that is not a plain wake-up: {foreign or data[:100]!r}")
        return super().restore(raw_data)


class WakeUpQueue(Queue):
    """The queue `mlpq`, whose entries are wake-ups: JSON, no time limit, no stored result."""

    job_class: type[Job] = WakeUp

    def __init__(self, name: str = QUEUE_NAME, connection: Redis | None = None, **options: Any) -> None:
        options.update(serializer=JSONSerializer, job_class=WakeUp, default_timeout=-1)
        super().__init__(name, connection, **options)

    def wake(self) -> Job:
        """Push one wake-up by RQ's own means (the store's scripts push the same fields themselves)."""
        return self.enqueue_call(TASK, timeout=-1, result_ttl=0, failure_ttl=60, description="wake")


ENTRY_TEMPLATE: Final = Job.redis_job_namespace_prefix + "%s"
"""Redis key of a queue entry, as RQ names it."""

LIST_KEY: Final = Queue.redis_queue_namespace_prefix + QUEUE_NAME
"""Redis list of waiting entries."""

QUEUES_KEY: Final = Queue.redis_queues_keys
"""Redis set of known queues."""


def entry_fields(connection: Redis) -> list[bytes | str | int | float]:
    """The hash of a fresh wake-up as RQ itself would store it: field, value, field, value, …"""
    entry = WakeUp.create(
        TASK,
        connection=connection,
        origin=QUEUE_NAME,
        timeout=-1,
        result_ttl=0,
        failure_ttl=60,
        description="wake",
    )
    entry.enqueued_at = entry.created_at
    fields = entry.to_dict()
    fields["status"] = "queued"
    return [part for pair in fields.items() for part in pair]


def _text(name: bytes | str) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name
