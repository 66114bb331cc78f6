"""Named places where a test may kill, hold or starve this very process of disk, to prove what survives.

    CRASH_AT=before_publish        SIGKILL at that place, once (the next training process runs through)
    CRASH_AT=after_claim*3         three processes in a row
    DISK_FULL_AT=checkpoint        every write of a checkpoint (or `result`) fails with ENOSPC
    OUT_OF_MEMORY_ABOVE=4      a stack of more models than that finds no memory
    HOLD_WHILE=/a/file             while the file exists no run ends by itself: it waits in the middle of an epoch,
                                   with a point and a checkpoint made, and still does as it is told

All are honoured only with MLPQ_FAILPOINTS=1 in the environment. Writes fail inside the operating system's calls (an
audit hook sees each rename before it happens), so the code under test holds no branch for that.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

PLACES = (
    "before_claim",
    "after_claim",
    "mid_epoch",
    "during_checkpoint_write",
    "before_checkpoint_pointer",
    "after_checkpoint",
    "before_result",
    "after_result_file",
    "before_publish",
    "after_publish",
)
"""In the order in which a job passes them."""


def enabled() -> bool:
    """Whether this process was started to be tested."""
    return os.environ.get("MLPQ_FAILPOINTS") == "1"


def reach(place: str) -> None:
    """End this process by SIGKILL if it was asked to die here."""
    if enabled() and os.environ.get("CRASH_AT", "").partition("*")[0] == place:
        _die()


def held() -> bool:
    """Whether a test wants runs to wait before they end, just now."""
    return enabled() and Path(os.environ.get("HOLD_WHILE", os.devnull)).is_file()


def allocate(models: int) -> None:
    """Fail as a stack of so many models does for which there is no memory. Raises: MemoryError."""
    if enabled() and models > int(os.environ.get("OUT_OF_MEMORY_ABOVE", models)):
        raise MemoryError


@contextmanager
def writing(kind: str) -> Iterator[None]:
    """Around the write of a file, `kind` being "checkpoint" or "result": dies or fails as the temporary is renamed."""
    if not enabled():
        yield
        return
    _rename.on_rename = None
    if kind == "checkpoint" and os.environ.get("CRASH_AT", "").partition("*")[0] == "during_checkpoint_write":
        _rename.on_rename = "die"
    elif os.environ.get("DISK_FULL_AT") == kind:
        _rename.on_rename = "full"
    _rename.install()
    try:
        yield
    finally:
        _rename.on_rename = None


def after_a_crash(environment: MutableMapping[str, str]) -> None:
    """Count one crash off `CRASH_AT`, so that the next training process dies only if a number asked for it."""
    place, _, count = environment.get("CRASH_AT", "").partition("*")
    if not place or not enabled():
        return
    left = int(count or "1") - 1
    if left > 0:
        environment["CRASH_AT"] = f"{place}*{left}"
    else:
        del environment["CRASH_AT"]


class _RenameHook:
    """An audit hook cannot be removed, so one is installed once and told what to do."""

    def __init__(self) -> None:
        self.on_rename: str | None = None
        self._installed = False

    def install(self) -> None:
        if not self._installed:
            self._installed = True
            sys.addaudithook(self._audit)

    def _audit(self, event: str, _arguments: tuple[object, ...]) -> None:
        if event != "os.rename" or self.on_rename is None:
            return
        if self.on_rename == "die":
            _die()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


_rename = _RenameHook()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()
