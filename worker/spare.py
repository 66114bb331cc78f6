"""How much memory a device has free; asking the kernel takes half a millisecond, which many tiny jobs would feel."""

from __future__ import annotations

import time
from typing import Final

from kernels.backend import Backend

FRESH_S: Final = 0.1
"""Seconds for which an answer is good enough for whoever wants little of it."""

LITTLE: Final = 0.01
"""Share of what was free that counts as little."""


class Spare:
    """Remembers of each device what was free."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, int]] = {}

    def bytes(self, backend: Backend, wanted: float) -> int:
        """What is free now; or was a moment ago, where the `wanted` bytes are little of it."""
        asked_at, found = self._found.get(backend.device, (0.0, 0))
        if wanted > LITTLE * found or time.monotonic() - asked_at > FRESH_S:
            found = backend.free_bytes()
            self._found[backend.device] = time.monotonic(), found
        return found
