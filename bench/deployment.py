"""A real local deployment for a benchmark: `mlpq up` on a free port with an empty data directory."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2


@dataclass(frozen=True)
class Deployment:
    """What runs: its address, its data directory, the supervisor's process id."""

    url: str
    data_dir: Path
    pid: int

    def training_children(self) -> list[int]:
        """Process ids of the warm training children of this deployment."""
        return [pid for pid in descendants(self.pid) if b"worker.child" in command_line(pid)]


def free_port() -> int:
    """A TCP port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command_line(pid: int) -> bytes:
    """The arguments of a process, NUL-separated; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def descendants(root: int) -> list[int]:
    """All living processes below `root`, from /proc."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                parents[int(entry.name)] = int(fields[1])
    found, level = [], {root}
    while level:
        level = {pid for pid, parent in parents.items() if parent in level}
        found += sorted(level)
    return found


@contextlib.contextmanager
def deployment(workers: int = 1, device: str = "cpu") -> Iterator[Deployment]:
    """Start `mlpq up`, wait until it is ready, stop it at the end; with `auto` every GPU has a worker.

    Raises:
        RuntimeError: it was not ready within 60 s.
    """
    with tempfile.TemporaryDirectory(prefix="mlpq-bench-") as folder:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [
            sys.executable,
            "-m",
            "mlpq",
            "up",
            "--port",
            str(port),
            "--data-dir",
            folder,
            *(["--workers", str(workers)] if device == "cpu" else ["--device", device]),
        ]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MLPQ_")}
        with (Path(folder) / "up.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            _wait_ready(url, process)
            yield Deployment(url, Path(folder), process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _wait_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx2.HTTPError):
            if httpx2.get(f"{url}/readyz").status_code == 200 and httpx2.get(f"{url}/v1/workers").json()["data"]:
                return
        time.sleep(0.1)
    raise RuntimeError("mlpq up was not ready within 60 s")
