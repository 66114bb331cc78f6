"""The client's exception tree; every class has a stable `code`.

MlpqError
├── InvalidArgumentError (ValueError)   refused here, before anything was sent
├── ServiceUnreachableError             nobody answered, for as long as the client's patience lasted
├── CorruptDownloadError                the bytes do not have the SHA-256 that the service named
├── JobFailedError                      wait() saw the job end as failed or cancelled
├── WaitTimeoutError (TimeoutError)     wait() ran out of its own time; the job goes on
├── DeploymentError                     `mlpq up` cannot start here: port taken, folder in use, server missing
└── ApiError                            the service answered with problem+json
    ├── InvalidInputError               400 413 415 422
    ├── NotAllowedError                 401 403
    ├── NotFoundError                   404
    ├── ConflictError                   409
    └── UnavailableError                429 502 503 504 507, after all retries
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlpq.records import JobProblem


class MlpqError(Exception):
    """Root of every error that this package raises on purpose."""

    code = "error"
    hint = ""
    """One sentence on what to do about it, or nothing."""


class InvalidArgumentError(MlpqError, ValueError):
    """An argument cannot be sent: it names the argument, the value and what is allowed."""

    code = "invalid_argument"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ServiceUnreachableError(MlpqError):
    """No service answered at `url`."""

    code = "unreachable"

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"no service answers at {url}: {reason}")
        self.url = url
        self.hint = "start one with `mlpq up`, or name another with --url or MLPQ_URL; `mlpq config` shows what holds"


class CorruptDownloadError(MlpqError):
    """What arrived is not what the service stored."""

    code = "corrupt_download"


class JobFailedError(MlpqError):
    """A job that was waited for ended without a result."""

    code = "job_failed"

    def __init__(self, job_id: str, status: str, problem: JobProblem | None) -> None:
        why = f" ({problem.code}): {problem.message}" if problem else ""
        super().__init__(f"{job_id} {status}{why}")
        self.job_id = job_id
        self.status = status
        self.problem = problem


class WaitTimeoutError(MlpqError, TimeoutError):
    """The job had not ended when `wait` had to."""

    code = "wait_timeout"


class DeploymentError(MlpqError):
    """A local deployment cannot start, or did not come up."""

    code = "cannot_start"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class FieldProblem:
    """One refused field: a JSON pointer and a sentence with the value and the allowed range."""

    pointer: str
    detail: str

    def __str__(self) -> str:
        return f"{self.pointer or '/'}: {self.detail}"


_HINTS: Mapping[str, str] = {
    "conflict": "",  # of a data set or a sweep, whose sentence says all
    "no_weights": "`mlpq show` tells how the job is; `--checkpoint latest` takes the weights of its last checkpoint",
}
"""By the problem's code, where the class of its status knows less."""

_SETTINGS = ("/net", "/loss", "/optimizer", "/schedule", "/training", "/features")
"""Where the settings of a job begin, in the pointer of a refused field."""


class ApiError(MlpqError):
    """The service answered, and said no.

    Attributes:
        status: the HTTP status.
        code: the problem's stable code.
        detail: the problem's sentence.
        errors: the refused fields, possibly none.
        problem: the whole problem document as it came.
        path: what was asked for, where that is known.
        retried: whether an earlier attempt of the same call was lost, and so may have been carried out.
    """

    retried = False

    def __init__(self, status: int, problem: Mapping[str, Any], path: str = "") -> None:
        self.status = status
        self.path = path
        self.problem = problem
        self.code = str(problem.get("code") or f"http_{status}")
        self.title = str(problem.get("title") or "")
        self.detail = str(problem.get("detail") or self.title or f"HTTP {status}")
        listed = problem.get("errors") or ()
        self.errors = tuple(
            FieldProblem(str(entry.get("pointer", "")), str(entry.get("detail", "")))
            for entry in listed
            if isinstance(entry, Mapping)
        )
        self.hint = _HINTS.get(self.code, self.hint)
        if any(error.pointer.startswith(_SETTINGS) or "known field" in error.detail for error in self.errors):
            self.hint = "`mlpq capabilities` lists every setting, `mlpq train --help` every option"
        elif any(error.pointer == "/dataset" for error in self.errors):
            self.hint = "`mlpq datasets` lists what there is; `mlpq upload` makes one of a file"
        elif any(error.pointer == "/query/format" for error in self.errors):
            self.hint = "--format says which, or the ending of the file's name"
        elif path.startswith("/v1/lecture/"):
            self.hint = "`mlpq lecture` lists the rows"
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        """The detail, or every refused field on a line of its own."""
        if len(self.errors) > 1 and self.detail.startswith(str(self.errors[0])):
            first, *others = map(str, self.errors)
            return f"{first} [{self.status} {self.code}]" + "".join(f"\n  {line}" for line in others)
        said = [str(error) for error in self.errors if str(error) not in self.detail]
        if not said:
            there = f" at {self.path}" if self.path and self.code == "not_found" else ""
            return f"{self.detail}{there} [{self.status} {self.code}]"
        if len(said) == 1:
            return f"{said[0]} [{self.status} {self.code}]"
        return f"{self.detail} [{self.status} {self.code}]" + "".join(f"\n  {line}" for line in said)


class InvalidInputError(ApiError):
    """The service refused the input; `errors` names the fields."""


class NotAllowedError(ApiError):
    """No key, a wrong key, or a host that is not allowed."""

    hint = "set MLPQ_API_KEY to the key that the service was started with; `mlpq config` shows what holds"


class NotFoundError(ApiError):
    """No such job, data set or file."""

    hint = "`mlpq jobs` and `mlpq datasets` list what there is"


class ConflictError(ApiError):
    """The resource's present state does not allow the call; `detail` names what is allowed."""

    hint = "`mlpq show JOB` tells how it is now"


class UnavailableError(ApiError):
    """The service is there but cannot do it now; retries did not help."""

    hint = "it may be busy or without its store; try again shortly"


_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: InvalidInputError,
    401: NotAllowedError,
    403: NotAllowedError,
    404: NotFoundError,
    409: ConflictError,
    413: InvalidInputError,
    415: InvalidInputError,
    422: InvalidInputError,
    429: UnavailableError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
    507: UnavailableError,
}


def error_from(status: int, body: bytes, path: str = "") -> ApiError:
    """The exception for an answer of `status` >= 400 to `path`, whether or not its body is problem+json."""
    try:
        problem = json.loads(body)
    except ValueError:
        problem = {"detail": body[:200].decode(errors="replace").strip()}
    if not isinstance(problem, dict):
        problem = {"detail": str(problem)[:200]}
    return _BY_STATUS.get(status, ApiError)(status, problem, path)
