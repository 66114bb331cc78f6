"""How a text table writes its numbers: the decimal sign, and what stands between thousands; said, or found.

`1,5` is a number where a comma is the decimal sign, `1.234,5` where points stand between thousands as well. Both are
found where the first rows say so beyond doubt; `1,234` alone may mean two numbers and is never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

DECIMALS = (".", ",")
THOUSANDS = (",", ".", " ", "'")

_MONEY = "(?:[$€£¥₹]|EUR|USD|GBP|CHF)"
_SIGN = re.compile(rf"{_MONEY}|%")
_DOLLARS = "(?:[$£¥₹]|USD|GBP)"
_THOUSANDS_OF_DOLLARS = re.compile(rf"(?:[+-]?{_DOLLARS} ?)?[+-]?[1-9][0-9]{{0,2}}(,[0-9]{{3}})+( ?{_DOLLARS})?")
"""Amounts that are never written with a decimal comma."""
_SPACES = "\u00a0\u202f"
_LIKE = {" ": f"[ {_SPACES}]", "'": "['’]"}
_GROUPED = re.compile(rf"[+-]?[1-9][0-9]{{0,2}}([,.' ’{_SPACES}][0-9]{{3}})+")
"""Numbers of which the last sign may be a decimal sign or stand between thousands."""


@dataclass(frozen=True)
class NumberText:
    """Numbers are ASCII: sign, digits, one decimal sign, exponent; `thousands` may stand between groups of digits."""

    decimal: str = "."
    thousands: str = ""

    @cached_property
    def _number(self) -> re.Pattern[str]:
        return re.compile(self._pattern)

    @cached_property
    def _amount(self) -> re.Pattern[str]:
        return re.compile(rf"(?P<sign>[+-]?){_MONEY}? ?(?P<number>{self._pattern})(?: ?(?:{_MONEY}|%))?")

    @cached_property
    def _pattern(self) -> str:
        grouped = rf"[0-9]{{1,3}}(?:{self._between}[0-9]{{3}})+|" if self.thousands else ""
        sign = re.escape(self.decimal)
        return rf"[+-]?(?:(?:{grouped}[0-9]+)(?:{sign}[0-9]*)?|{sign}[0-9]+)(?:[eE][+-]?[0-9]+)?"

    @property
    def _between(self) -> str:
        return _LIKE.get(self.thousands, re.escape(self.thousands))

    @property
    def is_plain(self) -> bool:
        """Whether Python's own `float` reads it."""
        return self.decimal == "." and not self.thousands

    def is_number(self, text: str) -> bool:
        """Whether a text is a number by the strict rule, without surrounding blanks."""
        return self._number.fullmatch(text) is not None

    def is_amount(self, text: str) -> bool:
        """Whether a text is a number, or one with a currency or a percent sign."""
        return self.is_number(text) or (
            self.amount(text) is not None and not (self.decimal == "," and _is_thousands_of_dollars(text))
        )

    def plain(self, text: str) -> str:
        """A number as `float` reads it."""
        if self.is_plain:
            return text
        without = re.sub(self._between, "", text) if self.thousands else text
        return without.replace(self.decimal, ".")

    def amount(self, text: str) -> str | None:
        """The number, as `float` reads it, of one with a currency or a percent sign; None for any other text."""
        found = self._amount.fullmatch(text)
        if found is None or (found["sign"] and found["number"][0] in "+-"):
            return None
        return found["sign"] + self.plain(found["number"])

    def sign(self, text: str) -> str | None:
        """The currency or the percent sign of an amount; None for any other text."""
        return None if self.amount(text) is None else next(iter(_SIGN.findall(text)), None)

    def tells_apart(self, text: str) -> bool:
        """Whether a number in this way of writing can be nothing else."""
        if self.thousands == "," and _is_thousands_of_dollars(text):
            return True
        text = bare(text)
        if not self.thousands:
            return self.decimal in text and _GROUPED.fullmatch(text) is None
        return self.decimal in text and re.search(self._between, text) is not None

    def in_words(self) -> str:
        """For messages."""
        sign = {".": "a decimal point", ",": "a decimal comma"}[self.decimal]
        between = {"": "", ",": "commas", ".": "points", " ": "blanks", "'": "apostrophes"}[self.thousands]
        return f"{sign} and {between} between thousands" if between else sign


def _is_thousands_of_dollars(text: str) -> bool:
    return _SIGN.search(text) is not None and _THOUSANDS_OF_DOLLARS.fullmatch(text) is not None


def bare(text: str) -> str:
    """A text without its currency or percent sign."""
    return _SIGN.sub("", text).replace("- ", "-").strip() if _SIGN.search(text) else text


def is_grouped(text: str) -> bool:
    """Whether the last sign of a number may be a decimal sign or stand between thousands."""
    return _GROUPED.fullmatch(text) is not None


PLAIN = NumberText()
_CANDIDATES = (
    PLAIN,
    NumberText(","),
    *(NumberText(".", between) for between in (",", " ", "'")),
    *(NumberText(",", between) for between in (".", " ", "'")),
)


def number_text(
    decimal: str | None, thousands: str | None, columns: Sequence[Sequence[str]], delimiter: str
) -> NumberText:
    """The way of writing that most columns of the first rows are numbers in, of those that fit what was said.

    Unless it was said a decimal comma is looked for only where a comma divides no fields.

    Args:
        decimal: as said, or None.
        thousands: as said, or None.
        columns: cells of the first rows by column, without missing ones and surrounding blanks.
        delimiter: of the file.
    """
    commas = delimiter != "," or decimal == "," or thousands == "."
    offered = [
        one
        for one in _CANDIDATES
        if decimal in {None, one.decimal} and thousands in {None, one.thousands} and (commas or one.decimal == ".")
    ]
    marked = [cells for cells in columns if any(not cell.isdecimal() for cell in cells)]
    best = max(offered, key=lambda one: sum(all(map(one.is_amount, cells)) for cells in marked))
    found = [cells for cells in marked if all(map(best.is_amount, cells))]
    is_certain = any(best.tells_apart(cell) for cells in found for cell in cells)
    return best if is_certain or best == offered[0] else offered[0]
