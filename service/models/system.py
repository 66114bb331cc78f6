"""Queue and workers as they are answered."""

from __future__ import annotations

from typing import Any, Literal

from service.models.answers import Out, Page


class QueueOut(Out):
    """How many jobs wait and run."""

    object: Literal["queue"]
    depth: int
    jobs: dict[str, int]


class WorkersOut(Page):
    """The workers that are alive, each with the jobs that it trains and their number (`stack`).

    `kernels` is `compiling` while jobs wait for code, once on a machine; else `loading` or `ready`.
    """

    data: list[dict[str, Any]]
