"""What a run tells, and what may be said to it: the protocols between `fit` and whoever calls it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from numpy.typing import NDArray

from nets.member import State


class Command(StrEnum):
    """What `Control` wants of a model."""

    CONTINUE = "continue"
    PAUSE = "pause"
    CANCEL = "cancel"


class Ending(StrEnum):
    """How a model's run ended."""

    COMPLETED = "completed"
    EARLY_STOPPED = "early_stopped"
    PAUSED = "paused"
    HALTED = "halted"
    """It pauses by itself, at its `halt_epoch`."""
    CANCELLED = "cancelled"
    DIVERGED = "diverged"


INTERRUPTED = frozenset({Ending.PAUSED, Ending.HALTED, Ending.CANCELLED})
"""Endings that leave a run to be gone on with: nothing is measured."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """The end of one model's run.

    `metrics` has train_loss, train_accuracy or train_r2, and the same for val_ where there are validation
    rows; null where not finite; of a run that is to be gone on with none, but where it HALTED what its folds have
    measured. `parameters` are W1 (I, O), b1 (O,), ... on the host. `error` says for DIVERGED which tensor became
    non-finite at which step.
    """

    kind: Ending
    step: int
    epoch: int
    metrics: dict[str, float | None]
    parameters: dict[str, NDArray[Any]]
    error: str | None = None
    reason: str | None = None


class Report(Protocol):
    """Where a run tells what happens; `member` is the model's place in the stack as given to `fit`."""

    def started(self, member: int, info: dict[str, Any]) -> None:
        """The run begins: backend, device, versions, steps."""

    def metric(self, member: int, point: dict[str, Any]) -> None:
        """A metric point: plain numbers, null where not finite."""

    def checkpoint(self, member: int, state: State, step: int, epoch: int) -> None:
        """Everything that a bit-identical resume needs: plain numeric arrays, owned by the receiver."""

    def finished(self, member: int, outcome: Outcome) -> None:
        """The model has left the stack."""


class Control(Protocol):
    """Who may stop a run; asked between chunks, so it must be cheap."""

    def command(self, member: int) -> Command:
        """What is wanted of a model now."""
