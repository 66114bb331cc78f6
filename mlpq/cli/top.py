"""`mlpq top`: queue, workers and running jobs with their curves, drawn again every second until `q`."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlpq.cli.arguments import AsJson, Url, connect
from mlpq.cli.keys import keyboard
from mlpq.cli.output import (
    STATUS_COLOURS,
    coloured,
    console,
    dataset_cells,
    duration,
    number,
    plot_style,
    print_json,
    printable,
)
from mlpq.errors import ServiceUnreachableError, UnavailableError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mlpq.client import Client
    from mlpq.job import Job

PANEL = "Jobs"

CURVE_POINTS = 200
MOST_CURVES = 4
"""Running jobs that are drawn; others are in the table."""

MOST_JOBS = 20
CURVE_LINES, ROOM_ABOVE = (4, 10), 14
"""Least and most lines of a curve; lines that the tables take."""


@dataclass(frozen=True)
class Moment:
    """What the service said at one moment; `away` instead, if it did not."""

    queue: dict[str, Any]
    workers: list[dict[str, Any]]
    jobs: list[Job]
    curves: dict[str, dict[str, list[float | None]]]
    away: str | None = None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel=PANEL)(top)


def top(
    every: Annotated[float, typer.Option("--every", min=0.2, help="Seconds between two pictures.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="One picture; also what a pipe gets.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Watch queue, workers and live curves; `q` ends it.

    In a pipe, or with --once, it is one picture in plain text.
    """
    with connect(url) as client:
        if as_json:
            _print_json(look(client))
        elif once or not sys.stdout.isatty():
            out = console()
            out.print(picture(look(client), out.width, height=0, url=client.url))
        else:
            _keep_drawing(client, every)


def look(client: Client) -> Moment:
    """Ask for everything that is shown."""
    queue, workers = client.queue(), client.workers()["data"]
    active = [job for status in ("running", "queued") for job in client.jobs(status=status, limit=MOST_JOBS)]
    curves: dict[str, dict[str, list[float | None]]] = {}
    for job in active[:MOST_CURVES]:
        if job.status == "running":
            found = job.metrics(max_points=CURVE_POINTS)
            curves[job.id] = {name: list(map(float, values)) for name, values in found.items()}
    return Moment(queue, workers, active[:MOST_JOBS], curves)


def picture(moment: Moment, width: int, height: int, url: str) -> RenderableType:
    """Everything in one picture.

    Args:
        moment: what to show.
        width: characters across.
        height: lines of the terminal; 0 where there is no end of them.
        url: the service's address.
    """
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [_head(moment, url), Text(""), _workers(moment), Text("")]
    parts.append(_jobs(moment) if moment.jobs else Text("no job is running or waiting"))
    least, most = CURVE_LINES
    room = most if not height else (height - ROOM_ABOVE - len(moment.jobs)) // max(len(moment.curves), 1) - 4
    for job in moment.jobs:
        if job.id in moment.curves and room >= least:
            from mlpq.plot import draw, loss_series

            parts += [Text(""), Text(printable(job.record.name or job.id), style="bold")]
            series = loss_series(moment.curves[job.id])
            parts.append(coloured(draw(series, width=min(width, 100), height=min(room, most), style=plot_style())))
    return Group(*parts)


def _head(moment: Moment, url: str) -> RenderableType:
    from rich.text import Text

    counts = moment.queue.get("jobs", {})
    line = Text.assemble(("mlpq ", "bold"), f"{url}  ")
    for status in ("running", "queued", "paused", "succeeded", "failed", "cancelled"):
        line.append(f"{counts.get(status, 0)} {status}  ", STATUS_COLOURS.get(status, ""))
    if moment.queue.get("oldest_wait_s"):
        line.append(f"longest wait {duration(moment.queue['oldest_wait_s'])}")
    if moment.away:
        line.append(f"\n{moment.away}; trying again", "red")
    return line


def _workers(moment: Moment) -> RenderableType:
    from rich.text import Text

    if not moment.workers:
        return Text("no worker is running: jobs wait", style="yellow")
    rows = [
        (one.get("name"), one.get("host"), _device(one), _memory(one), len(one.get("jobs") or ()), _speed(one))
        for one in moment.workers
    ]
    return _table(("worker", "host", "device", "memory free", "jobs", "samples/s"), rows)


def _jobs(moment: Moment) -> RenderableType:
    rows = []
    data = dataset_cells([(job.record.dataset, job.record.dataset_name) for job in moment.jobs])
    for job, on in zip(moment.jobs, data, strict=True):
        done, epochs = job.progress.epoch, job.progress.epochs
        losses = moment.curves.get(job.id, {}).get("val_loss") or [None]
        left = duration(job.progress.eta_s) if job.progress.eta_s else ""
        row = (job.id, job.status, on, f"{done}/{epochs}", number(losses[-1]), left, job.record.name)
        rows.append(row)
    return _table(("job", "status", "data set", "epoch", "val loss", "left", "name"), rows)


def _table(headings: tuple[str, ...], rows: list[tuple[Any, ...]]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*headings, box=None, pad_edge=False, header_style="dim")
    for row in rows:
        drawn.add_row(*(Text("" if cell is None else printable(cell)) for cell in row))
    return drawn


def _device(worker: dict[str, Any]) -> str | None:
    """Its device, and why jobs wait there although it trains none."""
    device = worker.get("device")
    return f"{device} (compiling kernels)" if worker.get("kernels") == "compiling" else device


def _memory(worker: dict[str, Any]) -> str:
    free, total = worker.get("memory_free_bytes"), worker.get("memory_total_bytes")
    return f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB" if free and total else ""


def _speed(worker: dict[str, Any]) -> str:
    speed = worker.get("samples_per_s")
    return f"{speed:,.0f}" if speed else ""


def _keep_drawing(client: Client, every: float) -> None:
    """Redraw until `q`, Ctrl-C or a signal; the terminal is as it was, however it ends."""
    from rich.live import Live

    out = console()
    moment = look(client)
    screen = Live(console=out, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
    with keyboard() as keys, screen as live:
        while True:
            live.update(picture(moment, out.width, out.height, client.url), refresh=True)
            if keys.pressed("qQ\x1b", within_s=every):
                return
            moment = _look_again(client, moment)


def _look_again(client: Client, before: Moment) -> Moment:
    try:
        return look(client)
    except (ServiceUnreachableError, UnavailableError) as error:
        at = time.strftime("%H:%M:%S")
        return Moment(before.queue, before.workers, before.jobs, before.curves, f"{at} {error}")


def _print_json(moment: Moment) -> None:
    jobs = [job.to_json() for job in moment.jobs]
    print_json({"object": "top", "queue": moment.queue, "workers": moment.workers, "jobs": jobs})
