"""What a client may say about its file: the options of an upload, checked strictly, and the request made of them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from kernels.dates import ORDERS
from kernels.errors import InvalidInput, meant
from store.ingest.limits import MAX_COLUMNS, MAX_ERRORS, MAX_NAME_CHARACTERS, Limits
from store.ingest.number_text import DECIMALS, THOUSANDS
from store.ingest.problems import CellError, in_json, shown

TASKS = ("auto", "classification", "regression")
MISSING_POLICIES = ("error", "impute", "drop")
PARTS = ("train", "test")
KINDS = ("numeric", "categorical", "boolean", "datetime")
ENCODINGS = ("utf-8", "utf-16", "cp1252", "latin-1")

_CHOICES = {"task": TASKS, "missing": MISSING_POLICIES, "part": PARTS, "encoding": ENCODINGS, "dates": ORDERS}
_SIGNS = {"decimal": DECIMALS, "thousands": THOUSANDS}

_FORBIDDEN_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_DELIMITER_REFUSED = frozenset("\"'\\.+-_")


@dataclass(frozen=True)
class IngestOptions:
    """The options of one upload.

    Attributes:
        name: the data set's name; default the file's name without its ending.
        target: name of the column or array to learn; default the last column, `y` of an archive.
        format: a key of `FORMATS`; default by content and name.
        task: `classification`, `regression`, or `auto` (see `targets.py`).
        features: the columns to learn from, in this order; default all but the target.
        missing: `impute` (missing cells are kept as missing, each job fills in its training median), `drop` (rows
            with one are left out), `error`. Default `impute` for cells that are empty or say NA; a written NaN or
            infinity is an error unless `impute` or `drop` was asked for.
        standardize: scale features to mean 0, variance 1; default true for tables, false for images.
        delimiter: one character; default found among comma, semicolon, tab and bar.
        encoding: of a table of text; default UTF-16 where the file begins with its mark, else UTF-8.
        decimal: the decimal sign of a table of text, a point or a comma; default found.
        thousands: what stands between its thousands, a comma, a point, a blank or an apostrophe; default nothing, or
            found beside a decimal sign.
        dates: the order of day and month in dates such as 01/02/2026, `dmy` or `mdy`; default found by column where
            one has a day above 12, else that of the other columns.
        header: whether the first row holds names; default inferred.
        columns: what a column is instead of what was inferred, sorted (name, kind) pairs; as JSON an object,
            `{name: {"kind": …}}`.
        part: of an archive with both, the `train` or the `test` rows; default all, the test rows last.
    """

    name: str | None = None
    target: str | None = None
    format: str | None = None
    task: str = "auto"
    features: tuple[str, ...] | None = None
    missing: str | None = None
    standardize: bool | None = None
    delimiter: str | None = None
    encoding: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    dates: str | None = None
    header: bool | None = None
    part: str | None = None
    columns: tuple[tuple[str, str], ...] | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> IngestOptions:
        """Check the JSON object of an upload; null means default.

        Raises:
            InvalidInput: unknown key, wrong type or value; pointers are `/options/<key>`.
        """
        known = sorted(f.name for f in fields(cls))
        unknown = [key for key in data if key not in known]
        errors = [CellError(f"/options/{key}", _unknown(key, known)) for key in unknown[:MAX_ERRORS]]
        given = {key: value for key, value in data.items() if key in known and value is not None}
        errors += [
            CellError(f"/options/{key}", detail)
            for key, value in given.items()
            if key != "columns" and (detail := _check(key, value)) is not None
        ]
        errors += _check_columns(given.get("columns"))
        if not errors and given.get("decimal") == given.get("thousands") is not None:
            errors.append(CellError("/options/thousands", f"is {shown(given['thousands'])}, the decimal sign as well"))
        if errors:
            raise InvalidInput(*errors)
        if "features" in given:
            given["features"] = tuple(given["features"])
        if "columns" in given:
            given["columns"] = tuple(sorted((name, said["kind"]) for name, said in given["columns"].items()))
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """The options that differ from their defaults, in a fixed order."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        if self.columns is not None:
            values["columns"] = {name: {"kind": kind} for name, kind in self.columns}
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in sorted(values.items())
            if value is not None and not (key == "task" and value == "auto")
        }

    @property
    def kinds(self) -> dict[str, str]:
        """The kinds that were asked for, by column."""
        return dict(self.columns or ())

    @property
    def accepts_nan(self) -> bool:
        """Whether a written NaN or infinity counts as missing: only where that was asked for."""
        return self.missing in {"impute", "drop"}


def _unknown(key: str, known: Sequence[str]) -> str:
    """The option that was meant, or all there are."""
    return f"is not an option{meant(key, known) or '; known are ' + ', '.join(known)}"


def _check(key: str, value: object) -> str | None:
    """What is wrong with one option, or None."""
    if key in {"standardize", "header"}:
        return None if isinstance(value, bool) else f"is {in_json(value)}; must be true or false"
    if key == "features":
        return _check_features(value)
    if not isinstance(value, str):
        return f"is {in_json(value)}; must be a string"
    if key in {"name", "target"}:
        return name_problem(value)
    if key in _CHOICES and value not in _CHOICES[key]:
        return f"is {shown(value)}; must be one of {', '.join(_CHOICES[key])}"
    if key in _SIGNS and value not in _SIGNS[key]:
        return f"is {shown(value)}; must be one of {' '.join(map(shown, _SIGNS[key]))}"
    if key == "delimiter" and (
        len(value) != 1 or not value.isascii() or value.isalnum() or value in _DELIMITER_REFUSED or value in "\r\n\0"
    ):
        return f"is {shown(value)}; must be one ASCII character such as a comma, semicolon, tab or bar"
    return None


def _check_columns(value: object) -> list[CellError]:
    if value is None:
        return []
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        return [CellError("/options/columns", 'must be an object such as {"zip": {"kind": "categorical"}}')]
    errors = []
    for name, said in value.items():
        kind = said.get("kind") if isinstance(said, Mapping) and set(said) == {"kind"} else None
        if kind not in KINDS:
            pointer = f"/options/columns/{name[:MAX_NAME_CHARACTERS].replace('~', '~0').replace('/', '~1')}"
            wrong = f'is {in_json(said)}; must be {{"kind": …}} with one of {", ".join(KINDS)}'
            errors.append(CellError(pointer, wrong))
    return errors[:MAX_ERRORS]


def _check_features(value: object) -> str | None:
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        return "must be a list of column names"
    if not 1 <= len(value) <= MAX_COLUMNS:
        return f"has {len(value)} names; must be 1..{MAX_COLUMNS}"
    repeated = sorted({name for name in value if value.count(name) > 1}) if len(set(value)) < len(value) else []
    if repeated:
        return f"names {shown(repeated[0])} more than once"
    return None


def name_problem(name: str) -> str | None:
    """What is wrong with a client's name (of a file, a data set, a column), or None.

    A name is only ever shown, never used as a path; what could mislead whoever reads it is refused.
    """
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
        return f"has {len(name)} characters; must be 1..{MAX_NAME_CHARACTERS}"
    if any(c in _BIDI_CONTROLS or unicodedata.category(c) in _FORBIDDEN_CATEGORIES for c in name):
        return f"is {shown(name)}; control characters, line breaks and bidirectional marks are not allowed"
    if "../" in name or "..\\" in name:
        return f"is {shown(name)}; must not contain ../"
    return None


@dataclass(frozen=True)
class Source:
    """One uploaded file: where its bytes lie and what the client called it (shown, never opened)."""

    path: Path
    filename: str


@dataclass(frozen=True)
class Request:
    """All that a format module gets: the files, what was asked, where to write, and the limits."""

    sources: Sequence[Source]
    options: IngestOptions
    folder: Path
    limits: Limits
