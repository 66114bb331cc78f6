"""CSV (and TSV): names, numbers, texts and missing cells of a delimited text file, in constant memory.

The first rows say how the file is written: its delimiter, its decimal sign, whether it has a header. Then it is read
once into a spool. A column starts as numbers; the first cell that is text makes it a text column (or one of dates), and
if it had other values before, the file is read a second time with that known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from kernels.errors import InvalidInput
from store.ingest.arrays import Floats, Spool
from store.ingest.csv_columns import MISSING_TEXTS, ColumnScan
from store.ingest.csv_text import CHARACTERS_AT_ONCE, Rows, TextFile, read_rows, sniff_delimiter
from store.ingest.inflate import check_inflates
from store.ingest.kinds import check_kinds
from store.ingest.limits import MAX_COLUMNS, MAX_ERRORS
from store.ingest.number_text import PLAIN, NumberText, number_text
from store.ingest.options import IngestOptions, Request, name_problem
from store.ingest.problems import CellError, cell, of_file, shown
from store.ingest.raw import RawColumn, RawTable
from store.ingest.tables import choose_columns, finish

DOC = (
    "text table: comma, semicolon, tab, bar or blanks; decimal point or comma; UTF-8, UTF-16 or as named; with or "
    "without a header; may be gzipped"
)

_CELLS_AT_ONCE = 1 << 18
_HEADER_SAMPLE = 200
_NUMBER_SAMPLE = 5_000


@dataclass(frozen=True)
class Writing:
    """How a file is written.

    Attributes:
        delimiter: between fields.
        names: of all columns, from the first row or column_1, column_2, …
        has_header: whether the first row holds them.
        numbers: the decimal sign, and what stands between thousands.
        n_used: columns that hold something: all, or all but the last.
        repeated: names that were there already, with the numbers that tell them apart.
    """

    delimiter: str
    names: list[str]
    has_header: bool
    numbers: NumberText
    n_used: int
    repeated: Sequence[str] = ()

    def to_json(self, file: TextFile) -> dict[str, Any]:
        """As the record of the data set tells it."""
        return {
            "delimiter": self.delimiter,
            "header": self.has_header,
            "encoding": file.encoding,
            "decimal": self.numbers.decimal,
            "thousands": self.numbers.thousands or None,
        }


def read(request: Request) -> dict[str, Any]:
    """Read one CSV file into `x.npy` and `y.npy`; return the content of `info.json`. Raises: InvalidInput, TooLarge."""
    source, options, limits = request.sources[0], request.options, request.limits
    if source.path.stat().st_size == 0:
        raise of_file("is empty")
    check_inflates(source.path, limits)
    file = TextFile.of(source.path, limits, options.encoding)
    delimiter = options.delimiter or sniff_delimiter(file)
    file = file.without_comments(delimiter)
    writing = _writing(file, delimiter, options)
    table = scanned(writing.names[: writing.n_used], writing.numbers, lambda: _data_rows(file, writing), request)
    table.warnings[:0] = _said(writing, options)
    return finish(table, request) | {"text": writing.to_json(file)}


def scanned(
    names: Sequence[str], numbers: NumberText, rows_of: Callable[[], Iterator[Rows]], request: Request
) -> RawTable:
    """The chosen columns of rows of texts, which are read twice where the first reading tells what is text.

    Raises: InvalidInput.
    """
    options = request.options
    features, target = choose_columns(names, options)
    used = [*features, target]
    check_kinds(options, [names[index] for index in features], names[target])
    scans = [ColumnScan(names[i], options, numbers, options.kinds.get(names[i])) for i in features]
    scans.append(_target_scan(names[target], options, numbers))
    spool = Spool(request.folder / "spool", len(used))
    table = RawTable([], spool)
    for _ in range(2):
        for rows in rows_of():
            spool.append(_parse(rows, used, scans))
        _settle(scans, options.dates)
        if not any(scan.read_again for scan in scans):
            break
        spool.clear()
        for scan in scans:
            scan.restart()
    for scan in scans:
        kind = "datetime" if scan.is_date else scan.kind
        table.columns.append(RawColumn(scan.name, scan.finished_texts(table.warnings), kind, scan.order))
    return table


def _target_scan(name: str, options: IngestOptions, numbers: NumberText) -> ColumnScan:
    quantities, classes = options.task == "regression", options.task == "classification"
    scan = ColumnScan(name, options, numbers, may_be_dates=False, may_be_amounts=quantities)
    scan.may_have_sign = not classes
    return scan


def _settle(scans: Sequence[ColumnScan], asked: str | None) -> None:
    """Columns of dates that may be two have the order that was asked for, or that the others have."""
    found = {scan.order for scan in scans if scan.order is not None}
    known = asked or (found.pop() if len(found) == 1 else None)
    for scan in scans:
        scan.settle(known)


def _said(writing: Writing, options: IngestOptions) -> list[str]:
    """What was found of the writing that a reader may not expect."""
    found = []
    if not writing.numbers.is_plain and (options.decimal is None or options.thousands is None):
        found.append(f"numbers are read with {writing.numbers.in_words()}; decimal and thousands say otherwise")
    if writing.repeated:
        found.append(f"names that are there already have a number: {', '.join(map(shown, writing.repeated[:5]))}")
    if writing.n_used < len(writing.names):
        found.append("the last column has neither a name nor values and is left out")
    return found


def _data_rows(file: TextFile, writing: Writing) -> Iterator[Rows]:
    skip = writing.has_header
    for rows in read_rows(file, writing.delimiter, _CELLS_AT_ONCE):
        if skip:
            skip = False
            continue
        _check_widths(rows, writing.names)
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


def _writing(file: TextFile, delimiter: str, options: IngestOptions) -> Writing:
    """How the file is written, from what was said and its first rows."""
    sample = _first_rows(file, delimiter)
    first, others = [value.strip() for value in sample[0]], sample[1:]
    if not 2 <= len(first) <= MAX_COLUMNS:
        raise _odd_width(first, delimiter)
    columns = list(zip(*(row for row in others or sample if len(row) == len(first)), strict=True))
    cells = [[value for cell in column if (value := cell.strip()) not in MISSING_TEXTS] for column in columns]
    numbers = number_text(options.decimal, options.thousands, cells, delimiter)
    has_header = options.header
    if has_header is None:
        has_header = looks_like_header(first, others[:_HEADER_SAMPLE], numbers)
    if has_header:
        _check_names(first)
    names = distinct_names(first if has_header else [""] * len(first))
    is_empty = len(first) > 2 and cells and not cells[-1] and not (first[-1] and has_header) and options.target is None
    repeated = [name for name, own in zip(names, first, strict=True) if has_header and own and name != own]
    return Writing(delimiter, names, has_header, numbers, len(names) - bool(is_empty), repeated)


def _first_rows(file: TextFile, delimiter: str) -> list[Sequence[str]]:
    sample: list[Sequence[str]] = []
    characters = 0
    for rows in read_rows(file, delimiter, 1):
        sample.extend(rows.fields)
        characters += sum(map(len, sample[-1]))
        many = len(sample) > _NUMBER_SAMPLE or len(sample) * len(sample[0]) > _CELLS_AT_ONCE
        if many or characters >= CHARACTERS_AT_ONCE:
            break
    if not sample:
        raise of_file("has no rows; at least 1 is needed")
    return sample


def _odd_width(first: Sequence[str], delimiter: str) -> InvalidInput:
    if len(first) > MAX_COLUMNS:
        return of_file(f"has {len(first)} columns; must be 2..{MAX_COLUMNS}")
    return of_file(
        f"has 1 column; at least one feature and a target are needed: {shown(delimiter)} does not divide its first "
        f"row, {shown(first[0])}; delimiter names another sign"
    )


def _check_names(first: Sequence[str]) -> None:
    names = [name or f"column_{index + 1}" for index, name in enumerate(first)]
    errors = [
        cell(1, str(index + 1), f"the name {problem}")
        for index, name in enumerate(names)
        if (problem := name_problem(name)) is not None
    ]
    if errors:
        raise InvalidInput(*errors[:MAX_ERRORS])


def distinct_names(first: Sequence[str]) -> list[str]:
    """Names that differ: `column_3` where there is none, `x.2` for the second `x`."""
    own = [name or f"column_{index + 1}" for index, name in enumerate(first)]
    taken, numbers = set(own), dict[str, Iterator[int]]()
    for index, name in enumerate(own):
        if name in numbers:
            own[index] = next(one for k in numbers[name] if (one := f"{name}.{k}") not in taken)
            taken.add(own[index])
        else:
            numbers[name] = count(2)
    return own


def looks_like_header(first: Sequence[str], others: Sequence[Sequence[str]], writing: NumberText = PLAIN) -> bool:
    """Whether the first row holds names.

    It does if a text stands over a column of numbers, if its cells count up (0, 1, 2, …), or if no cell is a number.
    """
    is_number = writing.is_number
    for index, name in enumerate(first):
        below = [row[index].strip() for row in others if index < len(row)]
        values = [value for value in below if value not in MISSING_TEXTS]
        if name and name not in MISSING_TEXTS and not is_number(name) and values and all(map(is_number, values)):
            return True
    numbers = [value for value in first if is_number(value)]
    if len(numbers) == len(first) > 2:
        return any(list(first) == [str(index + start) for index in range(len(first))] for start in (0, 1))
    return not numbers
