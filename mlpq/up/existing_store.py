"""Whether an existing Redis or Valkey can be used: asked before anything is started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from mlpq.addresses import without_password
from mlpq.errors import DeploymentError, InvalidArgumentError

TIMEOUT_S = 3.0
CHECK_TIMEOUT_S = 60.0
LIKE = "redis://:PASSWORD@HOST:6379/0"


def require_store(url: str) -> None:
    """Refuse to go on when nothing answers at the address of an existing Redis or Valkey, or it lets nobody in.

    Raises:
        InvalidArgumentError: that is no such address.
        DeploymentError: naming the address, without its password.
    """
    parts = _parts(url)
    try:
        with _connected(parts) as connection:
            refusal = "" if parts.scheme == "rediss" else _refusal(connection, parts)  # TLS is left to the programs
    except OSError as error:
        hint = "start it, or leave --redis-url and REDIS_URL out for an embedded server"
        raise DeploymentError(f"no Redis or Valkey answers at {without_password(url)}: {error}", hint) from error
    if refusal:
        hint = f"the address holds the password: {LIKE}"
        raise DeploymentError(f"what answers at {without_password(url)} refuses: {refusal}", hint)


def _parts(url: str) -> SplitResult:
    """The parts of an address; nothing is shown of one that cannot be read, for it may hold a password."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise InvalidArgumentError(f"--redis-url cannot be read; must be like {LIKE}") from None
    if parts.scheme not in ("redis", "rediss", "unix"):
        shown = without_password(url)
        raise InvalidArgumentError(f"--redis-url is {shown!r}; must start with redis://, rediss:// or unix://")
    return parts


def _connected(parts: SplitResult) -> socket.socket:
    if parts.scheme != "unix":
        return socket.create_connection((parts.hostname or "localhost", parts.port or 6379), TIMEOUT_S)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(TIMEOUT_S)
    try:
        connection.connect(parts.path)
    except OSError:
        connection.close()
        raise
    return connection


def _refusal(connection: socket.socket, parts: SplitResult) -> str:
    """What the server says against us, or nothing. One that still loads its file says so, and lets us in later."""
    account = [unquote(word) for word in (parts.username, parts.password) if word]
    commands = [["AUTH", *account]] if parts.password else []
    with connection.makefile("rwb") as wire:
        for command in (*commands, ["PING"]):
            words = [word.encode() for word in command]
            wire.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))
            wire.flush()
            answer = wire.readline(512).decode(errors="replace").strip()
            if not answer.startswith(("+OK", "+PONG", "-LOADING")):
                return answer.removeprefix("-") or "it closed the connection"
    return ""


def require_own_store(url: str, data_dir: Path, environment: Mapping[str, str]) -> None:
    """Refuse to go on when the server's database belongs to another data directory.

    Raises:
        DeploymentError: naming both directories, and what to do.
    """
    named = {**environment, "REDIS_URL": url, "MLPQ_DATA_DIR": os.fspath(data_dir)}
    command = [sys.executable, "-m", "store.identity"]
    asked = subprocess.run(command, env=named, capture_output=True, text=True, timeout=CHECK_TIMEOUT_S, check=False)
    if asked.returncode:
        raise DeploymentError(asked.stderr.strip().splitlines()[-1])
