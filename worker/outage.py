"""One line when Redis goes away and one when it is back, however often it was asked in between."""

from __future__ import annotations

import time

from worker import log


class Outage:
    """What one thread knows of the server's absence.

    Args:
        who: the part of the worker that notices, for the log.
    """

    def __init__(self, who: str) -> None:
        self._who = who
        self._since: float | None = None

    def noticed(self, error: Exception) -> None:
        """A call failed because Redis is away."""
        if self._since is None:
            self._since = time.monotonic()
            log.warning("redis_unavailable", part=self._who, detail=str(error)[:200])

    def over(self) -> None:
        """A call went through."""
        if self._since is not None:
            log.info("redis_is_back", part=self._who, after_s=round(time.monotonic() - self._since, 1))
            self._since = None
