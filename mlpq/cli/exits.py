"""What the exit status of a command says."""

from __future__ import annotations

from mlpq.errors import (
    ApiError,
    ConflictError,
    DeploymentError,
    InvalidArgumentError,
    InvalidInputError,
    MlpqError,
    NotAllowedError,
    NotFoundError,
    ServiceUnreachableError,
    UnavailableError,
)

OK, FAILED, USAGE, NOT_FOUND, UNREACHABLE, CONFLICT, CANNOT_START, NOT_ALLOWED = range(8)

EXIT_HELP = (
    "Exit status: 0 ok · 1 the job failed, or a check was off · 2 wrong usage or refused input · 3 not found · "
    "4 no service answers, or it is unavailable · 5 the job's state does not allow it · 6 cannot start here (port "
    "taken, data directory in use, server not installed) · 7 key missing or wrong · 130 interrupted."
)

_STATUS: tuple[tuple[type[MlpqError], int], ...] = (
    (InvalidArgumentError, USAGE),
    (InvalidInputError, USAGE),
    (NotFoundError, NOT_FOUND),
    (ServiceUnreachableError, UNREACHABLE),
    (UnavailableError, UNREACHABLE),
    (ConflictError, CONFLICT),
    (DeploymentError, CANNOT_START),
    (NotAllowedError, NOT_ALLOWED),
    (ApiError, UNREACHABLE),
)


def exit_status(error: MlpqError) -> int:
    """The exit status of an error that reached the top."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), FAILED)
