"""The thread of the training process that writes files, so that training waits for no disk."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class Publisher:
    """Runs what it is given in that order; what is given must see to its own errors."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Callable[[], None]] = queue.Queue()
        threading.Thread(target=self._run, name="publisher", daemon=True).start()

    def do(self, work: Callable[[], None]) -> None:
        """Have this done after everything before it."""
        self._waiting.put(work)

    def drain(self) -> None:
        """Wait until everything is done."""
        self._waiting.join()

    def _run(self) -> None:
        while True:
            work = self._waiting.get()
            try:
                work()
            finally:
                self._waiting.task_done()
