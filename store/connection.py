"""Connections to Redis or Valkey with a stated patience, and the errors that mean "not now".

redis-py's own defaults (5 s timeout, 10 retries) are neither: a web request would hang for a minute, and a
worker would give up in the middle of an outage.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from redis import Redis
from redis import asyncio as redis_asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from kernels.errors import DiskFull, StoreUnavailable

Patience = Literal["fail_fast", "patient"]

FAIL_FAST_TIMEOUT_S = 0.8
"""A fail-fast call waits at most once for this long, so it ends within a second."""

PATIENT_TIMEOUT_S = 5.0
"""How long a patient call waits for one answer before it asks again."""

PATIENT_RETRIES = 600
"""With pauses of up to 1 s: a patient call rides out at least ten minutes."""

OLDEST_VERSION = (7, 0)
"""The oldest Redis whose commands suffice; every Valkey does."""

_AWAY = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    MasterDownError,
    ReadOnlyError,
    TryAgainError,
)


def connect(url: str, patience: Patience = "fail_fast", **options: Any) -> Redis:
    """A client for `redis://`, `rediss://` or `unix://`.

    Args:
        url: where the server is.
        patience: `fail_fast` for whoever must answer within a second; `patient` for a worker, which rides
            out an outage of minutes (it asks again every second at most).
        options: further options of redis-py, which win over the ones chosen here.
    """
    return Redis.from_url(url, **(_options(url, patience, Retry) | options))


def connect_async(url: str, patience: Patience = "fail_fast", **options: Any) -> redis_asyncio.Redis:
    """The same for asyncio."""
    return redis_asyncio.Redis.from_url(url, **(_options(url, patience, AsyncRetry) | options))


def _options(url: str, patience: Patience, retry: type[Retry] | type[AsyncRetry]) -> dict[str, Any]:
    if patience == "fail_fast":
        # One retry for a connection that a restarted server has closed; a timeout is never repeated.
        return {
            "socket_timeout": FAIL_FAST_TIMEOUT_S,
            "socket_connect_timeout": FAIL_FAST_TIMEOUT_S,
            "retry": retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        }
    keepalive = {} if url.startswith("unix:") else {"socket_keepalive": True}
    pauses = ExponentialBackoff(cap=1.0, base=0.05)
    return {
        "socket_timeout": PATIENT_TIMEOUT_S,
        "socket_connect_timeout": PATIENT_TIMEOUT_S,
        "retry": retry(pauses, PATIENT_RETRIES, supported_errors=(RedisConnectionError, RedisTimeoutError)),
    } | keepalive


def examine(redis: Redis) -> tuple[str, ...]:
    """What about this server would break a promise of the store, one sentence each; empty when all is well.

    Raises:
        StoreUnavailable: it cannot be asked.
    """
    try:
        with redis_errors():
            told = redis.info()
    except NoPermissionError:
        return ("INFO is not permitted: whether it keeps what it accepts is unknown",)
    version = tuple(int(part) for part in str(told["redis_version"]).split(".")[:2])
    found = []
    if version < OLDEST_VERSION:
        found.append(f"version {told['redis_version']} is too old; must be {OLDEST_VERSION[0]} or later")
    if not told.get("aof_enabled"):
        found.append("appendonly is off: a restart of the server can lose accepted jobs")
    if told.get("maxmemory") and told.get("maxmemory_policy") != "noeviction":
        found.append(f"maxmemory-policy is {told['maxmemory_policy']}: records may vanish; set noeviction")
    return tuple(found)


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turn what Redis cannot do right now into our errors; a mistake of ours passes as it is.

    Raises:
        StoreUnavailable: unreachable, still loading, read-only, or out of memory.
        DiskFull: the server refuses writes because it cannot save them.
    """
    try:
        yield
    except OutOfMemoryError as error:
        raise StoreUnavailable("the job store is out of memory", retry_after_s=10) from error
    except _AWAY as error:
        raise StoreUnavailable(f"the job store cannot be reached: {error}") from error
    except ResponseError as error:
        if "MISCONF" in str(error):
            raise DiskFull("the job store cannot save to its disk") from error
        if "OOM command not allowed" in str(error):
            raise StoreUnavailable("the job store is out of memory", retry_after_s=10) from error
        raise
