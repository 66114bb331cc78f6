"""What an API process is told at its start, and the one rule about who may reach it."""

from __future__ import annotations

import hashlib
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"
DEFAULT_DATA_DIR = "mlpq-data"

MIN_KEY_CHARACTERS = 16
"""A key that guards more than this machine; 256 random bits in base64 are 43 characters."""

EXIT_REFUSED = 2
"""Exit status of a process that may not start as it was told to."""

MEBIBYTE = 1024 * 1024


class RefusedToStart(Exception):
    """These settings would expose the service or cannot work; the message says what to change."""


@dataclass(frozen=True)
class Settings:
    """Everything that differs between two API processes.

    Attributes:
        host, port: where it listens.
        redis_url: the store; `data_dir`: data sets and artifacts.
        api_keys: SHA-256 digests of the accepted keys; empty means no key is asked for.
        allowed_hosts: names that a request's Host may carry, besides loopback names and IP addresses.
        max_body_bytes: of a JSON body; `max_upload_bytes`: of one data set's upload.
        max_streams: open event streams of this process; more are answered 503. So many requests may wait for an end,
            too; more are answered at once.
        max_queued: unfinished jobs in the queue; more are answered 429.
        shutdown_s: how long open requests may take after SIGTERM.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    redis_url: str = DEFAULT_REDIS_URL
    data_dir: Path = field(default_factory=lambda: Path(DEFAULT_DATA_DIR))
    api_keys: tuple[bytes, ...] = ()
    allowed_hosts: frozenset[str] = frozenset()
    max_body_bytes: int = 8 * MEBIBYTE
    max_upload_bytes: int = 4096 * MEBIBYTE
    max_streams: int = 4000
    max_queued: int = 200_000
    shutdown_s: int = 3


def digest_keys(text: str) -> tuple[bytes, ...]:
    """SHA-256 digests of the comma-separated keys in `text`."""
    keys = [key.strip() for key in text.split(",")]
    return tuple(hashlib.sha256(key.encode()).digest() for key in keys if key)


def is_loopback(host: str) -> bool:
    """Whether `host` can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, environment: Mapping[str, str]) -> None:
    """Refuse to listen beyond this machine without a key.

    Raises:
        RefusedToStart: no key, or one too short to guard a network, and `MLPQ_ALLOW_NO_KEY=1` is not set.
    """
    if is_loopback(host) or environment.get("MLPQ_ALLOW_NO_KEY") == "1":
        return
    keys = [key.strip() for key in environment.get("MLPQ_API_KEY", "").split(",") if key.strip()]
    if not keys:
        raise RefusedToStart(
            f"refusing to listen on {host} without an API key: set MLPQ_API_KEY (one or several, comma-separated), "
            "or listen on 127.0.0.1, or set MLPQ_ALLOW_NO_KEY=1 where something else guards the port"
        )
    if min(map(len, keys)) < MIN_KEY_CHARACTERS:
        raise RefusedToStart(
            f"refusing to listen on {host} with a key of fewer than {MIN_KEY_CHARACTERS} characters: "
            "make one with python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that the environment gives; the command line overrides them in `service.__main__`.

    A variable that is there but empty counts as absent: that is how containers hand on what nobody has set.

    Raises:
        RefusedToStart: a number is not one.
    """
    hosts = environment.get("MLPQ_ALLOWED_HOSTS", "").lower().split(",")
    return Settings(
        host=environment.get("MLPQ_HOST") or DEFAULT_HOST,
        port=_integer(environment, "MLPQ_PORT", DEFAULT_PORT),
        redis_url=environment.get("REDIS_URL") or DEFAULT_REDIS_URL,
        data_dir=Path(environment.get("MLPQ_DATA_DIR") or DEFAULT_DATA_DIR),
        api_keys=digest_keys(environment.get("MLPQ_API_KEY", "")),
        allowed_hosts=frozenset(host.strip() for host in hosts if host.strip()),
        max_body_bytes=_integer(environment, "MLPQ_MAX_BODY_BYTES", Settings.max_body_bytes),
        max_upload_bytes=_integer(environment, "MLPQ_MAX_UPLOAD_BYTES", Settings.max_upload_bytes),
        max_streams=_integer(environment, "MLPQ_MAX_STREAMS", Settings.max_streams),
        max_queued=_integer(environment, "MLPQ_MAX_QUEUED", Settings.max_queued),
    )


def _integer(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isascii() or not text.isdigit():
        raise RefusedToStart(f"{name} is {text!r}; must be a whole number")
    return int(text)
