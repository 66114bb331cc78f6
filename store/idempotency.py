"""What an `Idempotency-Key` stood for, where it is not written in one script with what it did (see `create.lua`)."""

from __future__ import annotations

from typing import cast

from redis import Redis

from kernels.errors import InvalidInput
from store import keys
from store.connection import redis_errors
from store.jobs import IDEMPOTENCY_S


class Idempotency:
    """Keys of requests whose repetition does no harm by itself: an upload is named by its content, and a job that was
    cancelled, paused or resumed is told so.

    Raises from every method: StoreUnavailable.
    """

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    def seen(self, key: str, body_sha256: str) -> bool:
        """Whether the key came before with this body. Raises: InvalidInput if it came with another one."""
        return self._stands_for(key, body_sha256) is not None

    def made(self, key: str, body_sha256: str) -> bool:
        """The same, and a job or the sweep that it made is still there."""
        names = self._stands_for(key, body_sha256)
        if names is None:
            return False
        there = [keys.sweep(name) if name.startswith("swp_") else keys.job(name) for name in names.split(",")]
        with redis_errors():
            return bool(self.redis.exists(*there))

    def _stands_for(self, key: str, body_sha256: str) -> str | None:
        """The ids behind a key that came with this body, apart by commas."""
        with redis_errors():
            found = cast("bytes | None", self.redis.get(keys.idempotency(key)))
        if found is None:
            return None
        before, _, names = found.decode().partition(" ")
        if before != body_sha256:
            raise InvalidInput.at("/headers/Idempotency-Key", "was used before with another body")
        return names

    def remember(self, key: str, body_sha256: str, resource_id: str) -> None:
        """From now on the key stands for this body."""
        with redis_errors():
            self.redis.set(keys.idempotency(key), f"{body_sha256} {resource_id}", ex=IDEMPOTENCY_S, nx=True)
