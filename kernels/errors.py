"""The exception tree of all rooms; every class has a stable `code`, mapped to HTTP in one place.

MlpqError
├── InvalidInput            422  a value outside its allowed range: field, value, allowed
├── MalformedInput          400  not even the right shape: broken JSON, a bad event id
├── NotFound                404  no such resource (or not yours)
├── IllegalTransition       409  the job's state does not allow the move; names what is allowed
├── Conflict                409  still referenced, already running
├── TooLarge                413  a body or a declared size over its limit
├── DiskFull                507  no space left; nothing was written
├── Corrupted               500  a stored file does not match its sha256
├── StoreUnavailable        503  Redis is away; try again after `retry_after_s`
├── ForeignStore            503  Redis belongs to another data directory
├── RecordingFailed          -   a device cannot record a training step; it is run in another way
├── Fenced                   -   this worker's lease was taken over: stop, write nothing more
└── TrainingError            -   ends the job as failed: its code becomes the job's error
    ├── Diverged                 a loss or parameter became non-finite
    └── OutOfMemory              the device has less memory than the run needs
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True)
class FieldError:
    """One rejected field: a JSON pointer and a sentence with the value and the allowed range."""

    pointer: str
    detail: str


def meant(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the one of `known` that is nearly it, whatever the case, if any."""
    folded = {one.lower(): one for one in known}
    near = get_close_matches(name.lower(), folded, n=1)
    return f'; did you mean "{folded[near[0]]}"?' if near else ""


class MlpqError(Exception):
    """Root of every error that this project raises on purpose."""

    code = "error"


class InvalidInput(MlpqError, ValueError):
    """One or more fields are outside their allowed range."""

    code = "invalid_input"

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{e.pointer}: {e.detail}" for e in errors))
        self.errors = errors

    @classmethod
    def at(cls, pointer: str, detail: str) -> InvalidInput:
        """One field: `InvalidInput.at("/net/hidden/2", "is 0; must be 1..65536")`."""
        return cls(FieldError(pointer, detail))


class MalformedInput(MlpqError, ValueError):
    """The input could not be read at all."""

    code = "malformed_input"


class NotFound(MlpqError, LookupError):
    """No such resource."""

    code = "not_found"


class IllegalTransition(MlpqError):
    """The job's present state does not allow the asked move."""

    code = "illegal_transition"

    def __init__(self, detail: str, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.allowed = allowed


class Conflict(MlpqError):
    """The resource is in use or in the wrong state for this call."""

    code = "conflict"


class TooLarge(MlpqError):
    """A body, a declared size or an estimate is over its limit."""

    code = "too_large"


class DiskFull(MlpqError):
    """No space left on the data volume; nothing was published."""

    code = "disk_full"


class Corrupted(MlpqError):
    """A stored file is not what was written: its sha256 differs."""

    code = "corrupted"


class StoreUnavailable(MlpqError):
    """Redis cannot be reached right now."""

    code = "store_unavailable"

    def __init__(self, detail: str = "the job store cannot be reached", retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class ForeignStore(MlpqError):
    """The Redis database belongs to another data directory; the files of its records are not here."""

    code = "foreign_store"


class RecordingFailed(MlpqError):
    """A training step cannot be recorded on this device; the message says why."""

    code = "recording_failed"


class Fenced(MlpqError):
    """Another worker holds the job now; this one must stop and write nothing more."""

    code = "fenced"


class TrainingError(MlpqError):
    """Ends the job as failed; `code` and the message become the job's `error`."""

    code = "training_error"


class Diverged(TrainingError):
    """A loss or a parameter became non-finite at `step` in `tensor`."""

    code = "diverged"

    def __init__(self, step: int, tensor: str) -> None:
        super().__init__(f"{tensor} became non-finite at step {step}")
        self.step = step
        self.tensor = tensor


class OutOfMemory(TrainingError):
    """The device has less free memory than the run needs."""

    code = "out_of_memory"
