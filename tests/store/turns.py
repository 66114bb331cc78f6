"""The order in which queued jobs are to be claimed, as a model to hold the store against."""

from __future__ import annotations

from collections.abc import Sequence

from store.records import Job


class Turns:
    """Owners take turns at each priority, whoever led least recently first; of an owner the oldest job comes first."""

    def __init__(self) -> None:
        self._led: dict[tuple[int, str], int] = {}
        self._count = 0

    def came(self, job: Job) -> None:
        """A job waits: an owner that is new at this priority is before all who ever led, behind other new ones."""
        self._led.setdefault((job.priority, job.owner), job.sequence - 10**13)

    def lead(self, job: Job) -> None:
        """This one was claimed first."""
        self._count += 1
        self._led[job.priority, job.owner] = self._count

    def order(self, waiting: Sequence[Job]) -> list[Job]:
        """All of these, one claim after the other."""
        then = Turns()
        then._led, then._count = dict(self._led), self._count
        left, found = list(waiting), list[Job]()
        while left:
            found.append(min(left, key=lambda job: (-job.priority, then._led[job.priority, job.owner], job.sequence)))
            then.lead(found[-1])
            left.remove(found[-1])
        return found

    def places(self, waiting: Sequence[Job]) -> dict[str, float]:
        """Scores in that order, of each priority from its own on: a round of its owners' turns takes as many."""
        found = {}
        for priority in {job.priority for job in waiting}:
            equals = sorted((job for job in waiting if job.priority == priority), key=lambda job: job.sequence)
            owners = sorted({job.owner for job in equals}, key=lambda owner: self._led[priority, owner])
            for at, owner in enumerate(owners):
                for turn, job in enumerate(job for job in equals if job.owner == owner):
                    found[job.id] = -priority * 1e13 + turn * len(owners) + at
        return found
