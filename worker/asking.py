"""Claims that are asked for until the answer is heard: what was taken while an answer was lost is ours all the same."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from kernels.errors import StoreUnavailable
from store.clocks import LEASE_S
from worker.outage import Outage
from worker.settings import OUTAGE_RETRY_S

T = TypeVar("T")


def answered(ask: Callable[[str], T], stopping: threading.Event, outage: Outage) -> T:
    """What `ask` answers, called with one token for all attempts.

    Raises:
        StoreUnavailable: not within a lease, after which others may have what was taken; or `stopping` is set.
    """
    token, started = secrets.token_hex(8), time.monotonic()
    while True:
        try:
            found = ask(token)
        except StoreUnavailable as error:
            outage.noticed(error)
            if time.monotonic() - started > LEASE_S or stopping.wait(OUTAGE_RETRY_S):
                raise
        else:
            outage.over()
            return found
