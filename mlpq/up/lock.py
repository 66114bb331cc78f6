"""One deployment per data directory.

The lock is an flock on `mlpq.lock`, and every process of the deployment inherits the open file. So it is free only
when all of them are gone: a server whose supervisor was killed cannot have a second one started over its files.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlpq.errors import DeploymentError

_LEFTOVER_WAIT_S = 15.0
"""Seconds that the processes of a killed supervisor get to end, before their directory counts as in use."""


class DataDirectoryLock:
    """Exclusive use of a data directory, until `release` or the death of the last process that inherited it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "mlpq.lock"
        self._handle: int | None = None

    @property
    def handle(self) -> int:
        """The file descriptor that the deployment's processes inherit."""
        if self._handle is None:
            raise RuntimeError("the lock is not held")
        return self._handle

    def acquire(self) -> None:
        """Take the lock; wait a little for what a killed supervisor left behind.

        Raises:
            DeploymentError: another deployment uses the directory, or it cannot be written.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            what = f"the data directory {self.directory} cannot be used: {error.strerror}"
            raise DeploymentError(what, "choose another with --data-dir") from error
        deadline = time.monotonic() + _LEFTOVER_WAIT_S
        while not self._try():
            holder = running_deployment(self.directory)
            if holder is not None or time.monotonic() > deadline:
                os.close(self._handle)
                self._handle = None
                raise _in_use(self.directory, holder)
            time.sleep(0.1)
        self.describe({"pid": os.getpid()})

    def describe(self, about: dict[str, Any]) -> None:
        """Write who holds the directory and where it answers, for others to read."""
        content = json.dumps({"pid": os.getpid(), **about}).encode()
        os.truncate(self.handle, 0)
        os.pwrite(self.handle, content, 0)

    def release(self) -> None:
        """Give the directory back."""
        if self._handle is not None:
            os.truncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None

    def _try(self) -> bool:
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def running_deployment(directory: Path) -> dict[str, Any] | None:
    """What the living supervisor of `directory` wrote about itself (`pid`, `url` once it is ready), or None."""
    path = directory / "mlpq.lock"
    with suppress(OSError, ValueError):
        about = json.loads(path.read_bytes())
        if isinstance(about, dict) and _is_locked(path) and _is_alive(int(about["pid"])):
            return about
    return None


def _is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _is_alive(pid: int) -> bool:
    """Whether a process runs; one that was killed and that nobody has taken note of yet (a zombie) does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _in_use(directory: Path, holder: dict[str, Any] | None) -> DeploymentError:
    if holder is None:
        return DeploymentError(
            f"the data directory {directory} is still used by processes of an earlier `mlpq up`",
            "end them, or choose another directory with --data-dir",
        )
    where = f" at {holder['url']}" if holder.get("url") else ""
    return DeploymentError(
        f"the data directory {directory} is in use by `mlpq up` (pid {holder['pid']}){where}",
        "use that one, stop it, or choose another directory with --data-dir",
    )
