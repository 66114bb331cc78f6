"""The threads of the training process that write files, so that training waits for no disk, and results not in line."""

from __future__ import annotations

import queue
import threading
import zlib
from collections.abc import Callable
from typing import Final

from worker import log

THREADS: Final = 16
"""They mostly wait: a disk flushes several files at once nearly as quickly as one."""

_Work = Callable[[], None]


class Publisher:
    """Runs what it is given, for each job in that order; what is given must see to its own errors."""

    def __init__(self) -> None:
        self._lines: list[queue.Queue[_Work]] = [queue.Queue() for _ in range(THREADS)]
        for line in self._lines:
            threading.Thread(target=_serve, args=(line,), name="publisher", daemon=True).start()

    def do(self, job_id: str, work: _Work) -> None:
        """Have this done after everything before it that is the same job's."""
        self._lines[zlib.crc32(job_id.encode()) % THREADS].put(work)

    def drain(self) -> None:
        """Wait until everything is done."""
        for line in self._lines:
            line.join()


def _serve(line: queue.Queue[_Work]) -> None:
    while True:
        work = line.get()
        try:
            work()
        except Exception as error:  # noqa: BLE001 - else nobody would do what comes after it, and `drain` never return
            log.error("publishing_failed", error)
        finally:
            line.task_done()
