"""Weights files as the API needs them: found, verified once, converted, and held ready to predict."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from kernels.errors import Corrupted
from nets.export import EXPORTERS, load_npz
from nets.weights import Predictor
from service.problems import Refused
from store.files import LocalArtifacts, StoredFile
from store.records import Job

Held = TypeVar("Held")

CACHED_BYTES = 256 * 1024 * 1024
"""Of converted files and predictors together, each."""


class ByteCache(Generic[Held]):
    """The most recently used values up to a number of bytes; one thread makes a value, others may make it too."""

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
