"""The only name an RQ entry may carry. Workers never call what an entry names: they compare it, and look for work."""

from __future__ import annotations


def wake() -> None:
    """Ask a worker to look for a queued job; carries no data.

    Run by a plain `rq worker` it does nothing, which is all that could safely be done.
    """
