"""Waiting for a job or a sweep to end: how long an answer may take, when to ask again, and when to give up."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from mlpq.bars import nothing
from mlpq.errors import WaitTimeoutError

FIRST_POLL_S, POLL_SHARE = 0.02, 0.1
"""Answers that are drawn follow each other after a tenth of what was waited: much at first, rarely for a long job."""


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
    refresh: Callable[[float], Awaitable[Any]],
    sleep: Callable[[float], Awaitable[None]],
    *,
    timeout_s: float | None,
    longest_poll_s: float,
    redraw: Callable[[], None],
) -> None:
    """Refresh `one` until it has ended; `redraw` follows every answer.

    `refresh` is told for how many seconds the answer may wait for the end: for all that are left or, where something is
    drawn, for `longest_poll_s` at most. Where answers come sooner without the end, as from a service for which too many
    wait, they are asked for no more often than if they were drawn.

    Raises:
        WaitTimeoutError: it had not ended after `timeout_s` seconds.
    """
    start = time.monotonic()
    while True:
        asked_at = time.monotonic()
        left = math.inf if timeout_s is None else max(timeout_s - (asked_at - start), 0.0)
        pause = min(max((asked_at - start) * POLL_SHARE, FIRST_POLL_S), longest_poll_s, left)
        await refresh(left if redraw is nothing else pause)
        redraw()
        if one.ended:
            return
        if left <= 0:
            raise WaitTimeoutError(f"{one.id} is still {one.status} after {timeout_s} s")
        missing = asked_at + pause - time.monotonic()
        if missing > 0:
            await sleep(missing)
