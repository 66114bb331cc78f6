"""What compiled code needs, compiled or loaded by a thread beside the first jobs, which wait for it."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable

from nets.warm import warm
from worker import log
from worker.channel import Message
from worker.yielding import give_way

WAITS = "the CPU kernels are being compiled, once on this machine: training begins in a minute or two"
"""What a job is told that waits for it."""


class Compiler:
    """Loads code, or compiles it where this machine has not yet, and then says so.

    Args:
        nice: how far this process gives way to others once that is done: until then a job may be waiting for it.
        tell: sends a message to the worker.
    """

    def __init__(self, nice: int, tell: Callable[[Message], None]) -> None:
        self.compiles = False
        """Whether jobs wait for code that is being compiled."""
        self._nice, self._tell = nice, tell

    def start(self) -> None:
        """Begin, beside whatever this process does."""
        threading.Thread(target=self._run, name="compiler", daemon=True).start()

    def _run(self) -> None:
        began = time.monotonic()
        warm(self._has_to_compile)
        if self.compiles:
            log.info("compiled", after_s=round(time.monotonic() - began, 3))
        self.compiles = False
        self._tell({"event": "kernels", "state": "ready"})
        gc.freeze()  # nothing of it is garbage: no later collection looks through it again
        give_way(self._nice)

    def _has_to_compile(self) -> None:
        if not self.compiles:
            self.compiles = True
            log.info("compiling", detail="the CPU kernels, once on this machine: jobs wait for a minute or two")
            self._tell({"event": "kernels", "state": "compiling"})
