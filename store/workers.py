"""Who works: each worker says so every few seconds and vanishes from the list when it stops saying it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, cast

import orjson
from redis import Redis

from store import keys
from store.connection import redis_errors
from store.records import encode

WORKER_TTL_S = 15.0
"""A worker that has been silent for this long is no longer listed."""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker says of itself. `kernels`: whether the code for the CPU is `loading`, `compiling`, or `ready`."""

    id: str
    host: str
    pid: int
    device: str
    backend: str
    memory_total_bytes: int | None = None
    memory_free_bytes: int | None = None
    jobs: tuple[str, ...] = ()
    samples_per_s: float | None = None
    started_at_ms: int | None = None
    kernels: str = "ready"


class Workers:
    """The registry of living workers."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    def now_ms(self) -> int:
        """The time by the Redis server's clock, in ms since 1970."""
        with redis_errors():
            seconds, microseconds = self.redis.time()
        return seconds * 1000 + microseconds // 1000

    def heartbeat(self, info: WorkerInfo, ttl_s: float = WORKER_TTL_S) -> None:
        """Register a worker, or say that it lives and what it does now. Raises: StoreUnavailable."""
        with redis_errors(), self.redis.pipeline(transaction=True) as pipe:
            pipe.set(keys.worker(info.id), encode(asdict(info)), px=int(ttl_s * 1000))
            pipe.sadd(keys.WORKERS, info.id)
            pipe.execute()

    def forget(self, worker_id: str) -> None:
        """Take a worker that ends off the list at once. Raises: StoreUnavailable."""
        with redis_errors(), self.redis.pipeline(transaction=True) as pipe:
            pipe.delete(keys.worker(worker_id))
            pipe.srem(keys.WORKERS, worker_id)
            pipe.execute()

    def list(self) -> list[WorkerInfo]:
        """Every living worker, by id. Raises: StoreUnavailable."""
        with redis_errors():
            names = sorted(name.decode() for name in cast("set[bytes]", self.redis.smembers(keys.WORKERS)))
            if not names:
                return []
            found = cast("list[bytes | None]", self.redis.mget([keys.worker(name) for name in names]))
            gone = [name for name, said in zip(names, found, strict=True) if said is None]
            if gone:
                self.redis.srem(keys.WORKERS, *gone)
        return [_info(orjson.loads(said)) for said in found if said is not None]


def _info(said: dict[str, Any]) -> WorkerInfo:
    return WorkerInfo(**{**said, "jobs": tuple(said["jobs"])})
