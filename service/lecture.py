"""The rows of the lecture for the API: listed, and computed when they are asked for, two at a time."""

from __future__ import annotations

import time
from threading import BoundedSemaphore
from typing import Any

from kernels.errors import NotFound
from nets.lecture.registry import ROWS, chapter_of
from service.problems import Refused

WAIT_S = 10
"""Seconds that a computation waits for its turn."""

_turns = BoundedSemaphore(2)


def rows() -> list[dict[str, Any]]:
    """Every row without its numbers, in the lecture's order."""
    return [_described(name) for name in ROWS]


def computed(name: str) -> dict[str, Any]:
    """A row with its numbers, computed now; `ok` is null where nothing is computed.

    Raises:
        NotFound: there is no such row. Refused: 429, two others are computed.
    """
    if name not in ROWS:
        raise NotFound("there is no such row")
    compute = ROWS[name].compute
    if compute is None:
        return _described(name) | {"claims": [], "ok": None, "seconds": 0.0}
    if not _turns.acquire(timeout=WAIT_S):
        raise Refused(429, "busy", "Too many rows at once", "two are computed already", {"Retry-After": "2"})
    try:
        begun = time.perf_counter()
        claims = compute()
        seconds = time.perf_counter() - begun
    finally:
        _turns.release()
    shown = [claim.to_json() for claim in claims]
    return _described(name) | {"claims": shown, "ok": all(claim.ok for claim in claims), "seconds": round(seconds, 4)}


def _described(name: str) -> dict[str, Any]:
    return {"object": "lecture_row", "chapter": chapter_of(name)} | ROWS[name].describe()
