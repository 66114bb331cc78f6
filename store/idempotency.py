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
        with redis_errors():
            seen = cast("bytes | None", self.redis.get(keys.idempotency(key)))
        if seen is not None and seen.decode().partition(" ")[0] != body_sha256:
            raise InvalidInput.at("/headers/Idempotency-Key", "was used before with another body")
        return seen is not None

    def made(self, key: str, body_sha256: str) -> bool:
        """Whether the key came before with this body, and a job or the sweep that it made is still there.

        Raises: InvalidInput if it came with another body.
        """
        if not self.seen(key, body_sha256):
            return False
        with redis_errors():
            found = cast("bytes | None", self.redis.get(keys.idempotency(key))) or b""
            names = found.decode().partition(" ")[2].split(",")
            there = [keys.sweep(name) if name.startswith("swp_") else keys.job(name) for name in names]
            return bool(self.redis.exists(*there))

    def remember(self, key: str, body_sha256: str, resource_id: str) -> None:
        """From now on the key stands for this body."""
        with redis_errors():
            self.redis.set(keys.idempotency(key), f"{body_sha256} {resource_id}", ex=IDEMPOTENCY_S, nx=True)
