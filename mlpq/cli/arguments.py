"""Arguments that several commands share, and the reading of their texts."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlpq.addresses import DEFAULT_URL
from mlpq.errors import InvalidArgumentError

if TYPE_CHECKING:
    from mlpq.client import Client

Url = Annotated[
    str | None,
    typer.Option("--url", envvar="MLPQ_URL", help="Where the service is.", show_default=DEFAULT_URL),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output, nothing else there.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="A job's id, or `last` for the newest job.")]

CLI_PATIENCE_S = 3.0
"""A person waits: commands give up on a service that is away sooner than programs do."""

_WIDTHS = re.compile(r"\d+([,x]\d+)*")


def connect(url: str | None) -> Client:
    """A client for one command."""
    from mlpq.client import Client

    return Client(url, patience_s=CLI_PATIENCE_S)


def find_job(client: Client, job_id: str) -> Any:
    """The job of an id, or the newest one for `last`."""
    if job_id != "last":
        return client.job(job_id)
    newest = next(client.jobs(limit=1), None)
    if newest is None:
        raise InvalidArgumentError("there is no job yet; start one with `mlpq train digits`")
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
    """`64,32` or `64x32` as numbers; `none` is a linear net."""
    if text in ("", "none"):
        return []
    if not _WIDTHS.fullmatch(text):
        raise InvalidArgumentError(f"--hidden is {text!r}; must be widths like 64,32 or `none`")
    return [int(width) for width in re.split("[,x]", text)]


def split_of(column: str | None, validation: Sequence[str], test: Sequence[str]) -> dict[str, Any] | None:
    """`--split-column fold --validation-value val --test-value test` as `training.split`; a value is JSON, or text."""
    if column is None:
        if validation or test:
            raise InvalidArgumentError("--validation-value and --test-value need --split-column")
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
        raise InvalidArgumentError(f"--features holds no JSON: {error}") from error


def read_json(source: str) -> dict[str, Any]:
    """A JSON object from a file, or from standard input for `-`."""
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        document = json.loads(text)
    except OSError as error:
        raise InvalidArgumentError(f"{source}: {error.strerror}") from error
    except ValueError as error:
        raise InvalidArgumentError(f"{source} is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidArgumentError(f"{source} holds a {type(document).__name__}; must be a JSON object")
    return document


def assign(document: dict[str, Any], assignment: str) -> None:
    """Carry out `training.clip_norm=1.0`: the value is JSON, or else text."""
    path, equals, text = assignment.partition("=")
    if not equals or not path:
        raise InvalidArgumentError(f"--set is {assignment!r}; must be like training.clip_norm=1.0")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    *parts, last = path.split(".")
    for part in parts:
        below = document.setdefault(part, {})
        if not isinstance(below, dict):
            document[part] = below = {"name": below}
        document = below
    document[last] = value


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with what `over` says, part by part."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged
