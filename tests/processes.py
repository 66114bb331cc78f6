"""Real workers and API servers for tests: started on free ports, watched through their logs, killed and counted.

with Processes(tmp_path, valkey.url, data_dir) as processes:
    worker = processes.worker()
    api = processes.service()
    worker.kill()
"""

from __future__ import annotations

import functools
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx2

from mlpq.embedded import EmbeddedServer, die_with_parent

T = TypeVar("T")


@contextmanager
def valkey_in(folder: Path) -> Iterator[EmbeddedServer]:
    """A Valkey server whose data lie in the folder, stopped at the end."""
    server = EmbeddedServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def wait_until(condition: Callable[[], T], timeout_s: float = 30.0, what: str = "", every_s: float = 0.02) -> T:
    """Poll until `condition()` is truthy and return that; fail naming `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what or condition}")
        time.sleep(every_s)


def http_client(url: str, timeout_s: float = 20.0, **options: Any) -> httpx2.Client:
    """A client of a service on this machine; it loads no certificates, which would take 50 ms."""
    return httpx2.Client(base_url=url, timeout=timeout_s, verify=False, **options)


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def processes_with(argument: str) -> list[int]:
    """Ids of the living processes that have `argument` somewhere in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if argument.encode() in (entry / "cmdline").read_bytes() and is_alive(int(entry.name)):
                    found.append(int(entry.name))
    return found


class Process:
    """One started process with its combined output in a file."""

    def __init__(self, arguments: list[str], log: Path, environment: dict[str, str]) -> None:
        self.log_path = log
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | environment,
                preexec_fn=functools.partial(die_with_parent, os.getpid()),  # an interrupted run leaves nothing running
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self.popen.pid

    @property
    def log(self) -> str:
        """Everything it wrote so far."""
        return self.log_path.read_text(errors="replace")

    def wait_for(self, pattern: str, timeout_s: float = 30.0) -> re.Match[str]:
        """Wait until its log matches; fail with the log's end when it ends or time is up."""

        def found() -> re.Match[str] | None:
            match = re.search(pattern, self.log)
            if match is None and self.popen.poll() is not None:
                raise AssertionError(f"ended with {self.popen.returncode} before {pattern!r}:\n{self.log[-3000:]}")
            return match

        try:
            return wait_until(found, timeout_s, pattern)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log[-3000:]}") from None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.popen.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.popen.kill()
        self.popen.wait()

    def terminate(self, timeout_s: float = 20.0) -> int:
        """SIGTERM; returns the exit status, and fails when it does not go."""
        self.popen.terminate()
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"ignored SIGTERM for {timeout_s:g} s:\n{self.log[-3000:]}") from None


class Worker(Process):
    """A `python -m worker`."""

    def ready(self, timeout_s: float = 60.0) -> Worker:
        """Wait until its training process is warm."""
        self.wait_for(r"event=trainer_ready", timeout_s)
        return self

    def trainer_pid(self) -> int:
        """The id of its present training process."""
        return int(re.findall(r"event=trainer_started pid=(\d+)", self.log)[-1])

    def trainer_pids(self) -> list[int]:
        """The ids of every training process it ever had."""
        return [int(pid) for pid in re.findall(r"event=trainer_started pid=(\d+)", self.log)]


class Service(Process):
    """A `python -m service`."""

    url: str

    def ready(self, timeout_s: float = 60.0) -> Service:
        """Wait until it answers."""
        wait_until(self._answers, timeout_s, f"{self.url}/healthz answers")
        return self

    def _answers(self) -> bool:
        if self.popen.poll() is not None:
            raise AssertionError(f"ended with {self.popen.returncode}:\n{self.log[-3000:]}")
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


class Processes:
    """Starts processes against one Redis and one data directory, and ends every one of them at the end."""

    def __init__(self, folder: Path, redis_url: str, data_dir: Path) -> None:
        self.folder = folder
        self.redis_url = redis_url
        self.data_dir = data_dir
        self.started: list[Process] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.started:
            if process.popen.poll() is None:
                with suppress(ProcessLookupError):
                    process.signal(signal.SIGCONT)
                process.popen.kill()
                process.popen.wait()
        for process in self.started:  # pytest shows this when the test has failed
            print(f"---- {process.log_path.name} ----\n{process.log[-8000:]}")
        wait_until(lambda: not self.trainers(), 30, "training processes end with their workers")

    def worker(self, *arguments: str, name: str | None = None, device: str = "cpu", **environment: str) -> Worker:
        """Start a worker; `environment` is added to ours (CRASH_AT="…" turns failpoints on)."""
        name = name or f"w{len(self.started)}"
        if environment:
            environment.setdefault("MLPQ_FAILPOINTS", "1")
        options = ["--redis-url", self.redis_url, "--data-dir", str(self.data_dir), "--device", device, "--name", name]
        worker = Worker(["worker", *options, *arguments], self.folder / f"{name}.log", environment)
        self.started.append(worker)
        return worker

    def service(self, *arguments: str, port: int | None = None, **environment: str) -> Service:
        """Start an API server on a free port (or again on the same one); `ready()` waits for it."""
        port = port or free_port()
        options = ["--host", "127.0.0.1", "--port", str(port)]
        options += ["--redis-url", self.redis_url, "--data-dir", str(self.data_dir)]
        log = self.folder / f"service{len(self.started)}.log"
        service = Service(["service", *options, *arguments], log, environment)
        service.url = f"http://127.0.0.1:{port}"
        self.started.append(service)
        return service

    def trainers(self) -> list[int]:
        """Every living training process on this data directory, orphans too."""
        return [pid for pid in processes_with("worker.child") if _has(pid, str(self.data_dir))]

    def __iter__(self) -> Iterator[Process]:
        return iter(self.started)


def _has(pid: int, argument: str) -> bool:
    with suppress(OSError):
        return argument.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return False


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def most_resident_bytes(pid: int) -> int:
    """The most resident memory that a process ever had, or since 5 was written to its `clear_refs`."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def describe(value: Any) -> str:
    """A value for an assertion's message, bounded."""
    return repr(value)[:500]
