"""JSON: a list of objects, or one after another (JSON lines); keys are columns, values are read as cells of CSV are.

Objects are decoded one at a time, so that a file of any length takes constant memory. Keys that an object lacks, and
null, are missing; columns that hold lists or objects are left out with a warning.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from kernels.errors import InvalidInput
from store.ingest.csv_table import scanned
from store.ingest.csv_text import Rows, TextFile
from store.ingest.inflate import check_inflates
from store.ingest.limits import MAX_COLUMNS, MAX_ERRORS, MAX_LINE_CHARACTERS
from store.ingest.number_text import PLAIN
from store.ingest.options import Request, name_problem
from store.ingest.problems import CellError, of_file, shown
from store.ingest.tables import finish

DOC = "a list of objects, or one object a line (JSON lines): keys are columns; may be gzipped"

_PIECE_CHARACTERS = 1 << 20
_ROWS_AT_ONCE = 4_096
_BLANKS = " \t\r\n"


def read(request: Request) -> dict[str, Any]:
    """Read one JSON file; return the content of `info.json`. Raises: InvalidInput, TooLarge."""
    path, options, limits = request.sources[0].path, request.options, request.limits
    if path.stat().st_size == 0:
        raise of_file("is empty")
    check_inflates(path, limits)
    file = TextFile.of(path, limits, options.encoding)
    names, warnings = _columns(file, () if options.target is None else (options.target,))
    table = scanned(names, PLAIN, lambda: _rows(file, names), request)
    table.warnings[:0] = warnings
    return finish(table, request)


def _columns(file: TextFile, needed: Sequence[str]) -> tuple[list[str], list[str]]:
    """The columns in the order in which they come up, and a warning for each that is left out."""
    nested: dict[str, bool] = {}
    for number, row in enumerate(documents(file), 1):
        for name, value in row.items():
            if name not in nested and (problem := name_problem(name)) is not None:
                raise InvalidInput(CellError(f"/file/{number}", f"row {number}: the name {problem}", number))
            nested[name] = nested.get(name, False) or isinstance(value, list | dict)
        if len(nested) > MAX_COLUMNS:
            raise of_file(f"has more than {MAX_COLUMNS} columns")
    if not nested:
        raise of_file("has no rows; at least 1 is needed")
    if wrong := [name for name in needed if nested.get(name)]:
        raise of_file(f"column {shown(wrong[0])} holds lists or objects; the target must be numbers or text")
    said = [f"column {shown(name)} is left out: it holds lists or objects" for name in nested if nested[name]]
    return [name for name in nested if not nested[name]], said[:MAX_ERRORS]


def _rows(file: TextFile, names: Sequence[str]) -> Iterator[Rows]:
    fields: list[list[str]] = []
    start = 1
    for row in documents(file):
        fields.append([_text(row.get(name)) for name in names])
        if len(fields) == _ROWS_AT_ONCE:
            yield Rows(fields, range(start, start + len(fields)))
            fields, start = [], start + len(fields)
    if fields:
        yield Rows(fields, range(start, start + len(fields)))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


def documents(file: TextFile) -> Iterator[Mapping[str, Any]]:
    """The objects of a file one by one. Raises: InvalidInput naming the row that is none."""
    decoder = json.JSONDecoder(parse_constant=_refuse)
    number, place, buffer, is_list = 1, 0, "", False
    with file.opened() as text:
        while True:
            place = _skipped(buffer, place, _BLANKS + "," if number > 1 else _BLANKS)
            if place == len(buffer):
                buffer, place = _more(text, ""), 0
                if not buffer:
                    return
                continue
            if buffer[place] == "[" and number == 1 and not is_list:
                is_list, place = True, place + 1
                continue
            if buffer[place] == "]" and is_list:
                return
            if buffer[place] != "{":
                raise _wrong(number, f"begins with {shown(buffer[place : place + 20])}; must be an object")
            try:
                found, place = decoder.raw_decode(buffer, place)
            except (ValueError, RecursionError) as error:
                kept = buffer[place:]
                buffer, place = kept if len(kept) > MAX_LINE_CHARACTERS else _more(text, kept), 0
                if len(buffer) == len(kept):
                    said = error.msg if isinstance(error, json.JSONDecodeError) else "it is too deep or too long"
                    raise _wrong(number, f"is no JSON: {said}") from error
                continue
            yield found
            number += 1


def _skipped(buffer: str, place: int, signs: str) -> int:
    while place < len(buffer) and buffer[place] in signs:
        place += 1
    return place


def _more(text: Any, kept: str) -> str:
    try:
        return kept + str(text.read(_PIECE_CHARACTERS))
    except UnicodeDecodeError as error:
        raise of_file("is not UTF-8") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number; write null")


def _wrong(number: int, said: str) -> InvalidInput:
    return InvalidInput(CellError(f"/file/{number}", f"row {number}: {said}", number))
