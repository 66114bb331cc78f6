"""Rows to predict, from a file or standard input, read as the job's data set was read."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from mlpq.cli.columnar import read_columns
from mlpq.errors import InvalidArgumentError

HINT = "rows are a CSV, JSON, Parquet, Feather, NPY or NPZ file; `-` reads CSV or JSON from standard input"

MISSING_TEXTS = frozenset({"", "NA", "N/A", "n/a", "#N/A", "NULL", "null", "None", "?"})
"""Cells of a CSV file that say that there is no value."""

_DELIMITERS = ",;\t|"
_SPACES = " \u00a0\u202f"
_MONEY = re.compile(r"^([+-]?)(?:[$€£¥₹]|EUR|USD|GBP|CHF) ?|() ?(?:[$€£¥₹%]|EUR|USD|GBP|CHF)$")
_PLACED = re.compile(r"column_[0-9]+")


def read_rows(source: str, known: Sequence[str] = (), text: Mapping[str, Any] | None = None) -> Any:
    """Rows of a CSV (`{column: text}`, missing cells None), a JSON list of rows, or an array.

    Args:
        source: a path, or `-`.
        known: the columns of the job.
        text: how the file of its data set was written: `delimiter`, `header`, `encoding`.

    Raises:
        InvalidArgumentError: the file cannot be read, or holds no rows.
    """
    try:
        content = b"" if source == "-" else Path(source).read_bytes()
        content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
        if content.startswith((b"\x93NUMPY", b"PK\x03\x04")):
            return _array(content)
        if content.startswith((b"PAR1", b"ARROW1")):
            return read_columns(content, known) or _none(source)
        written = sys.stdin.read() if source == "-" else _decoded(content, text or {})
        rows = _parsed(written, known, text or {})
    except (OSError, EOFError, ValueError) as error:
        if isinstance(error, InvalidArgumentError):
            raise
        raise InvalidArgumentError(f"{source} cannot be read: {_reason(error, text or {})}", HINT) from error
    return rows or _none(source)


def _none(source: str) -> NoReturn:
    raise InvalidArgumentError(f"{'standard input' if source == '-' else source} holds no rows", HINT)


def _reason(error: Exception, text: Mapping[str, Any]) -> str:
    if isinstance(error, UnicodeDecodeError):
        encoding = text.get("encoding") or "UTF-8"
        return f"it is not {encoding}, as the data set was" if text else "it is neither UTF-8 nor UTF-16"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _array(content: bytes) -> Any:
    """The array of an NPY file, or the rows of an NPZ file."""
    import numpy as np

    found = np.load(io.BytesIO(content), allow_pickle=False)
    if isinstance(found, np.ndarray):
        return found
    name = next((name for name in ("X", "x", "x_test", "arr_0") if name in found.files), None)
    if name is None:
        raise InvalidArgumentError(f"the file holds {', '.join(found.files)}; must hold the rows as X", HINT)
    return found[name]


def _decoded(content: bytes, text: Mapping[str, Any]) -> str:
    """UTF-16 with its byte order mark, else the data set's encoding, else UTF-8."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    encoding = str(text.get("encoding") or "utf-8")
    return content.decode(encoding if encoding in {"cp1252", "latin-1", "utf-16-le"} else "utf-8-sig")


def _parsed(content: str, known: Sequence[str], text: Mapping[str, Any]) -> list[Any]:
    if content.lstrip().startswith(("[", "{")):
        return _from_json(content)
    return _from_csv(content, known, text)


def _from_json(text: str) -> list[Any]:
    try:
        document = _document(text)
    except ValueError as error:
        raise InvalidArgumentError(f"the rows are no JSON: {error}", HINT) from error
    rows = document.get("rows", [document]) if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise InvalidArgumentError('the rows must be a JSON list, or an object with a list "rows"', HINT)
    return rows if rows and isinstance(rows[0], list | dict) else [rows] if rows else []


def _document(text: str) -> Any:
    """One JSON document, or the list of those that stand one a line."""
    try:
        return json.loads(text)
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not lines[0].rstrip().endswith("}"):
            raise
        return [json.loads(line) for line in lines]


def _from_csv(content: str, known: Sequence[str], text: Mapping[str, Any]) -> list[Any]:
    while content.startswith("#") and not set(re.split("[,;|\t\r\n]", content.partition("\n")[0])) & set(known):
        content = content.partition("\n")[2]
    if named := re.match(r"sep=([^\r\n])\r?\n", content):
        delimiter, content = named[1], content[named.end() :]
    else:
        delimiter = _delimiter(content, text)
    if delimiter == " ":
        content = "\n".join(" ".join(line.split()) for line in content.splitlines())
    lines = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        rows = [line for line in lines if line]
        rows = [line for line in rows if len(line) == len(rows[0]) or "".join(line).strip()]
    except csv.Error as error:
        raise InvalidArgumentError(f"the rows are no CSV: line {lines.line_num}: {error}", HINT) from error
    if not rows:
        return []
    names = _names([cell.strip() for cell in rows[0]], known, text)
    wrong = next((place for place, row in enumerate(rows) if len(row) != len(rows[0])), None)
    if wrong is not None:
        said = f"row {wrong + 1} has {len(rows[wrong])} fields; the first row has {len(rows[0])}"
        raise InvalidArgumentError(said, HINT)
    begin = 1 if names is None else 0
    names = names or _distinct([cell.strip() for cell in rows[0]])
    return [{name: _present(cell) for name, cell in zip(names, row, strict=True)} for row in rows[begin:]]


def _distinct(names: Sequence[str]) -> list[str]:
    """Names as data sets have them: `column_3` where there is none, `x.2` for the second `x`."""
    own = [name or f"column_{place + 1}" for place, name in enumerate(names)]
    taken, seen = set(own), set[str]()
    for place, name in enumerate(own):
        if name in seen:
            own[place] = next(one for k in range(2, len(own) + 2) if (one := f"{name}.{k}") not in taken)
            taken.add(own[place])
        seen.add(name)
    return own


def _present(cell: str) -> str | None:
    return None if cell.strip() in MISSING_TEXTS else cell


def _delimiter(content: str, text: Mapping[str, Any]) -> str:
    """The data set's where it divides the first line, else the one that divides it most often."""
    first = re.sub('"[^"]*"', "", content.lstrip("\r\n").partition("\n")[0]).strip()
    usual = str(text.get("delimiter") or ",")
    if usual != " " and usual in first:
        return usual
    best = max(_DELIMITERS, key=first.count)
    return best if best in first else usual


def _names(first: Sequence[str], known: Sequence[str], text: Mapping[str, Any]) -> list[str] | None:
    """The columns of a file without a header, as the data set numbers them; None where the first row names them.

    A file with as many columns as the job has inputs holds those alone; one with more is like the data set's file.
    """
    if not known or text.get("header", True) or not all(map(_PLACED.fullmatch, known)) or set(first) & set(known):
        return None
    if len(first) == len(known):
        return list(known)
    return [f"column_{place + 1}" for place in range(len(first))]


def fit_rows(
    rows: list[Any], kinds: Mapping[str, str] | None, text: Mapping[str, Any] | None = None
) -> tuple[list[Any], list[str], list[str]]:
    """Rows by name as a data set's columns want them; the names that are no columns, left out; the columns not there.

    Args:
        rows: as read; lists are left as they are.
        kinds: the kind of every column by name; None where it is not known: what looks like a number is one.
        text: how numbers are written: `decimal`, `thousands`.

    Raises:
        InvalidArgumentError: no column is there.
    """
    if not isinstance(rows[0], dict):
        return rows, [], []
    number = _Numbers(str((text or {}).get("decimal") or "."), str((text or {}).get("thousands") or ""))
    if kinds is None:
        return [{name: _cell(value, "", number) for name, value in row.items()} for row in rows], [], []
    fitted = [{name: _cell(row[name], kinds[name], number) for name in row if name in kinds} for row in rows]
    names = dict.fromkeys(name for row in rows for name in row)
    absent = [name for name in kinds if name not in names]
    if len(absent) == len(kinds):
        raise InvalidArgumentError(
            f"the rows have none of the job's columns: they have {_listed(list(names))}; it knows {_listed(absent)}",
            "the first row of a CSV file holds the columns' names",
        )
    return fitted, [name for name in names if name not in kinds], absent


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


class _Numbers:
    """Numbers in texts, with the data set's decimal sign and what stands between its thousands."""

    def __init__(self, decimal: str, thousands: str) -> None:
        between = {" ": f"[{_SPACES}]", "'": "['’]"}.get(thousands, re.escape(thousands))
        grouped = rf"\d{{1,3}}({between}\d{{3}})+|" if thousands else ""
        self._decimal, self._between = decimal, between
        sign = re.escape(decimal)
        self._pattern = re.compile(rf"[+-]?(({grouped}\d+)({sign}\d*)?|{sign}\d+)([eE][+-]?\d+)?", re.ASCII)
        self._is_own = decimal == "." or thousands == "."
        """Whether a point cannot be the decimal sign of another way of writing."""

    def __call__(self, text: str) -> float | None:
        """The number, without a currency or a percent sign; None for any other text."""
        bare = _MONEY.sub(lambda found: found[1] or "", text.strip())
        if self._pattern.fullmatch(bare):
            return float(re.sub(self._between or "(?!)", "", bare).replace(self._decimal, "."))
        if self._is_own or "_" in bare:
            return None
        try:
            return float(bare)
        except ValueError:
            return None


def _cell(value: Any, kind: str, number: _Numbers) -> Any:
    if not isinstance(value, str) or kind in {"categorical", "datetime"}:
        return value
    found = number(value)
    return value if found is None or abs(found) == float("inf") else found
