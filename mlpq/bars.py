"""Bars for what takes its time: on standard error in a terminal, a card in a notebook, nothing in files and pipes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mlpq.notebook.screen import screen

if TYPE_CHECKING:
    from mlpq.handle import Handle
    from mlpq.sending import ProgressCallback


def nothing() -> None:
    """Draw nothing."""


@contextmanager
def upload_bar(paths: list[Path]) -> Iterator[ProgressCallback | None]:
    """What an upload of these files is told to call; None where nobody looks."""
    name = paths[0].name + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
    place = screen()
    if place is not None:
        from mlpq.notebook.cards import upload_card

        yield lambda done, size: place.show(upload_card(name, done, size))
        return
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    label = TextColumn("".join(c if c.isprintable() else "?" for c in name), markup=False)
    columns = (label, BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=sum(path.stat().st_size for path in paths))
        yield lambda done, size: bar.update(task, completed=done, total=size)


@contextmanager
def job_bar(job: Handle) -> Iterator[Callable[[], None]]:
    """What to call when the job's record is new."""
    if screen() is not None:
        from mlpq.notebook.live import live_card

        with live_card(job) as card:
            yield lambda: card(False)
        return
    if not sys.stderr.isatty():
        yield nothing
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    label = TextColumn("{task.description}", markup=False)
    columns = (label, BarColumn(), MofNCompleteColumn(), TextColumn("epochs"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"{job.id} {job.status}", total=None)

        def redraw() -> None:
            done, total = job.progress.epoch, job.progress.epochs or None
            bar.update(task, description=f"{job.id} {job.status}", completed=done, total=total)

        yield redraw


@contextmanager
def sweep_bar(sweep: Progressing) -> Iterator[Callable[[], None]]:
    """What to call when the sweep's record is new."""
    place = screen()
    if place is not None:
        yield lambda: place.show(sweep._repr_html_())
        return
    if not sys.stderr.isatty():
        yield nothing
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    label = TextColumn("{task.description}", markup=False)
    columns = (label, BarColumn(), MofNCompleteColumn(), TextColumn("jobs"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(sweep.headline, total=None)

        def redraw() -> None:
            done, total = sweep.done
            bar.update(task, description=sweep.headline, completed=done, total=total)

        redraw()
        yield redraw


class Progressing(Protocol):
    """What a bar needs to know of a sweep."""

    @property
    def headline(self) -> str:
        """What it is and how it stands, in a few words."""

    @property
    def done(self) -> tuple[int, int]:
        """Jobs that have ended, and all of them."""

    def _repr_html_(self) -> str:
        """Its card."""
