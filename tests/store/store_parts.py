"""Shared by the store's tests: small jobs, and the laws that every state of the store obeys."""

from __future__ import annotations

from typing import Any

import orjson
from redis import Redis

from store import keys, wakeups
from store.jobs import JobStore
from store.records import Claim, Job, NewJob, Stackable
from store.transitions import HELD, TERMINAL, Status


def new_job(**changes: Any) -> NewJob:
    return NewJob(**{"spec": {"net": {"hidden": [8]}}, "dataset": "digits"} | changes)


def stackable(key: str = "s", **changes: int) -> Stackable:
    return Stackable(**{"key": key, "bytes": 1000, "steps": 100, "work": 1000} | changes)


def bring_to(store: JobStore, status: Status) -> Job:
    """A fresh job brought to `status` along legal moves."""
    job, _ = store.create(new_job(tags=("walk",)))
    if status is Status.QUEUED:
        return job
    if status is Status.PAUSED:
        return store.request(job.id, "pause")
    [claim] = store.claim_also("walker", [job.id])
    if status is Status.RUNNING:
        return claim.job
    if status is Status.PAUSING:
        return store.request(job.id, "pause")
    if status is Status.CANCELLING:
        return store.request(job.id, "cancel")
    if status is Status.CANCELLED:
        store.request(job.id, "cancel")
    return store.finish(claim, status)


def device_of(job: Job) -> str:
    training = job.spec.get("training", {})
    device = str(training.get("device", "auto"))
    rounds = training.get("precision") in ("tf32", "bfloat16")
    return "cuda" if device == "auto" and rounds else device


def on_device(device: str, precision: str = "float32", **changes: Any) -> NewJob:
    return new_job(spec={"training": {"device": device, "precision": precision}}, **changes)


def check_laws(redis: Redis, store: JobStore) -> None:
    """Indexes, queue, leases, references and logs say exactly what the records say."""
    ids = [member.decode() for member in redis.zrange(keys.JOBS, 0, -1)]
    jobs = [store.get(job_id) for job_id in ids]
    for status in Status:
        expected = {job.id for job in jobs if job.status is status}
        assert _members(redis, keys.index(status)) == expected, f"index of {status}"
        for tag in {tag for job in jobs for tag in job.tags}:
            both = {job.id for job in jobs if job.status is status and tag in job.tags}
            assert _members(redis, keys.index(status, tag)) == both, f"index of {status} and {tag}"
            tagged = {job.id for job in jobs if tag in job.tags}
            assert _members(redis, keys.index(None, tag)) == tagged, f"index of {tag}"
    queues = {device_of(job): keys.device_queue(device_of(job)) for job in jobs if device_of(job) != "auto"}
    for device, queue in ({"auto": keys.QUEUE} | queues).items():
        waiting = {job.id for job in jobs if job.status is Status.QUEUED and device_of(job) == device}
        assert _members(redis, queue) == waiting, queue
        _check_lines(redis, queue, [job for job in jobs if job.id in waiting])
    for key in {job.stack.key for job in jobs if job.stack is not None}:
        together = [job for job in jobs if job.stack is not None and job.stack.key == key]
        _check_shares(redis, key, [job for job in together if job.status is Status.QUEUED])
    for sweep in {job.sweep for job in jobs if job.sweep is not None}:
        mine = [job for job in jobs if job.sweep == sweep]
        assert _members(redis, keys.swept(sweep)) == {job.id for job in mine}, sweep
        for status in Status:
            assert _members(redis, keys.swept(sweep, status)) == {job.id for job in mine if job.status is status}
        for job in mine:
            trial = redis.hget(keys.trials(sweep), job.id)
            over = trial is not None and trial.startswith((b"ended", b"stopped"))
            assert trial is None or over == job.terminal or job.status is Status.CANCELLING, trial
    assert _members(redis, keys.LEASES) == {job.id for job in jobs if job.status in HELD}
    unfinished = {job.id for job in jobs if job.status not in TERMINAL and job.dataset == "digits"}
    assert {member.decode() for member in redis.smembers(keys.dataset_jobs("digits"))} == unfinished
    for job in jobs:
        _check_log(store, job)
    assert set(redis.lrange(wakeups.LIST_KEY, 0, -1)) == {
        key.removeprefix(b"rq:job:") for key in redis.keys("rq:job:*")
    }


def _check_shares(redis: Redis, key: str, queued: list[Job]) -> None:
    """Who waits for a stack is among those of the same owner and first tag, and each of these knows its first."""
    shares: dict[str, dict[str, dict[str, float]]] = {}
    for job in queued:
        tags = shares.setdefault(job.owner, {})
        tags.setdefault(job.tags[0] if job.tags else "", {})[job.id] = -job.priority * 1e13 + job.sequence
    assert {name.decode() for name in redis.smembers(keys.stack_owners(key))} == set(shares)
    assert len(redis.keys(keys.stack_tags(key, "*"))) == len(shares)
    assert len(redis.keys(keys.stack_share(key, "*", "*"))) == sum(map(len, shares.values()))
    for owner, tags in shares.items():
        every = {job_id: score for scores in tags.values() for job_id, score in scores.items()}
        assert _scores(redis, keys.stack(key, owner)) == every, "a stack keeps the order of the queue"
        firsts = {
            tag.decode(): score for tag, score in redis.zrange(keys.stack_tags(key, owner), 0, -1, withscores=True)
        }
        assert firsts == {tag: min(scores.values()) for tag, scores in tags.items()}, owner
        for tag, scores in tags.items():
            assert _scores(redis, keys.stack_share(key, owner, tag)) == scores, (owner, tag)


def _check_lines(redis: Redis, queue: str, queued: list[Job]) -> None:
    """Who waits in a queue waits in its owner's line, and of each line the first is known."""
    lines: dict[str, dict[str, float]] = {}
    for job in queued:
        lines.setdefault(job.owner, {})[job.id] = -job.priority * 1e13 + job.sequence
    assert _scores(redis, queue) == {job_id: score for line in lines.values() for job_id, score in line.items()}
    assert _scores(redis, keys.owners(queue)) == {owner: min(line.values()) for owner, line in lines.items()}
    assert len(redis.keys(keys.line(queue, "*"))) == len(lines)
    for owner, line in lines.items():
        assert _scores(redis, keys.line(queue, owner)) == line, owner
    for job in queued:
        assert redis.hexists(keys.turns(job.priority), job.owner)


def _check_log(store: JobStore, job: Job) -> None:
    events = store.events.read(job.id)
    assert [event.id for event in events] == list(range(1, job.last_event + 1)), "event ids without holes"
    said = [orjson.loads(event.data)["status"] for event in events if event.type == "status"]
    assert said[-1] == job.status, "the last status event is the status"
    assert [event.type for event in events].count("end") == (1 if job.terminal else 0)
    assert not job.terminal or events[-1].type == "end"
    assert job.finished_at_ms is None or job.terminal
    assert (job.worker_id is not None) == (job.status in HELD)
    steps = [orjson.loads(event.data)["step"] for event in events if event.type == "metric"]
    assert max(steps, default=-1) == job.last_metric_step


def _scores(redis: Redis, key: str) -> dict[str, float]:
    return {member.decode(): score for member, score in redis.zrange(key, 0, -1, withscores=True)}


def _members(redis: Redis, key: str) -> set[str]:
    return {member.decode() for member in redis.zrange(key, 0, -1)}


def job_with_metrics(store: JobStore, points: int) -> Claim:
    """A running job with so many points of a falling loss."""
    store.create(new_job())
    claim = store.claim("w")
    assert claim is not None
    store.write(claim, events=[("metric", {"step": n, "loss": 1 / (n + 1)}) for n in range(points)])
    return claim
