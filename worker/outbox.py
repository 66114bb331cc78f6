"""What one claimed job still has to tell the store, in order, and what the store last asked of it.

The training thread fills an outbox, the reporter thread empties it. A batch that was taken is sent again unchanged
until the store has answered, so that an outage can neither lose nor reorder anything.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from store.records import Claim
from store.transitions import Directive, Status
from worker.settings import BATCH_EVENTS

Event = tuple[str, dict[str, Any]]

CLOSING_FIELDS = frozenset({"progress", "metrics"})
"""Fields of the record that may be written together with an ending."""


@dataclass(frozen=True)
class Closing:
    """How a run ended: the state to move to, and what becomes part of the record with it."""

    to: Status
    reason: str
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None


def stopped(directive: Directive) -> Closing:
    """How a run ends that stops before its time: as its user asked, else for somebody else to go on with."""
    if directive is Directive.CANCEL:
        return Closing(Status.CANCELLED, "cancelled")
    if directive is Directive.PAUSE:
        return Closing(Status.PAUSED, "paused")
    return Closing(Status.QUEUED, "given_back")


@dataclass
class Batch:
    """One fenced write: up to `BATCH_EVENTS` events and the fields that belong to them.

    `token` makes a second sending harmless when only the answer to the first was lost.
    """

    events: list[Event] = field(default_factory=list)
    checkpoint: dict[str, Any] | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    later: Callable[[], dict[str, Any]] | None = None
    """Further fields, worked out when they are needed: those of the last of many points."""
    closing: Closing | None = None
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    def __bool__(self) -> bool:
        return bool(self.events or self.checkpoint or self.closing or self.fields)

    def settle(self) -> None:
        """Work out what was left for later."""
        if self.later is not None:
            self.fields |= self.later()
            self.later = None

    @property
    def full(self) -> bool:
        """Whether the next event must go into another batch: a checkpoint seals what leads up to it."""
        return len(self.events) >= BATCH_EVENTS or self.checkpoint is not None or self.closing is not None


class Outbox:
    """The unsent batches of one claim. All methods may be called from any thread."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.directive = Directive.CONTINUE
        self.begun = False
        """Training asks between its steps what is wanted; until then nobody does."""
        self.since = time.monotonic()
        """When the job was claimed."""
        self.told_why = False
        """The job's log says what it waits for."""
        self.closed = False
        """No more is to be sent: the ending was acknowledged, or the claim was fenced."""
        self.fenced = False
        self.given_up = False
        """Closed while it was still being prepared: whoever prepares it leaves it alone."""
        self.checkpoints = claim.job.checkpoints
        """The two manifests that the record names now, the newest first."""
        self._step = 0
        self._waiting = 0
        self._pending: deque[Batch] = deque()
        self._sending: Batch | None = None
        self._lock = threading.Lock()

    def add(self, *events: Event, checkpoint: dict[str, Any] | None = None, **fields: Any) -> bool:
        """Append events, and fields of the record that change with them. Returns whether they are the first to wait.

        Progress never goes back: a checkpoint that was long in writing tells of a step that others have passed.
        """
        with self._lock:
            if fields.get("progress", {}).get("step", self._step) < self._step:
                del fields["progress"]
            self._step = fields.get("progress", {}).get("step", self._step)
            batch = self._append(events)
            batch.settle()
            batch.checkpoint = checkpoint
            batch.fields |= fields
            return self._waiting == len(events)

    def add_point(self, point: dict[str, Any], fields: Callable[[], dict[str, Any]]) -> bool:
        """Append a metric event; of the points that are sent together only the last one's `fields` are asked for."""
        with self._lock:
            self._step = point["step"]
            self._append((("metric", point),)).later = fields
            return self._waiting == 1

    def _append(self, events: tuple[Event, ...]) -> Batch:
        batch = self._open_batch()
        batch.events += events
        self._waiting += len(events)
        return batch

    def close(self, closing: Closing) -> None:
        """Append the ending, if there is none yet. It travels with events, and with fields that an ending may have."""
        with self._lock:
            if self._closing_waits():
                return
            fits = not self._pending or self._pending[-1].fields.keys() <= CLOSING_FIELDS
            self._open_batch(fits).closing = closing

    def _open_batch(self, fits: bool = True) -> Batch:
        if not self._pending or self._pending[-1].full or not fits:
            self._pending.append(Batch())
        return self._pending[-1]

    def next_batch(self) -> Batch:
        """The oldest batch; the same one again until it is acknowledged. An empty one is a heartbeat."""
        with self._lock:
            if self._sending is None:
                self._sending = self._pending.popleft() if self._pending else Batch()
                self._sending.settle()
            return self._sending

    def acknowledge(self) -> None:
        """The store has what `next_batch` gave."""
        with self._lock:
            self.closed = self._sending is not None and self._sending.closing is not None
            self._waiting -= 0 if self._sending is None else len(self._sending.events)
            self._sending = None

    def pointed_at(self, checkpoint: dict[str, Any]) -> None:
        """The record names a new checkpoint; the one before it is the second choice."""
        self.checkpoints = (checkpoint, *self.checkpoints[:1])

    @property
    def events_wait(self) -> bool:
        """Whether there are events to send."""
        with self._lock:
            return self._waiting > 0

    @property
    def closing_waits(self) -> bool:
        """Whether the ending was given and not yet acknowledged."""
        with self._lock:
            return self._closing_waits()

    def _closing_waits(self) -> bool:
        last = self._pending[-1] if self._pending else self._sending
        return last is not None and last.closing is not None

    @property
    def unsaved_checkpoint(self) -> bool:
        """Whether a checkpoint was written whose pointer has not reached the store."""
        with self._lock:
            batches = [*self._pending, self._sending]
            return any(batch is not None and batch.checkpoint is not None for batch in batches)

    def abandon(self) -> None:
        """Someone else holds the job: forget everything unsent."""
        with self._lock:
            self._pending.clear()
            self._sending, self._waiting = None, 0
            self.fenced = self.closed = True


def finite(point: Mapping[str, Any]) -> dict[str, Any]:
    """`point` with non-finite numbers as None: JSON has no word for them."""
    return {
        key: None if isinstance(value, float) and not float("-inf") < value < float("inf") else value
        for key, value in point.items()
    }
