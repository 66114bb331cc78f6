"""CSV as text: its encoding, the delimiter, numbered rows, and what is broken where.

Rows come from the standard library's reader in strict mode, many at a time. When it or the decoder
gives up, `diagnose` reads the file once more one record at a time to name the row and the column.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import TextIO

from kernels.errors import InvalidInput
from store.ingest.inflate import open_bytes
from store.ingest.limits import MAX_FIELD_CHARACTERS, MAX_LINE_CHARACTERS, Limits
from store.ingest.problems import cell, of_file, shown

DELIMITERS = ";\t|,"
"""Sniffed delimiters; of two that divide the rows equally well the earlier one wins."""

BLANK = " "
"""As a delimiter it stands for any number of blanks and tabs; found where none of the others divides the first row."""

CHARACTERS_AT_ONCE = 8 << 20
"""Of rows that are held at once; the last of them may go beyond it by its own length."""

_SAMPLE_CHARACTERS = 1 << 16
_HEAD_BYTES = 64
_QUOTED = re.compile(rf'(^|[{DELIMITERS}\r\n]) *"(?:[^"]|"")*+(?:"(?= *(?:[{DELIMITERS}\r\n]|\Z))|\Z)')
"""A quoted field, with what stands before it, whatever the delimiter is; the sample may break off in it."""
_COMMENTS = re.compile(r"(#[^\r\n]*[\r\n]+)+(?!\Z)")
"""Lines that a file may begin with before its table."""
_NAMED = re.compile(r"sep=([^\r\n])\r?\n")
"""A first line with which spreadsheets name the delimiter."""
_ESCAPED_BYTES = range(0xDC80, 0xDD00)
"""Code points by which `surrogateescape` stands for bytes that are not UTF-8."""


@dataclass(frozen=True)
class TextFile:
    """A CSV file, the limits of reading it, its encoding, and how many lines of comments it begins with."""

    path: Path
    limits: Limits
    encoding: str
    comments: int = 0

    @classmethod
    def of(cls, path: Path, limits: Limits, asked: str | None) -> TextFile:
        """With the encoding asked for, or what its first bytes say; UTF-16 without its mark is little end first."""
        with open_bytes(path, limits) as plain:
            head = plain.read(_HEAD_BYTES)
        is_marked = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        if asked is None and not is_marked and len(head) > 3 and not (any(head[::2]) and any(head[1::2])):
            named = ', or send "encoding": "utf-16"' if any(head[::2]) else ""
            raise of_file(f"looks like UTF-16 without its mark; save it in UTF-8{named}")
        if asked is None:
            return cls(path, limits, "utf-16" if is_marked else "utf-8")
        return cls(path, limits, "utf-16-le" if asked == "utf-16" and not is_marked else asked)

    @contextmanager
    def opened(self, errors: str = "strict") -> Iterator[TextIO]:
        """As text; gzip is recognised by its first bytes, a byte order mark is skipped.

        Raises:
            InvalidInput: a damaged gzip stream.
            TooLarge: a gzip bomb.
        """
        encoding = "utf-8-sig" if self.encoding == "utf-8" else self.encoding
        with open_bytes(self.path, self.limits) as plain:
            text = io.TextIOWrapper(plain, encoding=encoding, errors=errors, newline="")
            for _ in range(self.comments):
                text.readline(MAX_LINE_CHARACTERS)
            yield text

    def sample(self) -> str:
        """The first characters."""
        with self.opened(errors="replace") as text:
            return text.read(_SAMPLE_CHARACTERS)

    def without_comments(self, delimiter: str) -> TextFile:
        """The file from its first line that does not begin with #, or has as many fields as the one after those."""
        lines = self.sample().splitlines()
        first = next((place for place, line in enumerate(lines) if not line.startswith("#")), 0)
        widths = [_width(line, delimiter) for line in lines[: first + 1]]
        return replace(self, comments=widths.index(widths[-1]) if widths else 0)


def sniff_delimiter(file: TextFile) -> str:
    """The delimiter that divides the first rows most evenly; blanks, or at last a comma, where none divides them."""
    sample = file.sample()
    if named := _NAMED.match(sample):
        return named[1]
    is_cut = len(sample) == _SAMPLE_CHARACTERS
    sample = _QUOTED.sub(r"\1_", _COMMENTS.sub("", sample))
    if is_cut and "\n" in sample:
        sample = sample[: sample.rindex("\n") + 1]
    found = max(DELIMITERS, key=lambda delimiter: _evenness(sample, delimiter))
    if _evenness(sample, found)[0] < 0 and _evenness(_with_single_blanks(sample), BLANK)[0] == 1.0:
        return BLANK
    return found


def _with_single_blanks(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in re.split("[\r\n]", text))


def _width(line: str, delimiter: str) -> int:
    return len(line.split()) if delimiter == BLANK else _QUOTED.sub(r"\1_", line).count(delimiter) + 1


def _evenness(sample: str, delimiter: str) -> tuple[float, int]:
    """(share of rows as wide as the first one, that width); nothing for rows of one field."""
    widths = [line.count(delimiter) + 1 for line in re.split("[\r\n]", sample) if line]
    if not widths or widths[0] < 2:
        return (-1.0, int(delimiter == ","))
    share = widths.count(widths[0]) / len(widths)
    return (1.0 if share > 0.95 else share, widths[0])


@dataclass(frozen=True)
class Rows:
    """Some consecutive rows of equal width: their fields, and each one's number in the file, from 1."""

    fields: Sequence[Sequence[str]]
    numbers: Sequence[int]


def read_rows(file: TextFile, delimiter: str, cells_at_once: int) -> Iterator[Rows]:
    """The rows of a file, blank ones left out, many at a time up to `CHARACTERS_AT_ONCE`; the first row comes alone.

    Raises:
        InvalidInput: not its encoding, an unclosed or misplaced quote, a field or line that is too long: row and
            column named.
    """
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    start = 1 + file.comments
    named = ["sep=", ""]
    wanted = 1
    try:
        with file.opened() as text:
            lines = _Lines(text, delimiter)
            reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
            while fields := _next_rows(reader, wanted, lines):
                numbers: Sequence[int] = range(start, start + len(fields))
                start += len(fields)
                if min(map(len, fields)) < 2 or fields[0] == named:
                    kept = [bool(row) and row != named and (len(row) > 1 or row[0].strip() != "") for row in fields]
                    numbers = list(compress(numbers, kept))
                    fields = list(compress(fields, kept))
                if fields:
                    yield Rows(fields, numbers)
                    wanted = max(1, cells_at_once // len(fields[0]))
    except (csv.Error, UnicodeDecodeError) as error:
        raise diagnose(file, delimiter) from error


@dataclass
class _Lines:
    """Lines as the reader wants them: of those that blanks divide none begins or ends with one."""

    text: TextIO
    delimiter: str
    characters: int = 0
    """Of all lines so far."""

    def __iter__(self) -> Iterator[str]:
        while line := self.text.readline(MAX_LINE_CHARACTERS):
            if len(line) == MAX_LINE_CHARACTERS:
                raise csv.Error(f"the line has {MAX_LINE_CHARACTERS} characters or more")
            self.characters += len(line)
            yield line if self.delimiter != BLANK else line.replace("\t", BLANK).strip() + "\n"


def _next_rows(reader: Iterator[list[str]], most: int, lines: _Lines) -> list[list[str]]:
    """At most so many rows, of which all but the last have less than `CHARACTERS_AT_ONCE` together."""
    fields: list[list[str]] = []
    full = lines.characters + CHARACTERS_AT_ONCE
    for row in reader:
        fields.append(row)
        if len(fields) == most or lines.characters >= full:
            break
    return fields


def diagnose(file: TextFile, delimiter: str) -> InvalidInput:
    """Read a file that could not be read again, one record at a time, and say where it breaks."""
    errors = "surrogateescape" if file.encoding == "utf-8" else "strict"
    number = file.comments
    header: list[str] = []
    lines: list[str] = []

    def watched(text: TextIO) -> Iterator[str]:
        for line in _Lines(text, delimiter):
            lines.append(line)
            yield line

    with file.opened(errors) as text:
        reader = csv.reader(watched(text), delimiter=delimiter, strict=True, skipinitialspace=True)
        while True:
            number += 1
            lines.clear()
            try:
                row = next(reader)
            except StopIteration:
                return of_file("could not be read as CSV")
            except UnicodeError:
                return InvalidInput(cell(number, "1", f"the row, or one of the next, is not {file.encoding}"))
            except csv.Error as error:
                index, what = _broken_field("".join(lines), delimiter, str(error))
                return InvalidInput(cell(number, _name(header, index), what))
            for index, value in enumerate(row):
                if found := [ord(c) for c in value if ord(c) in _ESCAPED_BYTES]:
                    what = f"byte 0x{found[0] - 0xDC00:02x} is not UTF-8; save the file in UTF-8, or name its encoding"
                    return InvalidInput(cell(number, _name(header, index), what))
            header = header or row


def _name(header: Sequence[str], index: int) -> str:
    return header[index] if index < len(header) and header[index] else str(index + 1)


def _broken_field(record: str, delimiter: str, error: str) -> tuple[int, str]:
    """The field in which a record breaks off, and what is wrong with it in words."""
    index, start, quoted, place = 0, 0, False, 0
    while place < len(record) and place - start <= MAX_FIELD_CHARACTERS:
        char = record[place]
        if quoted and char == '"':
            if record[place + 1 : place + 2] == '"':
                place += 1
            else:
                quoted = False
                after = record[place + 1 : place + 2]
                if after not in {delimiter, "\r", "\n", ""}:
                    return index, f"{shown(after)} follows a closing quote; a quote inside a field is written twice"
        elif char == '"' and not record[start:place].strip(" "):
            quoted = True
        elif char == delimiter and not quoted:
            index, start = index + 1, place + 1
        place += 1
    if quoted:
        return index, "a quote is opened and not closed"
    if "field larger" in error or place - start > MAX_FIELD_CHARACTERS:
        return index, f"the field is longer than {MAX_FIELD_CHARACTERS} characters"
    return index, error
