"""How the training process gives way to the service and to Redis, whom people wait for, where they share processors."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

_THREADS: Final = Path("/proc/self/task")
_SESSION: Final = Path("/proc/self/autogroup")
_TELL_EVERY_S: Final = 0.1
"""How often Linux lets anybody change the priority of a session."""
_TRIES: Final = 10


def give_way(nice: int) -> None:
    """Come after others by `nice` steps from now on: every thread, and those that they start later.

    So does the session that this process leads: Linux may share processors among sessions first.
    """
    wanted = os.getpriority(os.PRIO_PROCESS, 0) + nice
    for thread in [int(path.name) for path in _THREADS.iterdir()] if _THREADS.exists() else [0]:
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, thread, wanted)
    if os.getsid(0) == os.getpid():
        _tell_session(nice)


def _tell_session(nice: int) -> None:
    with suppress(OSError), _SESSION.open("wb", buffering=0) as session:
        for _ in range(_TRIES):
            if session.write(str(nice).encode()):
                return
            time.sleep(_TELL_EVERY_S)
