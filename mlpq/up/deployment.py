"""`mlpq up` from the first check to the last stopped process."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlpq.addresses import page_url, without_password
from mlpq.embedded import EmbeddedServer, ServerNotFoundError
from mlpq.errors import DeploymentError
from mlpq.up import plan
from mlpq.up.existing_store import require_own_store, require_store
from mlpq.up.lock import DataDirectoryLock
from mlpq.up.plan import Options
from mlpq.up.program import ManagedProcess
from mlpq.up.supervisor import Signals, Supervisor

READY_TIMEOUT_S = 90.0
KERNELS_S = 1.0
"""Seconds between two looks whether workers still load or compile what they need."""

HOPELESS_AFTER = 3
"""Ends of the same process before the deployment is ready, after which it is given up."""


@dataclass(frozen=True)
class Running:
    """A deployment that is ready."""

    url: str
    data_dir: Path
    logs: Path
    redis: str
    devices: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The facts for a machine."""
        return {
            "object": "deployment",
            "pid": os.getpid(),
            "url": self.url,
            "docs": f"{self.url}/docs",
            "data_dir": str(self.data_dir),
            "logs": str(self.logs),
            "redis": self.redis,
            "devices": list(self.devices),
            "warnings": list(self.warnings),
        }


def up(
    options: Options,
    ready: Callable[[Running], None],
    say: Callable[[str], None],
    environment: Mapping[str, str] = os.environ,
) -> bool:
    """Start everything, call `ready`, keep it running until a signal says stop, and stop it.

    Returns:
        Whether every process ended by itself when asked.

    Raises:
        DeploymentError: it cannot start here, or did not come up.
    """
    plan.require_server()
    plan.require_key(options.host, environment)
    if options.redis_url:
        require_store(options.redis_url)
    n_gpus = 0 if options.device == "cpu" else plan.count_gpus()
    devices = plan.choose_devices(options.device, options.workers, n_gpus)
    options = replace(options, data_dir=options.data_dir.expanduser().resolve())
    lock = DataDirectoryLock(options.data_dir)
    lock.acquire()
    try:
        if options.redis_url:
            require_own_store(options.redis_url, options.data_dir, environment)
        options = replace(options, port=plan.choose_port(options.host, options.port))
        with Signals() as signals:
            return _Deployment(options, devices, lock, signals, say, environment).run(ready)
    finally:
        lock.release()


class _Deployment:
    def __init__(
        self,
        options: Options,
        devices: list[str],
        lock: DataDirectoryLock,
        signals: Signals,
        say: Callable[[str], None],
        environment: Mapping[str, str],
    ) -> None:
        self.options = options
        self.devices = devices
        self.lock = lock
        self.environment = environment
        self.url = page_url(options.host, options.port)
        self.embedded = None if options.redis_url else EmbeddedServer(options.data_dir / "valkey")
        self.supervisor = Supervisor([], signals, say)

    def run(self, ready: Callable[[Running], None]) -> bool:
        """Start, wait until ready, supervise, stop; whatever happens, nothing is left running."""
        supervisor = self.supervisor
        try:
            if self.embedded is not None:
                self._start_embedded(self.embedded)
            self._start_rooms(self.options.redis_url or (self.embedded.url if self.embedded else ""))
            if self._wait_until_ready():
                self.lock.describe({"url": self.url})
                running = self._running()
                for warning in running.warnings:
                    supervisor.say(f"warning: the store at {running.redis}: {warning}")
                ready(running)
                self._wait_for_kernels()
            supervisor.run()
        finally:
            graceful = supervisor.stop()
            if self.embedded is not None:
                self.embedded.clean()
        return graceful

    def _start_embedded(self, server: EmbeddedServer) -> None:
        try:
            command = server.command("--logfile", "")
        except ServerNotFoundError as error:
            raise DeploymentError(str(error)) from error
        program = plan.valkey_program(command, self.options.data_dir, self.environment)
        self.supervisor.processes.append(ManagedProcess(program, [self.lock.handle]))
        self._turn_until(server.ping, "the embedded Valkey server does not answer")

    def _start_rooms(self, redis_url: str) -> None:
        programs = [
            plan.api_program(self.options, redis_url, self.environment),
            *plan.worker_programs(self.options, redis_url, self.devices, self.environment),
        ]
        self.supervisor.processes.extend(ManagedProcess(program, [self.lock.handle]) for program in programs)

    def _wait_until_ready(self) -> bool:
        return self._turn_until(
            lambda: is_ready(self.url) and len(workers(self.url, self.environment)) >= len(self.devices),
            "the service does not become ready",
        )

    def _turn_until(self, reached: Callable[[], bool], complaint: str) -> bool:
        """Supervise until `reached`; False when told to stop meanwhile."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        pause_s = 0.02
        while not self.supervisor.signals.stop_requests:
            self.supervisor.turn(pause_s)
            for process in self.supervisor.processes:
                if process.backoff.failures >= HOPELESS_AFTER:
                    what = f"{process.program.name} keeps ending:\n{process.log_tail()}"
                    raise DeploymentError(what, self._see_logs())
            if reached():
                return True
            if time.monotonic() > deadline:
                raise DeploymentError(f"{complaint} within {READY_TIMEOUT_S:.0f} s", self._see_logs())
            pause_s = min(pause_s * 1.5, 0.25)
        return False

    def _wait_for_kernels(self) -> None:
        """Supervise until no worker has code to load or to compile; where compiling keeps jobs waiting, say so."""
        said = False
        while not self.supervisor.signals.stop_requests:
            states = {worker.get("kernels") for worker in workers(self.url, self.environment)}
            if "compiling" in states and not said:
                said = True
                self.supervisor.say("compiling the CPU kernels, once on this machine: jobs wait for a minute or two")
            if states and states.isdisjoint({"loading", "compiling"}):
                if said:
                    self.supervisor.say("the CPU kernels are compiled")
                return
            self.supervisor.turn(KERNELS_S)

    def _see_logs(self) -> str:
        return f"the logs are in {plan.log_folder(self.options.data_dir)}"

    def _running(self) -> Running:
        redis = "embedded" if self.embedded is not None else without_password(self.options.redis_url or "")
        logs = plan.log_folder(self.options.data_dir)
        return Running(self.url, self.options.data_dir, logs, redis, tuple(self.devices), store_warnings(self.url))


def is_ready(url: str) -> bool:
    """Whether the service says that it can do its work."""
    return _get(url, "/readyz", {})[0] == 200


def store_warnings(url: str) -> tuple[str, ...]:
    """What the service has to say against the way its store is set up."""
    _, body = _get(url, "/readyz", {})
    with suppress(ValueError, KeyError, TypeError):
        return tuple(str(warning) for warning in json.loads(body)["warnings"])
    return ()


def workers(url: str, environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """The workers that the service knows to be alive."""
    key = environment.get("MLPQ_API_KEY", "").partition(",")[0].strip()
    status, body = _get(url, "/v1/workers", {"Authorization": f"Bearer {key}"} if key else {})
    with suppress(ValueError, KeyError, TypeError):
        return list(json.loads(body)["data"]) if status == 200 else []
    return []


def _get(url: str, path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """One GET with what the standard library has; (0, b"") when nobody answers."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=2.0)
    try:
        connection.request("GET", path, headers=dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()
