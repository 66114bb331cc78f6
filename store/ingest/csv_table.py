"""CSV (and TSV): names, numbers, texts and missing cells of a delimited text file, in constant memory.

The file is read once into a spool. A column starts as numbers; the first cell that is text makes it a text column
(or one of dates), and if it had other values before, the file is read a second time with that known.

Numbers are ASCII: sign, digits, point, exponent. What only looks like a number (`1_000`, `1,5`, `$5`, `5%`, digits of
other scripts) in a column of numbers is an error with its row and column, as are NaN and infinities unless
`missing` says what to do with them. Missing are empty cells and `MISSING_TEXTS`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernels.dates import EXAMPLES, seconds_of
from kernels.errors import InvalidInput
from store.ingest.arrays import Floats, Spool
from store.ingest.csv_text import Rows, TextFile, read_rows, sniff_delimiter
from store.ingest.inflate import check_inflates
from store.ingest.kinds import check_kinds
from store.ingest.limits import MAX_COLUMNS, MAX_DISTINCT, MAX_ERRORS
from store.ingest.options import IngestOptions, Request, name_problem
from store.ingest.problems import CellError, cell, of_file, shown
from store.ingest.raw import RawColumn, RawTable
from store.ingest.tables import choose_columns, finish

DOC = "text table: comma, semicolon, tab or bar; UTF-8, UTF-16 or as named; with or without a header; may be gzipped"

MISSING_TEXTS = frozenset({"", "NA", "N/A", "n/a", "#N/A", "NULL", "null", "None", "?"})
"""Cells that say that there is no value."""

SLIP_SHARE = 0.9
"""Share of numbers among a column's different texts from which the others are taken for slips ..."""

SLIP_VALUES = 50
"""... if there are more different texts than this."""

_CELLS_AT_ONCE = 1 << 18
_HEADER_SAMPLE = 200

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_MONEY = "([$€£¥₹]|EUR|USD|GBP|CHF)"
_AMOUNT = r"[0-9][0-9.,' \u00a0\u202f]*"
_MEANT = '; {"kind": "categorical"} in columns makes categories of it'
_LOOKALIKES = (
    (re.compile(r"[+-]?[0-9]+(_[0-9]+)+(\.[0-9]*)?"), "digits may not be grouped by underscores"),
    (re.compile(r"[+-]?[0-9]{1,3}([,' \u00a0\u202f][0-9]{3})+(\.[0-9]*)?"), "digits may not be grouped"),
    (re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{3}){2,}(,[0-9]*)?"), "digits may not be grouped"),
    (re.compile(r"[+-]?([0-9]+|[0-9]{1,3}(\.[0-9]{3})+),[0-9]+"), "the decimal sign is a point"),
    (re.compile(rf"[+-]?({_MONEY} ?[+-]?{_AMOUNT}|{_AMOUNT} ?{_MONEY})"), f"it goes without the currency{_MEANT}"),
    (re.compile(rf"[+-]?{_AMOUNT} ?%"), f"it goes without the percent sign{_MEANT}"),
    (re.compile(r"(?=.*[^\x00-\x7f])[+-]?[\d.]+([eE][+-]?\d+)?"), "digits must be 0-9"),
)


def read(request: Request) -> dict[str, Any]:
    """Read one CSV file into `x.npy` and `y.npy`; return the content of `info.json`. Raises: InvalidInput, TooLarge."""
    source, options, limits = request.sources[0], request.options, request.limits
    if source.path.stat().st_size == 0:
        raise of_file("is empty")
    check_inflates(source.path, limits)
    file = TextFile.of(source.path, limits, options.encoding)
    delimiter = options.delimiter or sniff_delimiter(file)
    names, has_header = _header(request, file, delimiter)
    features, target = choose_columns(names, options)
    used = [*features, target]
    check_kinds(options, [names[index] for index in features], names[target])
    scans = [ColumnScan(names[index], options, options.kinds.get(names[index])) for index in features]
    scans.append(ColumnScan(names[target], options, may_be_dates=False))
    spool = Spool(request.folder / "spool", len(used))
    table = RawTable([], spool)
    for _ in range(2):
        for rows in _data_rows(file, delimiter, names, has_header):
            spool.append(_parse(rows, used, scans))
        if not any(scan.read_again for scan in scans):
            break
        spool.clear()
        for scan in scans:
            scan.restart()
    for scan in scans:
        kind = "datetime" if scan.is_date else scan.kind
        table.columns.append(RawColumn(scan.name, scan.finished_texts(table.warnings), kind))
    return finish(table, request)


def _data_rows(file: TextFile, delimiter: str, names: Sequence[str], has_header: bool) -> Iterator[Rows]:
    skip = has_header
    for rows in read_rows(file, delimiter, _CELLS_AT_ONCE):
        if skip:
            skip = False
            continue
        _check_widths(rows, names)
        yield rows


def _check_widths(rows: Rows, names: Sequence[str]) -> None:
    if set(map(len, rows.fields)) == {len(names)}:
        return
    errors: list[CellError] = []
    for number, row in zip(rows.numbers, rows.fields, strict=True):
        if len(row) != len(names) and len(errors) < MAX_ERRORS:
            column = names[len(row)] if len(row) < len(names) else str(len(names) + 1)
            errors.append(cell(number, column, f"the row has {len(row)} fields; the first row has {len(names)}"))
    raise InvalidInput(*errors)


def _parse(rows: Rows, used: Sequence[int], scans: Sequence[ColumnScan]) -> Floats:
    """Codes and numbers of some rows, shape (k, n_used). Raises the first errors of all columns, by row."""
    out = np.empty((len(rows.fields), len(used)))
    columns = list(zip(*rows.fields, strict=True))
    errors: list[CellError] = []
    for place, (index, scan) in enumerate(zip(used, scans, strict=True)):
        out[:, place] = scan.convert(columns[index], rows.numbers, errors)
    if errors:
        raise InvalidInput(*sorted(errors, key=lambda error: error.row or 0)[:MAX_ERRORS])
    return out


def _header(request: Request, file: TextFile, delimiter: str) -> tuple[list[str], bool]:
    """The column names, and whether they come from the first row (else column_1, column_2, …)."""
    sample: list[Sequence[str]] = []
    for rows in read_rows(file, delimiter, 1):
        sample.extend(rows.fields)
        if len(sample) > _HEADER_SAMPLE or len(sample) * len(sample[0]) > _CELLS_AT_ONCE:
            break
    if not sample:
        raise of_file("has no rows; at least 1 is needed")
    first = [value.strip() for value in sample[0]]
    if len(first) > MAX_COLUMNS:
        raise of_file(f"has {len(first)} columns; must be 2..{MAX_COLUMNS}")
    asked = request.options.header
    if asked is False or (asked is None and not looks_like_header(first, sample[1:])):
        return [f"column_{index + 1}" for index in range(len(first))], False
    names = [name or f"column_{index + 1}" for index, name in enumerate(first)]
    errors = [
        cell(1, str(index + 1), f"the name {problem}")
        for index, name in enumerate(names)
        if (problem := name_problem(name)) is not None
    ]
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if seen.setdefault(name, index) != index:
            errors.append(cell(1, name, f"columns {seen[name] + 1} and {index + 1} have the same name"))
    if errors:
        raise InvalidInput(*errors[:MAX_ERRORS])
    return names, True


def looks_like_header(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    """Whether the first row holds names.

    It does if a text stands over a column of numbers, if its cells count up (0, 1, 2, …), or if no cell is a number.
    """
    for index, name in enumerate(first):
        below = [row[index].strip() for row in others if index < len(row)]
        values = [value for value in below if value not in MISSING_TEXTS]
        if name and name not in MISSING_TEXTS and not is_number(name) and values and all(map(is_number, values)):
            return True
    numbers = [value for value in first if is_number(value)]
    if len(numbers) == len(first) > 2:
        return any(list(first) == [str(index + start) for index in range(len(first))] for start in (0, 1))
    return not numbers


def is_number(text: str) -> bool:
    """Whether a text is a number by the strict rule, without surrounding blanks."""
    return _NUMBER.fullmatch(text) is not None


class _Codes(dict[str, float]):
    """Codes of texts in the order of their first appearance; beyond `MAX_DISTINCT` all share the last code."""

    def __init__(self, missing: frozenset[str]) -> None:
        super().__init__(dict.fromkeys(missing, math.nan))
        self.missing = missing
        self.texts: list[str] = []

    def __missing__(self, text: str) -> float:
        code = float(len(self.texts))
        if len(self.texts) >= MAX_DISTINCT:
            return code - 1.0
        self.texts.append(text)
        self[text] = code
        return code


@dataclass
class ColumnScan:
    """One column while it is read: numbers, or dates if they come first, until a text appears.

    `kind` is what the uploader said that it is; then nothing else may appear.
    """

    name: str
    options: IngestOptions
    kind: str | None = None
    may_be_dates: bool = True
    is_date: bool = False
    codes: _Codes = field(init=False)
    is_text: bool = False
    read_again: bool = False
    numbers: int = 0
    first_text: tuple[int, str] | None = None

    def __post_init__(self) -> None:
        self.is_text = self.kind in {"categorical", "boolean"}
        self.is_date = self.kind == "datetime"
        self.restart()

    def restart(self) -> None:
        """Before the file is read again: what is text is known."""
        spelled = {"nan", "NaN", "NAN"} if self.options.accepts_nan else set()
        self.codes = _Codes(MISSING_TEXTS | spelled)
        self.read_again = False

    def convert(self, values: Sequence[str], rows: Sequence[int], errors: list[CellError]) -> Floats:
        """Numbers, or codes of texts, of some cells; NaN where missing. Shape (k,). Adds to `errors`."""
        out = None if self.is_text or self.is_date else self._numbers(values, rows, errors)
        if self.is_date:
            out = self._dates([value.strip() for value in values], rows, errors)
        if out is None:
            out = np.fromiter(map(self.codes.__getitem__, values), np.float64, len(values))
        if self.options.missing == "error":
            errors.extend(
                cell(rows[place], self.name, f"the value is missing ({shown(values[place])})")
                for place in np.flatnonzero(np.isnan(out))[:MAX_ERRORS].tolist()
            )
        return out

    def _numbers(self, values: Sequence[str], rows: Sequence[int], errors: list[CellError]) -> Floats | None:
        out = _fast_numbers(values)
        if out is None:
            out = self._careful_numbers([value.strip() for value in values], rows, errors)
        if out is not None:
            self.numbers += int(np.count_nonzero(~np.isnan(out)))
        return out

    def _dates(self, values: Sequence[str], rows: Sequence[int], errors: list[CellError]) -> Floats | None:
        """Seconds since 1970; None when the column turns out to be text."""
        missing = self.codes.missing
        out = np.full(len(values), np.nan)
        for place, value in enumerate(values):
            if value in missing:
                continue
            seconds = seconds_of(value)
            if seconds is not None:
                out[place] = seconds
            elif self.kind == "datetime":
                errors.append(cell(rows[place], self.name, f"{shown(value)} is no date-time; write it like {EXAMPLES}"))
            else:
                self.is_date, self.is_text = False, True
                self.first_text = (rows[place], value)
                self.read_again = True
                return None
        return out

    def _careful_numbers(self, values: Sequence[str], rows: Sequence[int], errors: list[CellError]) -> Floats | None:
        """Cell by cell; None when the column turns out to be text."""
        out = np.full(len(values), np.nan)
        problems: list[CellError] = []
        numbers = 0
        for place, value in enumerate(values):
            if value in MISSING_TEXTS:
                continue
            if is_number(value):
                out[place] = float(value)
                numbers += 1
                if math.isfinite(out[place]):
                    continue
                problems.append(cell(rows[place], self.name, f"{shown(value)} is beyond the range of float64"))
            elif _NOT_FINITE.fullmatch(value):
                if not self.options.accepts_nan:
                    problems.append(cell(rows[place], self.name, _not_finite(value)))
            elif (reason := _lookalike(value)) is not None:
                problems.append(cell(rows[place], self.name, f"{shown(value)} is not a number: {reason}"))
            elif self.kind == "numeric":
                problems.append(cell(rows[place], self.name, f"{shown(value)} is not a number"))
            elif self.may_be_dates and self.numbers + numbers == 0 and seconds_of(value) is not None:
                self.is_date = True
                return None
            else:
                self.is_text = True
                self.first_text = (rows[place], value)
                self.read_again = self.numbers > 0
                return None
        errors.extend(problems[:MAX_ERRORS])
        return out

    def finished_texts(self, warnings: list[str]) -> list[str] | None:
        """The texts by code, or None for numbers.

        Raises:
            InvalidInput: nearly all of very many different texts are numbers: the others must be slips.
        """
        texts = self.codes.texts
        if not self.is_text:
            return None
        if self.first_text is None:  # said, not found
            return texts
        share = sum(map(is_number, texts)) / max(1, len(texts))
        row, value = self.first_text
        if share >= SLIP_SHARE and len(texts) > SLIP_VALUES:
            raise InvalidInput(
                cell(row, self.name, f"{shown(value)} is not a number, as the column's other values are")
            )
        if share > 0:
            warnings.append(
                f"column {shown(self.name)} holds numbers and texts (row {row}: {shown(value)}): categories"
            )
        return texts


def _fast_numbers(values: Sequence[str]) -> Floats | None:
    """All cells as numbers (empty ones as NaN) if each is one beyond doubt, else None."""
    joined = "".join(values)
    if not joined.isascii() or "_" in joined:
        return None
    try:
        out = np.fromiter(map(float, values), np.float64, len(values))
        return out if bool(np.isfinite(out).all()) else None
    except ValueError:
        pass
    absent = [value in MISSING_TEXTS for value in values]
    filled = ("nan" if missing else value for value, missing in zip(values, absent, strict=True))
    try:
        out = np.fromiter(map(float, filled), np.float64, len(values))
    except ValueError:
        return None
    return out if int(np.count_nonzero(np.isfinite(out))) == len(out) - sum(absent) else None


def _lookalike(value: str) -> str | None:
    return next((reason for pattern, reason in _LOOKALIKES if pattern.fullmatch(value)), None)


def _not_finite(value: str) -> str:
    return f'{shown(value)} is not a finite number; send "missing": "impute" to have it filled in, or "drop"'
