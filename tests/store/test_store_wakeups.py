"""What RQ carries: plain wake-ups and nothing else, readable by RQ itself."""

from __future__ import annotations

import json
import zlib

import pytest
from redis import Redis
from rq.exceptions import NoSuchJobError
from rq.job import Callback, Job
from rq.queue import Queue
from rq.webhook import Webhook

from store.jobs import JobStore
from store.wakeups import TASK, ForeignTaskError, WakeUp, WakeUpQueue, entry_fields
from tests.store.store_parts import new_job


def test_the_stores_entry_is_what_rq_itself_would_push(redis: Redis) -> None:
    queue = WakeUpQueue(connection=redis)
    theirs = queue.wake()
    JobStore(redis).create(new_job())
    JobStore(redis).create(new_job())
    ours = queue.job_ids[1]
    entries = [redis.hgetall(Job.key_for(job_id)) for job_id in (theirs.id, ours)]
    for entry in entries:
        for name in (b"created_at", b"enqueued_at"):
            assert entry.pop(name).endswith(b"Z")
    assert entries[0] == entries[1]
    assert Queue.all(connection=redis) == [queue]


def test_rq_pops_and_reads_the_stores_entry(redis: Redis) -> None:
    JobStore(redis).create(new_job())
    popped = WakeUpQueue.dequeue_any([WakeUpQueue(connection=redis)], None, connection=redis)
    assert popped is not None
    job, queue = popped
    assert isinstance(job, WakeUp)
    assert (job.func_name, job.args, job.kwargs) == (TASK, [], {})
    assert (job.timeout, job.result_ttl, job.failure_ttl) == (-1, 0, 60)
    assert isinstance(queue, WakeUpQueue)


def forged(redis: Redis, **changes: bytes | str) -> str:
    fields = entry_fields(redis)
    entry = dict(zip(fields[::2], fields[1::2], strict=True)) | changes
    redis.hset(Job.key_for("forged"), mapping=entry)
    redis.rpush(WakeUpQueue(connection=redis).key, "forged")
    return "forged"


@pytest.mark.parametrize(
    "changes",
    [
        {"data": zlib.compress(json.dumps(["os.system", None, ["touch /tmp/x"], {}]).encode())},
        {"data": zlib.compress(json.dumps([TASK, None, ["argument"], {}]).encode())},
        {"data": zlib.compress(b"\x80\x04N.")},
        {"data": b"not compressed"},
        {"data": json.dumps([TASK, None, [], {}])},
        {"success_callback_name": "os.system"},
        {"failure_callback_name": "os.system"},
        {"stopped_callback_name": "os.system"},
        {"webhooks": json.dumps([{"url": "http://x/", "job_status": "failed", "method": "GET"}])},
        {"repeats_left": "3"},
        {"retry_intervals": "[1]"},
        {"dependency_ids": '["other"]'},
        {"rate_limit_key": "x"},
    ],
    ids=lambda changes: " ".join(f"{name}={value[:20]!r}" for name, value in changes.items()),
)
def test_a_forged_entry_is_refused_and_passed_over(redis: Redis, changes: dict[str, bytes | str]) -> None:
    forged(redis, **changes)
    with pytest.raises(ForeignTaskError):
        WakeUp.fetch("forged", connection=redis)
    queue = WakeUpQueue(connection=redis)
    genuine = queue.wake()
    popped = WakeUpQueue.dequeue_any([queue], None, connection=redis)
    assert popped is not None
    assert popped[0].id == genuine.id, "the forged entry came first and was passed over"
    assert queue.fetch_job("forged") is None


def test_a_hash_without_data_is_no_job(redis: Redis) -> None:
    redis.hset(Job.key_for("empty"), "status", "queued")
    with pytest.raises(NoSuchJobError):
        WakeUp.fetch("empty", connection=redis)


@pytest.mark.parametrize(
    "options",
    [
        {"func": "os.system"},
        {"func": print},
        {"args": ("x",)},
        {"kwargs": {"x": 1}},
        {"on_success": Callback("os.system")},
        {"on_failure": Callback("os.system")},
        {"on_stopped": Callback("os.system")},
        {"webhooks": [Webhook("http://localhost/", "finished")]},
    ],
    ids=lambda options: next(iter(options)),
)
def test_nothing_else_can_be_queued(redis: Redis, options: dict[str, object]) -> None:
    queue = WakeUpQueue(connection=redis)
    with pytest.raises(ForeignTaskError):
        queue.enqueue_call(**({"func": TASK} | options))
    assert redis.keys("rq:job:*") == []


def test_whatever_serializer_is_asked_for_it_is_json(redis: Redis) -> None:
    wake = WakeUp("x", redis, serializer="pickle")
    queue = WakeUpQueue(connection=redis, serializer="pickle", job_class=Job)
    assert wake.serializer is queue.serializer is WakeUpQueue(connection=redis).serializer
    assert queue.serializer.loads(b"[1]") == [1]
    assert queue.job_class is WakeUp
