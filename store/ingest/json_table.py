"""JSON: a list of objects, or one after another (JSON lines); keys are columns, values are read as cells of CSV are.

Objects are decoded one at a time, so that a file of any length takes constant memory. Keys that an object lacks, and
null, are missing; columns that hold lists or objects are left out with a warning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from kernels.errors import InvalidInput, TooLarge
from store.ingest.csv_table import scanned
from store.ingest.csv_text import Rows, TextFile
from store.ingest.inflate import check_inflates, most_cells
from store.ingest.limits import MAX_COLUMNS, MAX_ERRORS, MAX_FIELD_CHARACTERS, MAX_LINE_CHARACTERS
from store.ingest.number_text import PLAIN
from store.ingest.options import Request, name_problem
from store.ingest.problems import CellError, cell, of_file, shown
from store.ingest.tables import finish

DOC = "a list of objects, or one object a line (JSON lines): keys are columns; may be gzipped"

_PIECE_CHARACTERS = 1 << 20
_CELLS_AT_ONCE = 1 << 18
_CHARACTERS_AT_ONCE = 8 << 20
_BLANKS = re.compile(r"[ \t\r\n]*")
_BLANKS_AND_COMMAS = re.compile(r"[ \t\r\n,]*")
_HALVES = re.compile("[\ud800-\udfff]")


def read(request: Request) -> dict[str, Any]:
    """Read one JSON file; return the content of `info.json`. Raises: InvalidInput, TooLarge."""
    path, options, limits = request.sources[0].path, request.options, request.limits
    if path.stat().st_size == 0:
        raise of_file("is empty")
    check_inflates(path, limits)
    file = TextFile.of(path, limits, options.encoding)
    most = most_cells(path.stat().st_size, limits)
    names, warnings = _columns(file, () if options.target is None else (options.target,), most)
    table = scanned(names, PLAIN, lambda: _rows(file, names), request)
    table.warnings[:0] = warnings
    return finish(table, request)


def _columns(file: TextFile, needed: Sequence[str], most: int) -> tuple[list[str], list[str]]:
    """The columns in the order in which they come up, and a warning for each that is left out."""
    nested: dict[str, bool] = {}
    for number, row in enumerate(documents(file), 1):
        for name, value in row.items():
            if name not in nested and (problem := name_problem(name)) is not None:
                raise InvalidInput(CellError(f"/file/{number}", f"row {number}: the name {problem}", number))
            nested[name] = nested.get(name, False) or isinstance(value, list | dict)
        if len(nested) > MAX_COLUMNS:
            raise of_file(f"has more than {MAX_COLUMNS} columns")
        if number * len(nested) > most:
            raise TooLarge(f"the file has {number} rows and {len(nested)} columns or more, nearly all cells empty")
    if not nested:
        raise of_file("has no rows; at least 1 is needed")
    if wrong := [name for name in needed if nested.get(name)]:
        raise of_file(f"column {shown(wrong[0])} holds lists or objects; the target must be numbers or text")
    said = [f"column {shown(name)} is left out: it holds lists or objects" for name in nested if nested[name]]
    return [name for name in nested if not nested[name]], said[:MAX_ERRORS]


def _rows(file: TextFile, names: Sequence[str]) -> Iterator[Rows]:
    fields: list[list[str]] = []
    start, characters = 1, 0
    for number, row in enumerate(documents(file), 1):
        cells = [_text(row.get(name)) for name in names]
        _check(cells, names, number)
        fields.append(cells)
        characters += sum(map(len, cells))
        if len(fields) * len(names) >= _CELLS_AT_ONCE or characters >= _CHARACTERS_AT_ONCE:
            yield Rows(fields, range(start, number + 1))
            fields, start, characters = [], number + 1, 0
    if fields:
        yield Rows(fields, range(start, start + len(fields)))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


def _check(cells: Sequence[str], names: Sequence[str], number: int) -> None:
    """Raises: InvalidInput for a text that is too long, or that no file in UTF-8 could hold."""
    if max(map(len, cells)) <= MAX_FIELD_CHARACTERS and all(map(str.isascii, cells)):
        return
    for text, name in zip(cells, names, strict=True):
        if len(text) > MAX_FIELD_CHARACTERS:
            raise InvalidInput(cell(number, name, f"the text is longer than {MAX_FIELD_CHARACTERS} characters"))
        if _HALVES.search(text):
            raise InvalidInput(cell(number, name, "the text holds half a character"))


def documents(file: TextFile) -> Iterator[Mapping[str, Any]]:
    """The objects of a file one by one. Raises: InvalidInput naming the row that is none."""
    decoder = json.JSONDecoder(parse_constant=_refuse)
    number, place, buffer, is_list = 1, 0, "", False
    with file.opened() as text:
        while True:
            place = _skipped(buffer, place, _BLANKS_AND_COMMAS if number > 1 else _BLANKS)
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


def _skipped(buffer: str, place: int, signs: re.Pattern[str]) -> int:
    found = signs.match(buffer, place)
    return place if found is None else found.end()


def _more(text: Any, kept: str) -> str:
    try:
        return kept + str(text.read(_PIECE_CHARACTERS))
    except UnicodeDecodeError as error:
        raise of_file("is not UTF-8") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number; write null")


def _wrong(number: int, said: str) -> InvalidInput:
    return InvalidInput(CellError(f"/file/{number}", f"row {number}: {said}", number))
