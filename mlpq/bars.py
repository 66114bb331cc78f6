"""A bar for an upload, on standard error and only in a terminal: nothing is drawn into files and pipes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlpq.sending import ProgressCallback


@contextmanager
def upload_bar(paths: list[Path]) -> Iterator[ProgressCallback | None]:
    """What an upload of these files is told to call; None where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    name = paths[0].name + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
    label = TextColumn("".join(c if c.isprintable() else "?" for c in name), markup=False)
    columns = (label, BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=sum(path.stat().st_size for path in paths))
        yield lambda done, size: bar.update(task, completed=done, total=size)
