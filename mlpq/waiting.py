"""Waiting for a job or a sweep to end: when to ask again, and when to give up."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from mlpq.errors import WaitTimeoutError

FIRST_POLL_S, POLL_SHARE = 0.02, 0.1
"""A question comes after a tenth of what was waited: a short job's end is seen at once, a long job asked rarely."""


class Awaited(Protocol):
    """What ends some time, as it was described last."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def status(self) -> str:
        """Its status."""

    @property
    def ended(self) -> bool:
        """Whether that is final."""


async def until_ended(
    one: Awaited,
    refresh: Callable[[], Awaitable[Any]],
    sleep: Callable[[float], Awaitable[None]],
    *,
    timeout_s: float | None,
    longest_poll_s: float,
    redraw: Callable[[], None],
) -> None:
    """Refresh `one` until it has ended, at least every `longest_poll_s` seconds; `redraw` follows every answer.

    Raises:
        WaitTimeoutError: it had not ended after `timeout_s` seconds.
    """
    start = time.monotonic()
    await refresh()
    redraw()
    while not one.ended:
        waited = time.monotonic() - start
        left = math.inf if timeout_s is None else timeout_s - waited
        if left <= 0:
            raise WaitTimeoutError(f"{one.id} is still {one.status} after {timeout_s} s")
        await sleep(min(max(waited * POLL_SHARE, FIRST_POLL_S), longest_poll_s, left))
        await refresh()
        redraw()
