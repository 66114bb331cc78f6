"""Arguments that several commands share, and the reading of their texts."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlpq.addresses import DEFAULT_URL
from mlpq.cli import complete
from mlpq.cli.output import say
from mlpq.errors import InvalidArgumentError

if TYPE_CHECKING:
    from mlpq.client import Client

Url = Annotated[
    str | None,
    typer.Option(
        "--url", help="Where the service is; default MLPQ_URL, or the config file's.", show_default=DEFAULT_URL
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output, nothing else there.")]
JobId = Annotated[
    str,
    typer.Argument(metavar="JOB", help="A job's id, or `last` for the newest job.", autocompletion=complete.jobs),
]

CLI_PATIENCE_S = 3.0
"""A person waits: commands give up on a service that is away sooner than programs do."""

_WIDTHS = re.compile(r"\d+([,x]\d+)*")


_profile: ContextVar[str | None] = ContextVar("profile", default=None)


def choose_profile(name: str | None) -> None:
    """The profile of the config file that `--profile` names, for this command."""
    _profile.set(name)


def profile_of(context: typer.Context) -> str | None:
    """The profile that `--profile` names, also while words are only completed."""
    return context.find_root().params.get("profile") or _profile.get()


def connect(url: str | None) -> Client:
    """A client for one command; it tells of keys that others can read."""
    from mlpq.client import Client

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        client = Client(url, patience_s=CLI_PATIENCE_S, profile=_profile.get())
    for warning in told:
        say(f"warning: {warning.message}")
    return client


def find_job(client: Client, job_id: str) -> Any:
    """The job of an id, or the newest one for `last`."""
    if job_id != "last":
        return client.job(job_id)
    newest = next(client.jobs(limit=1), None)
    if newest is None:
        raise InvalidArgumentError("there is no job yet", "start one with `mlpq train digits`")
    return newest


def join_widths(arguments: Sequence[str]) -> list[str]:
    """Let `--hidden` take several words: `--hidden 64 32` becomes `--hidden 64,32`."""
    joined: list[str] = []
    for word in arguments:
        after_hidden = len(joined) >= 2 and joined[-2] == "--hidden" and _WIDTHS.fullmatch(joined[-1])
        if after_hidden and word.isdigit():
            joined[-1] += f",{word}"
        else:
            joined.append(word)
    return joined


def widths(text: str) -> list[int]:
    """`64,32`, `64x32` or `64 32` as numbers; `none` is a linear net."""
    text = ",".join(text.split())
    if text in ("", "none"):
        return []
    if not _WIDTHS.fullmatch(text):
        raise InvalidArgumentError(
            f"--hidden is {text!r}; must be widths like 64,32 or `none`", "a linear net: --hidden none"
        )
    return [int(width) for width in re.split("[,x]", text)]


def split_of(column: str | None, validation: Sequence[str], test: Sequence[str]) -> dict[str, Any] | None:
    """`--split-column fold --validation-value val --test-value test` as `training.split`; a value is JSON, or text."""
    if column is None:
        if validation or test:
            raise InvalidArgumentError(
                "--validation-value and --test-value need --split-column", "--split-column fold --test-value test"
            )
        return None
    named = {"validation": [_value(text) for text in validation], "test": [_value(text) for text in test]}
    return {"column": column} | {part: values for part, values in named.items() if values}


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, dict | list) or value is None else value


def named_parts(texts: Sequence[str]) -> list[Any]:
    """Names as they are, and JSON objects with a name and settings."""
    try:
        return [json.loads(text) if text.lstrip().startswith("{") else text for text in texts]
    except ValueError as error:
        raise InvalidArgumentError(
            f"--features holds no JSON: {error}", "for example --features hog --features raw"
        ) from error
