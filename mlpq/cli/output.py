"""What commands print: JSON for machines, tables and curves for people, plain text where nobody looks at a terminal."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from mlpq.plot import Line
    from mlpq.results import Prediction

WIDE = 10_000
"""Columns of a pipe: a row of a table is one line there, whatever its cells hold."""
WHOLE = frozenset({"job", "sweep", "status"})
"""Columns of single words, which are of no use when they are cut."""

COLOURS = {"train loss": "cyan", "validation loss": "magenta"}
STATUS_COLOURS = {"succeeded": "green", "failed": "red", "running": "cyan", "queued": "yellow", "cancelled": "dim"}


def print_json(document: Any) -> None:
    """One JSON document on one line."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def print_predictions(found: Prediction) -> None:
    """CSV with a header: the prediction of every row, and the probability of every class where there are any."""
    import csv

    out = csv.writer(sys.stdout, lineterminator="\n")
    classes: Sequence[str] = () if found.probabilities is None else found.classes
    chances = [[]] * len(found.predictions) if found.probabilities is None else found.probabilities.tolist()
    out.writerow(["prediction", *map(printable, classes)])
    rows = zip(found.predictions.tolist(), chances, strict=True)
    out.writerows((printable(said), *row) for said, row in rows)


def say(line: str) -> None:
    """A line for the person, on standard error: standard output stays for results."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def command_name() -> str:
    """What to type for this very command: its name where the shell finds it, else its path."""
    started = sys.argv[0]
    return started if Path(started).name == "mlpq" and shutil.which("mlpq") is None else "mlpq"


def console() -> Console:
    """Standard output; piped output is as wide as it needs to be."""
    from rich.console import Console

    return Console(width=120 if _piped() else None, highlight=False, soft_wrap=_piped())


def _piped() -> bool:
    """Whether nobody has said how wide standard output is."""
    return not sys.stdout.isatty() and "COLUMNS" not in os.environ


def printable(value: Any) -> str:
    """A value as text that cannot steer a terminal: what is not printable is written as an escape."""
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table: ruled in a terminal, aligned columns elsewhere. Cells are plain text, whatever brackets they hold."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False, header_style="bold")
    listed = list(rows)
    for place, heading in enumerate(headings):
        drawn.add_column(heading, no_wrap=heading in WHOLE and not any(" " in str(row[place]) for row in listed))
    for row in listed:
        drawn.add_row(*(Text("" if cell is None else printable(cell)) for cell in row))
    out = console()
    out.width = WIDE if _piped() else out.width
    out.print(drawn)


def dataset_cells(found: Sequence[tuple[str, str]]) -> list[str]:
    """Data sets, of each the id and the name, as cells: the id beside the name where another one has the same name."""
    ids = dict[str, set[str]]()
    for dataset_id, name in found:
        ids.setdefault(name, set()).add(dataset_id)
    return [with_id(dataset_id, name) if len(ids[name]) > 1 else name for dataset_id, name in found]


def with_id(dataset_id: str, name: str) -> str:
    """A data set by name and id; built-in ones have one word for both."""
    return name if name == dataset_id else f"{name} ({dataset_id})"


def facts(pairs: Iterable[tuple[str, Any]]) -> None:
    """Names and values, one pair a line; what is None is left out."""
    known = [(name, value) for name, value in pairs if value is not None]
    margin = max((len(name) for name, _ in known), default=0) + 2
    out = console()
    for name, value in known:
        out.print(f"{name:<{margin}}", printable(value), sep="", markup=False)


def plot_style() -> str:
    """How curves can be drawn on standard output."""
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    if not encoding.startswith("utf"):
        return "ascii"
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return "braille" if coloured else "unicode"


def coloured(lines: Sequence[Line]) -> Text:
    """Plot lines as rich text."""
    from rich.text import Text

    text = Text(no_wrap=True)
    for number, line in enumerate(lines):
        if number:
            text.append("\n")
        for piece, series in line:
            text.append(piece, COLOURS.get(series or "", "dim" if series is None else ""))
    return text


def told_status(status: str, reason: str | None) -> str:
    """A status, and why it is so where that says more."""
    return status if reason in {None, "", status} else f"{status} ({reason})"


def number(value: float | None, digits: int = 4) -> str:
    """A number for people; nothing for None."""
    return "" if value is None else f"{value:.{digits}g}"


def duration(seconds: float | None) -> str:
    """`3.2 s`, `4 min 05 s`, `2 h 03 min`."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
