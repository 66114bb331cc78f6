"""The one table of legal moves of a job. Python, the Lua scripts, the tests and the docs all read it here."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Status(StrEnum):
    """Where a job is in its life; `pausing` and `cancelling` wait for the worker to let go."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Action(StrEnum):
    """What a user may ask of a job."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"


class Directive(StrEnum):
    """What a worker is told to do, in the answer to each of its writes."""

    CONTINUE = "continue"
    PAUSE = "pause"
    CANCEL = "cancel"


def _table(*rows: tuple[Status, set[Status]]) -> Mapping[Status, frozenset[Status]]:
    return MappingProxyType({source: frozenset(targets) for source, targets in rows})


TRANSITIONS: Mapping[Status, frozenset[Status]] = _table(
    (Status.QUEUED, {Status.RUNNING, Status.PAUSED, Status.CANCELLED}),
    (
        Status.RUNNING,
        {Status.PAUSING, Status.CANCELLING, Status.QUEUED, Status.SUCCEEDED, Status.FAILED},
    ),
    (
        Status.PAUSING,
        {Status.PAUSED, Status.RUNNING, Status.CANCELLING, Status.SUCCEEDED, Status.FAILED},
    ),
    (Status.PAUSED, {Status.QUEUED, Status.CANCELLED}),
    (Status.CANCELLING, {Status.CANCELLED}),
    (Status.SUCCEEDED, set()),
    (Status.FAILED, set()),
    (Status.CANCELLED, set()),
)
"""Legal moves. Nothing else changes a status, and a terminal status is final."""

TERMINAL: frozenset[Status] = frozenset(status for status, targets in TRANSITIONS.items() if not targets)
"""The ends of a job's life: succeeded, failed, cancelled."""

HELD: frozenset[Status] = frozenset({Status.RUNNING, Status.PAUSING, Status.CANCELLING})
"""A worker holds the job under a lease in exactly these."""

REQUESTS: Mapping[Action, Mapping[Status, Status]] = MappingProxyType(
    {
        Action.CANCEL: MappingProxyType(
            {
                Status.QUEUED: Status.CANCELLED,
                Status.PAUSED: Status.CANCELLED,
                Status.RUNNING: Status.CANCELLING,
                Status.PAUSING: Status.CANCELLING,
                Status.CANCELLING: Status.CANCELLING,
            }
        ),
        Action.PAUSE: MappingProxyType(
            {
                Status.QUEUED: Status.PAUSED,
                Status.RUNNING: Status.PAUSING,
                Status.PAUSING: Status.PAUSING,
            }
        ),
        Action.RESUME: MappingProxyType(
            {Status.PAUSED: Status.QUEUED, Status.PAUSING: Status.RUNNING},
        ),
    }
)
"""What a user's request does to each status; a status that maps to itself has heard the request already."""

YIELDS: Mapping[Status, Mapping[Status, Status]] = MappingProxyType(
    {
        # An accepted cancel wins over whatever the worker came to say.
        Status.CANCELLING: MappingProxyType(dict.fromkeys(Status, Status.CANCELLED)),
        # A job given back, or taken from a dead worker, while the user waits for its pause is paused.
        Status.PAUSING: MappingProxyType({Status.QUEUED: Status.PAUSED}),
        # The pause was withdrawn while the worker was stopping for it: the job runs again.
        Status.RUNNING: MappingProxyType({Status.PAUSED: Status.QUEUED}),
    }
)
"""How a user's wish bends what a worker asks for: YIELDS[present status][asked status] is what happens."""

DIRECTIVES: Mapping[Status, Directive] = MappingProxyType(
    {
        Status.RUNNING: Directive.CONTINUE,
        Status.PAUSING: Directive.PAUSE,
        Status.CANCELLING: Directive.CANCEL,
    }
)
"""What each held status means for the worker."""

MAX_CRASHES = 3
"""A job that took its worker down this often is not tried again."""


def allowed_actions(status: Status) -> tuple[str, ...]:
    """The actions that a user may ask for in this status, in alphabetical order."""
    return tuple(sorted(action for action, moves in REQUESTS.items() if status in moves))
