"""`mlpq up` as a person starts it: a running deployment, and one that must not start."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlpq.embedded import die_with_parent
from tests.processes import is_alive


class Up:
    """A running `mlpq up --json`."""

    def __init__(self, data_dir: Path, *options: str, **environment: str) -> None:
        self.data_dir = data_dir
        command = [sys.executable, "-m", "mlpq", "up", "--json", "--data-dir", str(data_dir), *options]
        self.errors = data_dir.parent / f"{data_dir.name}.stderr"
        with self.errors.open("wb") as said:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=said,
                env={**os.environ, **environment},
                preexec_fn=functools.partial(die_with_parent, os.getpid()),
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.errors.read_text()
        self.about: dict[str, Any] = json.loads(line)
        self.url = self.about["url"]

    def children(self) -> dict[str, int]:
        """Every process of the deployment but the supervisor, by a word of its command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.process.pid:
                try:
                    environment = (entry / "environ").read_bytes()
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if f"MLPQ_DATA_DIR={self.data_dir}".encode() in environment or str(self.data_dir).encode() in b" ".join(
                    words
                ):
                    name = next((w.decode() for w in words if w in (b"service", b"worker", b"worker.child")), "valkey")
                    if is_alive(int(entry.name)):
                        found[name] = int(entry.name)
        return found

    def ends(self, timeout_s: float = 60.0) -> int:
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """End what still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        for pid in self.children().values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def refused(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """An `mlpq up` that must not start."""
    command = [sys.executable, "-m", "mlpq", "up", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})
