"""Free memory is asked for anew by whoever wants much of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from kernels.backend import Backend
from worker.spare import FRESH_S, Spare


def counting(free: int) -> tuple[Backend, list[int]]:
    asked = list[int]()

    def free_bytes() -> int:
        asked.append(free)
        return free - len(asked)

    return cast("Backend", SimpleNamespace(device="cpu", free_bytes=free_bytes)), asked


def test_little_memory_is_not_asked_for_again_at_once(monkeypatch) -> None:
    now = 100.0
    monkeypatch.setattr("worker.spare.time.monotonic", lambda: now)
    backend, asked = counting(10**9)
    spare = Spare()
    assert [spare.bytes(backend, 10**6) for _ in range(3)] == [10**9 - 1] * 3
    assert spare.bytes(backend, 10**8) == 10**9 - 2  # much: as it is now
    assert spare.bytes(backend, 10**6) == 10**9 - 2
    now += 2 * FRESH_S
    assert spare.bytes(backend, 10**6) == 10**9 - 3
    assert len(asked) == 3
