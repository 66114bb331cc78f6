"""How many rows a model trains on in a second, by a clock that is read between chunks only."""

from __future__ import annotations

from dataclasses import dataclass

LEAST_S = 0.05
"""Shortest time that a figure is taken over, in seconds."""


@dataclass
class Throughput:
    """Steps per second since the metric point before, or over at least `LEAST_S` where points come faster than that.

    Everything counts that takes time: points, checkpoints and measuring as well. All points of a chunk have one figure:
    nobody knows when in the chunk they were passed, and what was done at its end was done for all of them.
    """

    began: float
    first_step: int

    def __post_init__(self) -> None:
        self._now, self._per_s = self.began, 0.0
        self._before = self._last = (self.began, self.first_step)

    def at(self, now: float, step: int) -> float:
        """The figure of the points of a chunk that ended `now`, with its last `step`; the same for all of them."""
        if now > self._now:
            is_long = now - self._last[0] >= LEAST_S
            since, begin = self._last if is_long else self._before
            self._now, self._per_s = now, (step - begin) / (now - since)
            if is_long:
                self._before, self._last = self._last, (now, step)
        return self._per_s
