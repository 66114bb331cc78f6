"""The clocks that leases and reapers run by, in every process alike."""

from __future__ import annotations

LEASE_S = 8.0
"""Seconds that a claim stays its worker's after its last write; then its job is taken back."""

REAP_PERIOD_S = 2.0
"""How often each reaper looks."""

REAP_PAUSE_S = 5.0
"""No reap by anybody for this long means that the server was away: the workers could not renew either."""
