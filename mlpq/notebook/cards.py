"""Cards in HTML: a job with its curve, a data set with its columns, an upload. Whatever people wrote is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from mlpq.notebook.svg import curves
from mlpq.plot import loss_series
from mlpq.records import Column, DatasetRecord, JobRecord

STATUS_COLOURS = {"succeeded": "#2f9e58", "failed": "#d1453b", "running": "#3b82c4", "queued": "#b8860b"}
OTHER_STATUS = "#808080"

SHOWN_COLUMNS = 12
"""Columns of a data set that its card lists."""

SHOWN_JOBS = 10
"""Jobs of a sweep that its card lists, the best ones."""

_CARD = (
    "font:13px/1.5 system-ui,sans-serif;max-width:460px;margin:4px 0;padding:10px 14px;"
    "border:1px solid #8886;border-radius:8px"
)
_FAINT = "opacity:.7"


def job_card(record: JobRecord, curve: Mapping[str, Sequence[float | None]]) -> str:
    """A job: status, progress, curve, figures, and why it failed."""
    title = f"{_status(record.status)} <b>{escape(record.name or record.id)}</b>"
    about = f"{record.id} on {record.dataset_name}" if record.name else f"on {record.dataset_name}"
    parts = [f'<div>{title} <span style="{_FAINT}">{escape(about)}</span></div>', _progress(record)]
    if record.status_reason and record.status != "succeeded":
        parts.append(f'<div style="{_FAINT}">{escape(record.status_reason)}</div>')
    if record.error is not None:
        message = escape(f"{record.error.code}: {record.error.message}")
        parts.append(f'<div style="color:{STATUS_COLOURS["failed"]}">{message}</div>')
    parts.append(curves(loss_series(curve)))
    simple = [(name, value) for name, value in record.metrics.items() if isinstance(value, int | float)]
    parts.append(_figures((name.replace("_", " "), f"{value:.5g}") for name, value in simple))
    return _card(parts)


def dataset_card(record: DatasetRecord) -> str:
    """A data set: its size, its classes and its columns."""
    sizes = [("rows", record.n_rows), ("features", record.n_features), ("classes", record.n_classes)]
    counted = " · ".join(f"{value} {name}" for name, value in sizes if value is not None)
    about = " · ".join(text for text in (record.id, record.task, counted) if text)
    parts = [f'<div><b>{escape(record.name)}</b> <span style="{_FAINT}">{escape(about)}</span></div>']
    parts += [f"<div>⚠ {escape(warning)}</div>" for warning in record.warnings]
    parts.append(_columns(record.columns))
    return _card(parts)


def sweep_card(name: str, status: str, done: int, jobs: int, rows: Sequence[Mapping[str, Any]]) -> str:
    """A sweep: how many of its jobs have ended, and the best of them."""
    parts = [f"<div>{_status(status)} <b>{escape(name)}</b></div>"]
    parts.append(f'{_bar(done / max(jobs, 1), "jobs ended")}<div style="{_FAINT}">{done} of {jobs} jobs</div>')
    if rows:
        lines = [[_cell(value) for value in row.values()] for row in rows[:SHOWN_JOBS]]
        parts.append(_table(list(rows[0]), lines))
    return _card(parts)


def upload_card(name: str, done: int, size: int) -> str:
    """How much of a file has been sent."""
    share = 1.0 if size <= 0 else min(done / size, 1.0)
    return _card([f"<div>{escape(name)} · {done / 1e6:.1f} of {size / 1e6:.1f} MB</div>", _bar(share, "uploaded")])


def _card(parts: Iterable[str]) -> str:
    return f'<div style="{_CARD}">{"".join(parts)}</div>'


def _status(status: str) -> str:
    colour = STATUS_COLOURS.get(status, OTHER_STATUS)
    return f'<span style="color:{colour}">●</span> {escape(status)}'


def _progress(record: JobRecord) -> str:
    epoch, epochs = record.progress.epoch, record.progress.epochs
    if not epochs:
        return ""
    return f'{_bar(epoch / epochs, "epochs done")}<div style="{_FAINT}">epoch {epoch} of {epochs}</div>'


def _bar(share: float, label: str) -> str:
    done = round(100 * min(share, 1.0))
    return (
        f'<div role="progressbar" aria-label="{label}" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{done}" '
        f'style="height:5px;border-radius:3px;background:#8883;margin:6px 0">'
        f'<div style="height:5px;border-radius:3px;background:#3b82c4;width:{done}%"></div></div>'
    )


def _figures(pairs: Iterable[tuple[str, str]]) -> str:
    shown = " ".join(
        f'<span style="white-space:nowrap"><span style="{_FAINT}">{escape(name)}</span> {escape(value)}</span> '
        for name, value in pairs
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:0 14px">{shown}</div>' if shown else ""


def _columns(columns: Sequence[Column]) -> str:
    if not columns:
        return ""
    shown = _table(("column", "kind", "missing", "values"), [_cells(column) for column in columns[:SHOWN_COLUMNS]])
    more = len(columns) - SHOWN_COLUMNS
    rest = f'<div style="{_FAINT}">and {more} more columns</div>' if more > 0 else ""
    return shown + rest


def _table(heads: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    head = "".join(f'<th style="text-align:left">{escape(name)}</th>' for name in heads)
    rows = "".join(
        "<tr>" + "".join(f'<td style="text-align:left">{escape(str(cell))}</td>' for cell in cells) + "</tr>"
        for cells in lines
    )
    return f'<table style="font-size:inherit"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _cells(column: Column) -> Sequence[Any]:
    values: Any = ""
    if column.categories:
        values = ", ".join(column.categories[:4]) + (", …" if len(column.categories) > 4 else "")
    elif column.minimum is not None and column.maximum is not None and column.kind != "datetime":
        values = f"{column.minimum:g} – {column.maximum:g}"
    return column.name, column.kind, column.missing or "", values
