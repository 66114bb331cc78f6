"""Keeps processes running: one thread, woken by signals, that restarts what ends and stops all in order."""

from __future__ import annotations

import math
import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from mlpq.up.program import ManagedProcess

LOG_CHECK_S = 5.0
HURRIED_S = 0.5
"""Seconds that each stage gets after the second wish to stop."""


class Signals:
    """Counts the wishes to stop (SIGINT, SIGTERM, SIGHUP) and wakes the waiting loop; SIGCHLD wakes it too."""

    def __init__(self) -> None:
        self.stop_requests = 0
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup stays in force
                self._before[number] = signal.signal(number, self._count)
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        os.close(self._read)
        os.close(self._write)

    def _count(self, *_: Any) -> None:
        self.stop_requests += 1

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, or earlier when a signal came."""
        select.select([self._read], [], [], max(seconds, 0.0))
        with suppress(BlockingIOError):
            while os.read(self._read, 512):
                pass


class Supervisor:
    """Runs programs until it is told to stop.

    Args:
        processes: in the order in which they start.
        signals: entered by the caller.
        say: takes one line for the person who watches.
    """

    def __init__(self, processes: Sequence[ManagedProcess], signals: Signals, say: Callable[[str], None]) -> None:
        self.processes = list(processes)
        self.signals = signals
        self.say = say
        self._logs_checked_at = time.monotonic()

    def turn(self, longest_s: float) -> None:
        """Notice what ended, start what is due, bound the logs, then wait for the next thing to happen."""
        for process in self.processes:
            status = process.ended()
            if status is not None:
                delay = process.start_at - time.monotonic()
                self.say(f"{process.program.name} ended ({describe_exit(status)}); restarting in {max(delay, 0):.1f} s")
        for process in self.processes:
            if not process.running and process.start_at <= time.monotonic():
                if process.start_at:
                    process.restarts += 1
                process.start()
        self._bound_logs()
        due = [process.start_at for process in self.processes if not process.running]
        self.signals.wait(min([longest_s, *(at - time.monotonic() for at in due)]))

    def run(self) -> None:
        """Keep everything running until the first wish to stop."""
        while not self.signals.stop_requests:
            self.turn(LOG_CHECK_S)

    def stop(self) -> bool:
        """Stop stage by stage, gracefully; a second wish to stop shortens it.

        Returns:
            Whether every process ended by itself.
        """
        graceful = True
        for stage in sorted({process.program.stage for process in self.processes}):
            group = [process for process in self.processes if process.program.stage == stage and process.running]
            graceful &= self._stop_group(group)
        return graceful

    def _stop_group(self, group: list[ManagedProcess]) -> bool:
        for process in group:
            self.say(f"stopping {process.program.name}")
            process.terminate()
        started = time.monotonic()
        killed: set[str] = set()
        while group := [process for process in group if process.ended() is None and process.running]:
            longest_s = (math.inf, math.inf, HURRIED_S)[min(self.signals.stop_requests, 2)]
            for process in group:
                name = process.program.name
                if name not in killed and time.monotonic() - started > min(process.program.grace_s, longest_s):
                    self.say(f"{name} has not ended by itself; killing it")
                    process.kill()
                    killed.add(name)
            self.signals.wait(0.1)
        return not killed

    def _bound_logs(self) -> None:
        if time.monotonic() - self._logs_checked_at >= LOG_CHECK_S:
            self._logs_checked_at = time.monotonic()
            for process in self.processes:
                process.bound_log()


def describe_exit(status: int) -> str:
    """`status 3` or `killed by SIGKILL`."""
    if status >= 0:
        return f"status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
