"""A job as it runs: a progress bar over a growing curve in a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from mlpq.cli.output import coloured, console, duration, number, plot_style, print_json, told_status
from mlpq.events import EndEvent, LogEvent, MetricEvent, ResetEvent, StatusEvent
from mlpq.plot import Series, draw, plain

if TYPE_CHECKING:
    from mlpq.events import Event
    from mlpq.job import Job

REDRAW_S = 0.1
PLAIN_LINES = 20


class Curves:
    """The points seen so far."""

    def __init__(self) -> None:
        self.points: list[MetricEvent] = []
        self.style = plot_style()

    def lines(self, width: int, height: int) -> Any:
        """The losses over the epochs."""
        epochs = [float(point.epoch) for point in self.points]
        series = [
            Series("train loss", epochs, [point.train_loss for point in self.points]),
            Series("validation loss", epochs, [point.val_loss for point in self.points]),
        ]
        return draw(series, width=width, height=height, style=self.style)

    def summary(self) -> str:
        """The last point in words."""
        if not self.points:
            return ""
        last = self.points[-1]
        score = "val R²" if "val_r2" in last.data else "val accuracy"
        named = (("train loss", last.train_loss), ("val loss", last.val_loss), (score, last.score))
        return " · ".join(f"{name} {number(value)}" for name, value in named if value is not None)


class View(Protocol):
    """Something that shows events."""

    def show(self, event: Event) -> None:
        """Take one event."""

    def close(self) -> None:
        """Leave the last picture standing."""


def follow(job: Job, *, as_json: bool) -> Job:
    """Show a job until it ends; a Ctrl-C ends the showing, not the job."""
    view: View = JsonView() if as_json else TerminalView(job) if sys.stdout.isatty() else PlainView(job)
    try:
        for event in job.events():
            view.show(event)
    finally:
        view.close()
    return job


class JsonView:
    """One JSON line per event."""

    def show(self, event: Event) -> None:
        """Print it."""
        print_json({"object": "event", "id": event.id, "type": event.type, "data": dict(event.data)})

    def close(self) -> None:
        """Nothing is left open."""


class PlainView:
    """Lines for a log file: at most about twenty points, every status, and the whole curve at the end."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.curves = Curves()
        self.next_epoch = 0.0

    def show(self, event: Event) -> None:
        """Print what is worth a line."""
        out = console()
        if isinstance(event, MetricEvent):
            self.curves.points.append(event)
            epochs = self.job.progress.epochs
            if event.epoch >= self.next_epoch:
                self.next_epoch = event.epoch + max(epochs / PLAIN_LINES, 1)
                out.print(f"epoch {event.epoch:>5}/{epochs}  {self.curves.summary()}", markup=False)
        elif isinstance(event, StatusEvent):
            out.print(told_status(event.status, event.reason), markup=False)
        elif isinstance(event, LogEvent):
            out.print(event.message, markup=False)
        elif isinstance(event, ResetEvent):
            out.print("(older points are no longer kept)")

    def close(self) -> None:
        """Draw the curve."""
        if self.curves.points:
            console().print(plain(self.curves.lines(width=76, height=12)), markup=False)


class TerminalView:
    """A bar and a curve that redraw in place."""

    def __init__(self, job: Job) -> None:
        from rich.live import Live
        from rich.progress import BarColumn, Progress, TextColumn

        self.job = job
        self.curves = Curves()
        self.console = console()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(None),
            TextColumn("{task.completed}/{task.total} epochs"),
        )
        self.bar = Progress(*columns, TextColumn("{task.fields[left]}"), console=self.console, expand=True)
        self.task = self.bar.add_task(job.status, total=job.progress.epochs or None, left="")
        self.live = Live(console=self.console, auto_refresh=False)
        self.live.start()
        self.started_at = time.monotonic()
        self.drawn_at = 0.0

    def show(self, event: Event) -> None:
        """Take it in, and redraw at most ten times a second."""
        if isinstance(event, MetricEvent):
            self.curves.points.append(event)
            self.bar.update(self.task, completed=event.epoch, left=self._left(event.epoch))
        elif isinstance(event, StatusEvent | EndEvent):
            self.bar.update(self.task, description=event.status, total=self.job.progress.epochs or None)
        elif isinstance(event, LogEvent):
            self.live.console.print(event.message, markup=False)
        if not isinstance(event, MetricEvent) or time.monotonic() - self.drawn_at > REDRAW_S:
            self._draw()

    def close(self) -> None:
        """Draw once more and let go of the terminal."""
        self._draw()
        self.live.stop()

    def _left(self, epoch: int) -> str:
        epochs, elapsed_s = self.job.progress.epochs, time.monotonic() - self.started_at
        return f"{duration(elapsed_s * (epochs - epoch) / epoch)} left" if 0 < epoch < epochs else ""

    def _draw(self) -> None:
        from rich.console import Group

        self.drawn_at = time.monotonic()
        width = min(self.console.width, 100)
        height = max(min(self.console.height - 8, 16), 4)
        curve = coloured(self.curves.lines(width, height))
        self.live.update(Group(self.bar, curve, self.curves.summary()), refresh=True)
