"""One supervised process: how it is started, its bounded log, and when it may start again."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlpq.embedded import die_with_parent

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
STEADY_AFTER_S = 30.0
"""A process that ran for so long starts with the first delay again when it ends."""

LOG_BYTES = 8 << 20
LOG_GENERATIONS = 3


@dataclass(frozen=True)
class Program:
    """What is to run.

    Attributes:
        name: names the log file and the messages.
        command: the argument list.
        environment: the whole environment.
        log: where standard output and error go.
        stage: programs of a lower stage are stopped first.
        grace_s: seconds between SIGTERM and SIGKILL.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    stage: int
    grace_s: float


class Backoff:
    """Delays before restarts: 0.5 s, doubling up to 30 s, from the beginning after a steady run."""

    def __init__(self) -> None:
        self.failures = 0

    def after(self, ran_s: float) -> float:
        """Seconds to wait before the next start of something that ran for `ran_s` seconds."""
        if ran_s >= STEADY_AFTER_S:
            self.failures = 0
        self.failures += 1
        return float(min(FIRST_DELAY_S * 2.0 ** (self.failures - 1), LONGEST_DELAY_S))


class ManagedProcess:
    """A program with at most one living process."""

    def __init__(self, program: Program, inherited: Sequence[int] = ()) -> None:
        self.program = program
        self.backoff = Backoff()
        self.restarts = 0
        self.start_at = 0.0
        self._inherited = inherited
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    @property
    def running(self) -> bool:
        """Whether its process has not been seen to end."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """Its process id, while it runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it in a session of its own, so that a Ctrl-C in the terminal reaches the supervisor alone."""
        self.program.log.parent.mkdir(parents=True, exist_ok=True)
        with self.program.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.program.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self.program.environment),
                start_new_session=True,
                pass_fds=tuple(self._inherited),
                preexec_fn=functools.partial(die_with_parent, os.getpid()),
            )
        self._started_at = time.monotonic()

    def ended(self) -> int | None:
        """The exit status if its process has just ended (nothing of its session survives it), else None."""
        if self._process is None or (status := self._process.poll()) is None:
            return None
        self._signal(signal.SIGKILL)
        self._process = None
        self.start_at = time.monotonic() + self.backoff.after(time.monotonic() - self._started_at)
        return status

    def terminate(self) -> None:
        """Ask it to end; it alone is asked, as it knows how its children end well."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """End it and everything in its session at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def bound_log(self) -> None:
        """Keep the log below its limit: copy it aside, then cut it; its writers append, so they go on at the start."""
        log = self.program.log
        if not log.exists() or log.stat().st_size < LOG_BYTES:
            return
        for number in range(LOG_GENERATIONS - 1, 0, -1):
            older = _generation(log, number)
            if older.exists():
                older.replace(_generation(log, number + 1))
        shutil.copyfile(log, _generation(log, 1))
        os.truncate(log, 0)

    def log_tail(self, n_lines: int = 12) -> str:
        """The last lines of its log."""
        if not self.program.log.exists():
            return "(no log)"
        with self.program.log.open("rb") as file:
            file.seek(max(0, self.program.log.stat().st_size - 8192))
            lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-n_lines:]) or "(empty log)"


def _generation(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}")
