"""One column of a text table while it is read: numbers, dates or texts, and which cells cannot be meant so.

Numbers are ASCII: sign, digits, decimal sign, exponent, as `NumberText` says, and amounts such as `$5` or `5%` where
every cell of the column has that sign. What only looks like a number (`1_000`, `$5` among others, digits of other
scripts) in a column of numbers is an error with its row and column, as are NaN and infinities unless `missing` says
what to do with them. Missing are empty cells and `MISSING_TEXTS`. 01/02/2026 is a date if one order of day and month
fits every cell of the column, or the file's other columns have one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from kernels.dates import EXAMPLES, ORDERS, seconds_of
from kernels.errors import InvalidInput
from store.ingest.arrays import Floats
from store.ingest.limits import MAX_DISTINCT, MAX_ERRORS
from store.ingest.number_text import PLAIN, NumberText, bare, is_grouped
from store.ingest.options import IngestOptions
from store.ingest.problems import CellError, cell, of_kind, shown

MISSING_TEXTS = frozenset({"", "NA", "N/A", "n/a", "#N/A", "NULL", "null", "None", "?"})
"""Cells that say that there is no value."""

SLIP_SHARE = 0.9
"""Share of numbers among a column's different texts from which the others are taken for slips ..."""

SLIP_VALUES = 50
"""... if there are more different texts than this."""

_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_MONEY = "([$€£¥₹]|EUR|USD|GBP|CHF)"
_AMOUNT = r"[0-9][0-9.,' \u00a0\u202f]*"
_MEANT = '; {"kind": "numeric"} in columns leaves it out, {"kind": "categorical"} makes categories of it'
_BOTH_ORDERS = 'send "dates": "dmy" if the day comes first, or "mdy"'
_GROUPED = {
    ".": re.compile(r"[+-]?[0-9]{1,3}(([,' \u00a0\u202f][0-9]{3})+(\.[0-9]*)?|(\.[0-9]{3}){2,})"),
    ",": re.compile(r"[+-]?[0-9]{1,3}(([.' \u00a0\u202f][0-9]{3})+(,[0-9]*)?|(,[0-9]{3}){2,})"),
}
"""By the decimal sign of the file."""
_OTHER_SIGN = {
    ".": re.compile(r"[+-]?([0-9]+|[0-9]{1,3}([. '][0-9]{3})+),[0-9]+"),
    ",": re.compile(r"[+-]?([0-9]+|[0-9]{1,3}([, '][0-9]{3})+)?\.[0-9]+"),
}
_LOOKALIKES = (
    (re.compile(r"[+-]?[0-9]+(_[0-9]+)+(\.[0-9]*)?"), "digits may not be grouped by underscores"),
    (re.compile(rf"[+-]?({_MONEY} ?[+-]?{_AMOUNT}|{_AMOUNT} ?{_MONEY})"), f"it goes without the currency{_MEANT}"),
    (re.compile(rf"[+-]?{_AMOUNT} ?%"), f"it goes without the percent sign{_MEANT}"),
    (re.compile(r"(?=.*[^\x00-\x7f])[+-]?[\d.]+([eE][+-]?\d+)?"), "digits must be 0-9"),
)


def is_number(text: str) -> bool:
    """Whether a text is a number by the strict rule, with a decimal point and nothing between thousands."""
    return PLAIN.is_number(text)


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

    `kind` is what the uploader said that it is; then nothing else may appear. `sign` is the currency or percent sign of
    its first number, which all others must have; `orders` are those of day and month that fit so far, and `two_ways` a
    date that needs one.
    """

    name: str
    options: IngestOptions
    writing: NumberText = PLAIN
    kind: str | None = None
    may_be_dates: bool = True
    may_be_amounts: bool = False
    may_have_sign: bool = True
    sign: str | None = None
    orders: tuple[str, ...] = ORDERS
    two_ways: str | None = None
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
        out = _fast_numbers(values, self.writing) if self.sign is None else None
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
            seconds = self._seconds(value)
            if seconds is not None:
                out[place] = seconds
            elif self.kind == "datetime":
                errors.append(cell(rows[place], self.name, f"{shown(value)} is no date-time; write it like {EXAMPLES}"))
            else:
                self._becomes_text(rows[place], value)
                return None
        return out

    def _becomes_text(self, row: int, value: str) -> None:
        self.is_date, self.is_text, self.read_again = False, True, True
        self.first_text = (row, value)

    def _seconds(self, value: str) -> float | None:
        """Seconds since 1970 of a date; what tells day from month is remembered. None for any other text."""
        seconds = seconds_of(value)
        if seconds is not None:
            return seconds
        found = {order: seconds for order in self.orders if (seconds := seconds_of(value, order)) is not None}
        if not found:
            return None
        if self.two_ways is not None and self.orders[0] not in found:
            self.read_again = True
        self.orders = tuple(found)
        self.two_ways = self.two_ways or value
        return found[self.orders[0]]

    @property
    def order(self) -> str | None:
        """The order of day and month, where the column's dates need one and leave one."""
        return self.orders[0] if self.is_date and self.two_ways is not None and len(self.orders) == 1 else None

    def settle(self, known: str | None) -> None:
        """After the first reading: dates that fit both orders have the one that is known, or are text.

        Raises: InvalidInput where the column was said to hold dates and no order is known.
        """
        if not self.is_date or self.two_ways is None or len(self.orders) == 1:
            return
        if known is not None:
            self.read_again |= known != self.orders[0]
            self.orders = (known,)
        elif self.kind == "datetime":
            raise of_kind(self.name, f"holds dates such as {shown(self.two_ways)}, which may be two; {_BOTH_ORDERS}")
        else:
            self._becomes_text(0, self.two_ways)

    def _careful_numbers(self, values: Sequence[str], rows: Sequence[int], errors: list[CellError]) -> Floats | None:
        """Cell by cell; None when the column turns out to be text."""
        out = np.full(len(values), np.nan)
        problems: list[CellError] = []
        numbers = 0
        for place, value in enumerate(values):
            if value in MISSING_TEXTS:
                continue
            if (written := self._written(value, self.numbers + numbers == 0)) is not None:
                out[place] = float(written)
                numbers += 1
                if math.isfinite(out[place]):
                    continue
                problems.append(cell(rows[place], self.name, f"{shown(value)} is beyond the range of float64"))
            elif _NOT_FINITE.fullmatch(value):
                if not self.options.accepts_nan:
                    problems.append(cell(rows[place], self.name, _not_finite(value)))
            elif (reason := self._unclear(value) or _lookalike(value, self.writing)) is not None:
                problems.append(cell(rows[place], self.name, f"{shown(value)} is not a number: {reason}"))
            elif self.kind == "numeric":
                problems.append(cell(rows[place], self.name, f"{shown(value)} is not a number"))
            elif self.may_be_dates and self.numbers + numbers == 0 and self._seconds(value) is not None:
                self.is_date = True
                return None
            else:
                self.is_text = True
                self.first_text = (rows[place], value)
                self.read_again = self.numbers > 0
                return None
        errors.extend(problems[:MAX_ERRORS])
        return out

    def _written(self, value: str, is_first: bool) -> str | None:
        """A number as `float` reads it, without its currency where it is known to be one; None for other texts."""
        if self.sign is None and self.writing.is_number(value):
            return self.writing.plain(value)
        if self.may_be_amounts or self.kind == "numeric":
            return self.writing.amount(value)
        if self.may_have_sign and is_first:
            self.sign = self.writing.sign(value)
        is_like = self.sign is not None and self.writing.sign(value) == self.sign and not self._is_unclear(value)
        return self.writing.amount(value) if is_like else None

    def _is_unclear(self, value: str) -> bool:
        """Whether an amount such as 350.000 € may be two, and nobody said which."""
        said = self.options.decimal is not None or self.options.thousands is not None or self.writing.thousands
        return not said and self.sign != "%" and is_grouped(bare(value))

    def _unclear(self, value: str) -> str | None:
        """Why a number is none among amounts, or what looks like one amount may be two."""
        if self.sign is None:
            return None
        if self.writing.is_number(value):
            return f"the column's other values have the sign {self.sign}{_MEANT}"
        if self.writing.sign(value) == self.sign and self._is_unclear(value):
            sign = next(sign for sign in ",." if sign in value)
            return f'it may be two; send "thousands": "{sign}" or "decimal": "{sign}"'
        return None

    def finished_texts(self, warnings: list[str]) -> list[str] | None:
        """The texts by code, or None for numbers.

        Raises:
            InvalidInput: nearly all of very many different texts are numbers: the others must be slips.
        """
        texts = self.codes.texts
        if not self.is_text:
            if self.sign is not None:
                warnings.append(f"column {shown(self.name)} holds amounts in {self.sign}: numbers, without that sign")
            return None
        if self.first_text is None:  # said, not found
            return texts
        if self.two_ways is not None and len(self.orders) > 1 and all(seconds_of(text, ORDERS[0]) for text in texts):
            said = (
                f"column {shown(self.name)} holds dates such as {shown(self.two_ways)}, which may be two, and is text;"
            )
            warnings.append(f"{said} {_BOTH_ORDERS}")
        share = sum(map(self.writing.is_number, texts)) / max(1, len(texts))
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


def _fast_numbers(values: Sequence[str], writing: NumberText) -> Floats | None:
    """All cells as numbers (empty ones as NaN) if each is one beyond doubt, else None."""
    joined = "".join(values)
    if not joined.isascii() or "_" in joined or (writing.thousands and writing.thousands in joined):
        return None
    if writing.decimal != ".":
        if "." in joined:
            return None
        values = [value.replace(writing.decimal, ".") for value in values]
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


def _lookalike(value: str, writing: NumberText) -> str | None:
    """Why a text that looks like a number is none."""
    if (without := bare(value)) != value and (reason := _lookalike(without, writing)) is not None:
        return reason
    if _GROUPED[writing.decimal].fullmatch(value):
        between = next(sign for sign in value if sign not in "+-0123456789")
        meant = "" if between == writing.decimal else f'; send "thousands": "{between}" if they are'
        either = ', or "decimal": "," if that is the decimal sign' if between == "," and value.count(",") == 1 else ""
        return f"digits may not be grouped{meant}{either}"
    if _OTHER_SIGN[writing.decimal].fullmatch(value):
        here, other = ("point", ",") if writing.decimal == "." else ("comma", ".")
        return f'the decimal sign is a {here}; send "decimal": "{other}" to have another'
    return next((reason for pattern, reason in _LOOKALIKES if pattern.fullmatch(value)), None)


def _not_finite(value: str) -> str:
    return f'{shown(value)} is not a finite number; send "missing": "impute" to have it filled in, or "drop"'
