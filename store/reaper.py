"""The reaper: a thread in every long-lived process that takes back dropped jobs and repairs lost wake-ups.

Any number may run at once: each reap is one script, and the pause by which they notice an outage is kept in
Redis, shared by all of them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from kernels.errors import MlpqError
from store.claims import Claims
from store.clocks import LEASE_S, REAP_PAUSE_S, REAP_PERIOD_S

_log = logging.getLogger("mlpq.reaper")


class Reaper:
    """Calls `store.reap()` every `period_s` in a thread of its own until stopped; an outage does not end it.

    Args:
        store: on a connection of its own; a fail-fast one lets `stop` return sooner.
        period_s: seconds between two reaps.
        grace_s: after an outage, how long expired leases are left alone.
        pause_s: silence of all reapers that counts as an outage.
        guard: called before each reap; while it raises an MlpqError nothing is reaped.
    """

    def __init__(
        self,
        store: Claims,
        period_s: float = REAP_PERIOD_S,
        grace_s: float = LEASE_S,
        pause_s: float = REAP_PAUSE_S,
        guard: Callable[[], None] | None = None,
    ) -> None:
        self._store = store
        self._period_s = period_s
        self._grace_s = grace_s
        self._pause_s = pause_s
        self._guard = guard
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mlpq-reaper", daemon=True)

    def start(self) -> None:
        """Start the thread; it reaps at once and then every period."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Ask the thread to end and wait for it."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        away = False
        while not self._stop.is_set():
            try:
                if self._guard is not None:
                    self._guard()
                reaped = self._store.reap(self._grace_s, self._pause_s)
            except MlpqError as error:
                if not away:
                    _log.warning("reaper waits: %s", error)
                away = True
            except Exception:  # noqa: BLE001 - a reaper that dies silently would leave every later loss unnoticed
                _log.exception("a reap failed; the next one follows")
            else:
                away = False
                for job_id, status in reaped.moved.items():
                    _log.warning("%s lost its worker and is now %s", job_id, status)
                if reaped.wakeups:
                    _log.warning("%d lost wake-ups pushed again", reaped.wakeups)
            self._stop.wait(self._period_s)
