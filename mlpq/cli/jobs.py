"""The commands about jobs as they are: list, show, watch, pause."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlpq.cli.arguments import AsJson, JobId, Url, connect, find_job
from mlpq.cli.exits import FAILED
from mlpq.cli.output import (
    console,
    dataset_cells,
    duration,
    facts,
    number,
    print_json,
    say,
    table,
    told_status,
    with_id,
)
from mlpq.cli.results import save_weights, tell_file

if TYPE_CHECKING:
    from mlpq.job import Job

PANEL = "Jobs"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (jobs, show, watch, cancel, pause, resume):
        app.command(rich_help_panel=PANEL)(command)


def jobs(
    status: Annotated[str | None, typer.Option(help="Only those that are queued, running, succeeded, …")] = None,
    tag: Annotated[str | None, typer.Option(help="Only those with this tag.")] = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with connect(url) as client:
        found = list(client.jobs(status, tag, limit))
    if as_json:
        print_json({"object": "list", "data": [job.to_json() for job in found]})
        return
    table(("job", "status", "data set", "epoch", "val loss", "score", "name"), _rows(found))


def show(job_id: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Show one job: status, progress, metrics, error."""
    with connect(url) as client:
        job = find_job(client, job_id)
    if as_json:
        print_json(job.to_json())
    else:
        describe(job)


def watch(
    job_id: JobId,
    save: Annotated[Path | None, typer.Option("--weights", help="Write the weights there when it has ended.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Follow a job to its end, with a live curve.

    It begins with the job's first event, whenever that was. Ctrl-C ends the watching, not the job.
    """
    with connect(url) as client:
        follow_job(find_job(client, job_id), as_json, save)


def cancel(job_id: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Stop a job for good."""
    _act("cancel", job_id, url, as_json)


def pause(job_id: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Checkpoint a job and release its worker."""
    _act("pause", job_id, url, as_json)


def resume(job_id: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Let a paused job go on where it stopped."""
    _act("resume", job_id, url, as_json)


def _act(verb: str, job_id: str, url: str | None, as_json: bool) -> None:
    with connect(url) as client:
        job = getattr(find_job(client, job_id), verb)()
    if as_json:
        print_json(job.to_json())
    else:
        console().print(f"{job.id} {job.status}", markup=False)


def follow_job(job: Job, as_json: bool, save: Path | None) -> None:
    """Show a job until it ends, then how it ended; its weights, if they are wanted."""
    from mlpq.cli.live import follow

    try:
        follow(job, as_json=as_json)
    except KeyboardInterrupt:
        say(f"\nthe job goes on: mlpq watch {job.id}, mlpq cancel {job.id}")
        raise
    if as_json:
        print_json(job.to_json())
    else:
        describe(job)
    if job.status != "succeeded":
        raise typer.Exit(FAILED)
    if save is not None:
        tell_file(job, save_weights(job, save), as_json=False, quiet=as_json)


def _rows(found: Sequence[Job]) -> list[tuple[Any, ...]]:
    data = dataset_cells([(job.record.dataset, job.record.dataset_name) for job in found])
    return [_row(job, on) for job, on in zip(found, data, strict=True)]


def _row(job: Job, data: str) -> tuple[Any, ...]:
    progress, metrics = job.progress, job.final_metrics
    score = metrics.get("val_accuracy", metrics.get("val_r2"))
    epoch = f"{progress.epoch}/{progress.epochs}"
    return (job.id, job.status, data, epoch, number(metrics.get("val_loss")), number(score), job.record.name)


def describe(job: Job) -> None:
    """A job in a few lines."""
    record, progress = job.record, job.progress
    ran = record.started_at and record.finished_at and (record.finished_at - record.started_at).total_seconds()
    place = " ".join(text for text in (record.device, record.backend and f"({record.backend})") if text)
    facts(
        [
            ("job", record.id),
            ("name", record.name),
            ("status", told_status(record.status, record.status_reason)),
            ("error", record.error and f"{record.error.code}: {record.error.message}"),
            ("data set", with_id(record.dataset, record.dataset_name)),
            ("epoch", f"{progress.epoch}/{progress.epochs}"),
            ("left", duration(progress.eta_s) if progress.eta_s and not record.ended else None),
            ("ran", duration(ran) if ran else None),
            ("device", place or None),
            ("queue", record.queue_position),
            *((name.replace("_", " "), number(value, 5)) for name, value in record.metrics.items() if _simple(value)),
        ]
    )


def _simple(value: Any) -> bool:
    return isinstance(value, int | float)
