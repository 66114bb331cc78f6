"""Rows to predict, from a file or standard input."""

from __future__ import annotations

import codecs
import csv
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlpq.errors import InvalidArgumentError

HINT = "rows are a CSV file with a header, or a JSON list; `-` reads them from standard input"


def read_rows(source: str) -> list[Any]:
    """Rows of a CSV with a header (`{column: text}`, empty cells None), or a JSON list of rows.

    Raises:
        InvalidArgumentError: the file cannot be read, or holds no rows.
    """
    try:
        text = sys.stdin.read() if source == "-" else _decoded(Path(source).read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is neither UTF-8 nor UTF-16"
        raise InvalidArgumentError(f"{source} cannot be read: {reason}", HINT) from error
    rows = _from_json(text) if text.lstrip().startswith(("[", "{")) else _from_csv(text)
    if not rows:
        raise InvalidArgumentError(f"{source} holds no rows", HINT)
    return rows


def _decoded(content: bytes) -> str:
    """UTF-16 with its byte order mark, else UTF-8."""
    is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_wide else "utf-8-sig")


def _from_json(text: str) -> list[Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InvalidArgumentError(f"the rows are no JSON: {error}", HINT) from error
    rows = document.get("rows") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise InvalidArgumentError('the rows must be a JSON list, or an object with a list "rows"', HINT)
    return rows if rows and isinstance(rows[0], list | dict) else [rows] if rows else []


def _from_csv(text: str) -> list[Any]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    return [{name: value or None for name, value in row.items() if name is not None} for row in reader]


def fit_rows(rows: list[Any], kinds: Mapping[str, str] | None) -> tuple[list[Any], list[str]]:
    """Rows by name as a data set's columns want them, and the names that are no columns, which are left out.

    Args:
        rows: as read; lists are left as they are.
        kinds: the kind of every column by name; None where it is not known: what looks like a number is one.
    """
    if not isinstance(rows[0], dict):
        return rows, []
    if kinds is None:
        return [{name: _cell(value, "") for name, value in row.items()} for row in rows], []
    fitted = [{name: _cell(row[name], kinds[name]) for name in row if name in kinds} for row in rows]
    return fitted, [name for name in rows[0] if name not in kinds]


def _cell(value: Any, kind: str) -> Any:
    if not isinstance(value, str) or kind in {"categorical", "datetime"}:
        return value
    try:
        return float(value)
    except ValueError:
        return value
