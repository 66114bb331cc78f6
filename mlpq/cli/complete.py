"""What the shell may offer for a job or a data set: asked of the service, with a short limit, and never an error."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from mlpq.client import Client
    from mlpq.records import DatasetRecord

LIMIT_S = 1.0
"""Seconds that a person waits for Tab, at most, for each attempt to connect, to send and to receive."""

MOST = 50
"""Jobs and data sets that are offered, newest first."""

Offer = tuple[str, str]
"""A word and what it stands for; bash shows the word alone."""


def jobs(context: typer.Context, incomplete: str) -> list[Offer]:
    """Ids of jobs, and `last`."""
    found = _asked(context, lambda client: [_job(job) for job in client.jobs(limit=MOST)])
    return _fitting([("last", "the newest job"), *found] if found else [], incomplete)


def datasets(context: typer.Context, incomplete: str) -> list[Offer]:
    """Ids of data sets."""
    found = _asked(context, lambda client: [_dataset(record) for record in client.datasets(MOST)])
    return _fitting(found, incomplete)


def datasets_or_files(context: typer.Context, incomplete: str) -> list[Offer]:
    """Ids of data sets, and files."""
    return datasets(context, incomplete) + files(incomplete)


def files(incomplete: str) -> list[Offer]:
    """Paths that begin so; folders end with a slash."""
    paths = sorted(glob.glob(glob.escape(incomplete) + "*"))  # noqa: PTH207 - paths stay as they were typed
    return [(path + "/", "a folder") if Path(path).is_dir() else (path, "a file") for path in paths]


def _job(job: Any) -> Offer:
    return job.id, f"{job.status} on {job.record.dataset}"


def _dataset(record: DatasetRecord) -> Offer:
    """Without its name, which people wrote and a shell would read."""
    return record.id, f"{record.task}, {record.n_rows} rows"


def _asked(context: typer.Context, ask: Callable[[Client], list[Offer]]) -> list[Offer]:
    """What the service says; nothing where it does not answer in time, whatever the reason."""
    from mlpq.cli.arguments import profile_of
    from mlpq.client import Client
    from mlpq.errors import MlpqError

    try:
        url = context.params.get("url")
        with Client(url, timeout=LIMIT_S, patience_s=0.0, profile=profile_of(context)) as client:
            return ask(client)
    except MlpqError:
        return []


def _fitting(offers: Iterable[Offer], incomplete: str) -> list[Offer]:
    return [offer for offer in offers if offer[0].startswith(incomplete)]
