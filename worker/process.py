"""The warm training process as its worker sees it: spawned, spoken to, awaited, ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping

from worker.channel import Channel, ChannelClosedError, Message
from worker.settings import Settings


class TrainingProcess:
    """One `python -m worker.child`. It is spawned (a fork would copy our threads, and CUDA does not survive one).

    It must be made by the main thread: the kernel ends it when the thread that made it ends.
    """

    def __init__(self, settings: Settings, worker_id: str, environment: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [
                *(sys.executable, "-m", "worker.child"),
                *("--channel", str(theirs.fileno()), "--parent", str(os.getpid())),
                *("--data-dir", str(settings.data_dir), "--device", settings.device),
                *("--name", settings.name, "--worker-id", worker_id, "--nice", str(settings.nice)),
            ]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                env={**environment, "REDIS_URL": settings.redis_url},  # it may hold a password, which `ps` would show
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C in a terminal reaches the worker alone, which stops us in order
            )
        self.channel = Channel(ours)
        self.pid = self._process.pid
        self.started = time.monotonic()
        self.runs = 0

    def send(self, message: Message) -> None:
        """Tell it something; a process that has died meanwhile is found by the next `receive`."""
        try:
            self.channel.send(message)
        except ChannelClosedError:
            return

    def receive(self, timeout_s: float | None) -> Message | None:
        """Its next message, None after `timeout_s`. Raises: ChannelClosedError when it is gone."""
        return self.channel.receive(timeout_s)

    @property
    def has_ended(self) -> bool:
        """Whether it is gone, for whatever reason."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """End it at once."""
        if self._process.poll() is None:
            self._process.kill()

    def wait(self, timeout_s: float = 10.0) -> int:
        """Wait for its end; returns the exit status (negative: the signal that ended it). Kills what does not go."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()
        finally:
            self.channel.close()


def describe_exit(status: int) -> str:
    """`signal SIGKILL` or `exit status 1`."""
    if status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"exit status {status}"
