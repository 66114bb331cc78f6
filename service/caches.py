"""What was made once is kept, up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Held = TypeVar("Held")


class ByteCache(Generic[Held]):
    """The most recently used values up to a number of bytes. Two threads may make the same value; one is kept."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._held: OrderedDict[str, tuple[Held, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: str, make: Callable[[], tuple[Held, int]]) -> Held:
        """The value of `key`; `make` gives the value and its size in bytes."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key][0]
        value, size = make()
        with self._lock:
            if key not in self._held and size <= self._limit:
                self._held[key] = (value, size)
                self._bytes += size
            while self._bytes > self._limit:
                self._bytes -= self._held.popitem(last=False)[1][1]
        return value
