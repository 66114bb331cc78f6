"""RQ is the transport: nothing that is pushed into its queue is executed, and its keys do not pile up."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest
from redis import Redis
from rq import Queue, Worker
from rq.job import Job
from rq.serializers import JSONSerializer

from store.identity import Ownership
from store.transitions import Status
from store.wakeups import QUEUE_NAME, TASK, WakeUpQueue
from tests.processes import wait_until
from tests.site import QUICK, Site
from worker.supervisor import Supervisor
from worker.tasks import wake

INTERMEDIATE = f"rq:queue:{QUEUE_NAME}:intermediate"


def _push_shell_command(queue: Queue, witness: Path) -> Job:
    return queue.enqueue("os.system", f"touch {witness}")


def _push_pickle(queue: Queue, witness: Path) -> Job:
    return Queue(QUEUE_NAME, connection=queue.connection).enqueue("pathlib.Path.touch", witness)


def _push_callback(queue: Queue, witness: Path) -> Job:
    job = queue.enqueue(TASK)
    queue.connection.hset(job.key, "success_callback_name", "os.getcwd")
    return job


def _push_webhook(queue: Queue, witness: Path) -> Job:
    job = queue.enqueue(TASK)
    queue.connection.hset(job.key, "webhooks", '[{"url": "http://127.0.0.1:9/", "statuses": ["finished"]}]')
    return job


def _push_arguments(queue: Queue, witness: Path) -> Job:
    return queue.enqueue(TASK, "rm", force=True)


def _push_garbage(queue: Queue, witness: Path) -> Job:
    job = queue.enqueue(TASK)
    queue.connection.hset(job.key, "data", os.urandom(64))
    return job


def _push_wrong_type(queue: Queue, witness: Path) -> Job:
    job = queue.enqueue(TASK)
    queue.connection.delete(job.key)
    queue.connection.set(job.key, "a string")
    return job


def _push_vanished(queue: Queue, witness: Path) -> Job:
    job = queue.enqueue(TASK)
    queue.connection.delete(job.key)
    return job


FOREIGN = [
    _push_shell_command,
    _push_pickle,
    _push_callback,
    _push_webhook,
    _push_arguments,
    _push_garbage,
    _push_wrong_type,
    _push_vanished,
]


def test_no_foreign_entry_is_executed_or_stops_the_worker(site: Site, redis: Redis, tmp_path: Path) -> None:
    queue = Queue(QUEUE_NAME, connection=redis, serializer=JSONSerializer)
    witness = tmp_path / "executed"
    pushed = [push(queue, witness) for push in FOREIGN]
    redis.rpush(queue.key, b"\xff\xfe not text")
    worker = site.processes.worker()
    job = site.wait(site.submit(QUICK))
    assert job.status is Status.SUCCEEDED
    wait_until(lambda: worker.log.count("event=entry_refused") == len(FOREIGN) + 1, 30, "each is refused and logged")
    assert not witness.exists()
    assert redis.llen(queue.key) == 0
    assert redis.llen(INTERMEDIATE) == 0
    left = [job.key for job in pushed if redis.exists(job.key)]
    assert all(0 < redis.ttl(key) <= 3600 for key in left)
    assert "trainer_died" not in worker.log


def test_idle_wake_ups_leave_nothing_behind(site: Site, redis: Redis) -> None:
    worker = site.processes.worker().ready()
    assert site.wait(site.submit(QUICK)).status is Status.SUCCEEDED
    wait_until(lambda: redis.llen(WakeUpQueue(connection=redis).key) == 0, 30, "quiet")
    before = sorted(redis.keys("rq:*"))
    for _ in range(200):
        WakeUpQueue(connection=redis).wake()
    wait_until(
        lambda: redis.llen(f"rq:queue:{QUEUE_NAME}") == 0 and redis.llen(INTERMEDIATE) == 0, 60, "all 200 are used up"
    )
    wait_until(lambda: redis.keys("rq:job:*") == [], 30, "no entry's record is left")
    assert set(redis.keys("rq:*")) <= {*before, b"rq:queues"}
    assert len(before) <= 5, before
    assert worker.popen.poll() is None


def test_an_entry_left_by_a_dead_worker_is_swept(site: Site, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = _supervisor(site, monkeypatch)
    entry = WakeUpQueue(connection=redis).wake()
    redis.lmove(f"rq:queue:{QUEUE_NAME}", INTERMEDIATE)
    supervisor._sweep_intermediate()
    assert redis.llen(INTERMEDIATE) == 1  # it may just have been popped
    supervisor._sweep_intermediate()
    assert redis.llen(INTERMEDIATE) == 0
    assert entry.id


def test_rq_still_has_what_the_supervisor_builds_on(site: Site, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The contract with RQ: what is overridden or relied on exists and means what it did."""
    assert f"{wake.__module__}.{wake.__qualname__}" == TASK
    supervisor = _supervisor(site, monkeypatch)
    for name in ("register_birth", "register_death", "serialize", "heartbeat", "set_state", "request_stop"):
        assert callable(getattr(Worker, name)), name
    supervisor.bootstrap()
    assert [worker.name for worker in Worker.all(redis)] == [supervisor.name]
    assert 0 < redis.ttl(supervisor.key) < 1000
    redis.delete(supervisor.key, "rq:workers")
    supervisor.heartbeat()  # after an outage that outlived the key it is whole again
    (found,) = Worker.all(redis)
    assert (found.name, found.pid) == (supervisor.name, os.getpid())
    assert 0 < redis.ttl(supervisor.key) < 1000
    entry = WakeUpQueue(connection=redis).wake()
    popped = supervisor._pop()
    assert popped is not None
    assert popped.id == entry.id
    assert redis.lrange(INTERMEDIATE, 0, -1) == [entry.id.encode()]


def _supervisor(site: Site, monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    from store.connection import connect
    from store.workers import Workers
    from worker.registry import Presence
    from worker.settings import Settings

    monkeypatch.setattr("worker.supervisor.INTERMEDIATE_SWEEP_S", 0.0)
    settings = Settings(site.server.url, site.data_dir, "cpu", f"w-{uuid.uuid4().hex[:4]}")
    connection = connect(site.server.url)
    presence, ownership = Presence("w", "cpu", Workers(connection)), Ownership(connection, site.data_dir)
    return Supervisor(settings, connection, site.store, presence, ownership)
