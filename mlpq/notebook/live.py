"""A job's card that is drawn again while its events arrive; nothing outside a notebook."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlpq.notebook.cards import job_card
from mlpq.notebook.screen import screen

if TYPE_CHECKING:
    from mlpq.handle import Handle

REDRAW_S = 0.2
"""Seconds between two pictures of a growing curve."""


@contextmanager
def live_card(job: Handle) -> Iterator[Callable[[bool], None]]:
    """What to call when the job has changed: soon is enough (True: one point of many), or now (False)."""
    place = screen()
    if place is None:
        yield lambda _: None
        return
    drawn_at = 0.0

    def redraw(soon: bool) -> None:
        nonlocal drawn_at
        if not soon or time.monotonic() - drawn_at > REDRAW_S:
            place.show(job_card(job.record, job.curve))
            drawn_at = time.monotonic()

    redraw(False)
    try:
        yield redraw
    finally:
        redraw(False)
