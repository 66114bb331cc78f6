"""What this worker says of itself in the worker registry, once a second, from a thread of its own."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from redis.exceptions import RedisError

from kernels.errors import DiskFull, StoreUnavailable
from store.workers import WorkerInfo, Workers
from worker.outage import Outage
from worker.settings import REGISTRY_S, RQ_HEARTBEAT_S


class Presence:
    """The registry entry of one worker: the supervisor changes it, a thread keeps it alive.

    Args:
        name: how people call this worker; the id adds what makes it unique, so a restarted worker is another one.
        device: what was asked for; replaced by the real device when the training process is ready.
        workers: the registry.
    """

    def __init__(self, name: str, device: str, workers: Workers) -> None:
        self.worker_id = f"{name}-{secrets.token_hex(4)}"
        self.ready = False
        self._workers = workers
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._ended = False
        self._also: Callable[[], None] | None = None
        self._thread = threading.Thread(target=self._run, name="registry", daemon=True)
        self._info = WorkerInfo(
            id=self.worker_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=device,
            backend="starting",
            started_at_ms=workers.now_ms(),
            kernels="loading",
        )

    def start(self, also: Callable[[], None]) -> None:
        """Begin; `also` is called every `RQ_HEARTBEAT_S` (RQ's own heartbeat)."""
        self._also = also
        self._thread.start()

    def became_ready(self, device: Mapping[str, Any]) -> None:
        """The training process has its device: the fields of its "ready" message."""
        self.ready = True
        self._set(
            device=device["device"],
            backend=device["backend"],
            memory_total_bytes=device["memory_total_bytes"],
            memory_free_bytes=device["memory_free_bytes"],
        )

    def became_cold(self) -> None:
        """The training process is gone."""
        self.ready = False
        self._set(backend="starting", jobs=(), samples_per_s=None, kernels="loading")

    def kernels(self, state: str) -> None:
        """How far its compiled code is: `compiling`, or `ready`."""
        self._set(kernels=state)

    @property
    def device(self) -> str:
        """The device of the training process, or what was asked for until it is ready."""
        return self._info.device

    def busy_with(self, jobs: Sequence[str]) -> None:
        """What is being trained right now."""
        if tuple(jobs) != self._info.jobs:
            self._set(jobs=tuple(jobs), samples_per_s=self._info.samples_per_s if jobs else None)

    def progress(self, samples_per_s: float | None, memory_free_bytes: int | None) -> None:
        """The throughput of the last second, and the memory left on the device."""
        self._set(samples_per_s=samples_per_s, memory_free_bytes=memory_free_bytes)

    def leave(self) -> None:
        """Take the entry out of the registry. Raises: StoreUnavailable."""
        self._ended = True
        self._changed.set()
        self._thread.join(timeout=5)
        self._workers.forget(self.worker_id)

    def _set(self, **changes: Any) -> None:
        with self._lock:
            self._info = replace(self._info, **changes)

    def _run(self) -> None:
        told_rq_at = time.monotonic()
        outage = Outage("registry")
        while not self._ended:
            try:
                self._workers.heartbeat(self._info)
                if self._also is not None and time.monotonic() - told_rq_at > RQ_HEARTBEAT_S:
                    told_rq_at = time.monotonic()
                    self._also()
                outage.over()
            except (RedisError, StoreUnavailable, DiskFull) as error:
                outage.noticed(error)
            self._changed.wait(REGISTRY_S)
