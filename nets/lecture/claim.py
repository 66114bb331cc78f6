"""What a row of the lecture is, and one number that it claims."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Value = bool | int | float | str

EXACT = 1e-12
"""Tolerance of what differs by rounding alone, relative to the expected value beyond 1."""


@dataclass(frozen=True)
class Claim:
    """One comparison: `got` is within `tolerance` of `expected`, and rounds to what the slide shows, where it does.

    `slide` is the number as it is printed there: its digits say how far it was rounded.
    """

    what: str
    expected: Value
    got: Value
    tolerance: float = 0.0
    slide: str | None = None

    @property
    def ok(self) -> bool:
        """Whether it holds; nothing that is not finite does, unless that is expected."""
        if isinstance(self.expected, bool | str) or isinstance(self.got, bool | str):
            return type(self.expected) is type(self.got) and self.expected == self.got
        near = self.expected == self.got or abs(self.got - self.expected) <= self.tolerance
        return near and (self.slide is None or rounds_to(self.got, self.slide))

    def to_json(self) -> dict[str, Any]:
        """Plain values for the API."""
        return {
            "what": self.what,
            "expected": self.expected,
            "got": self.got,
            "tolerance": self.tolerance,
            "slide": self.slide,
            "ok": self.ok,
        }


def rounds_to(value: float, shown: str) -> bool:
    """Whether a value, rounded to the digits of a printed number, is that number."""
    mantissa, _, power = shown.partition("e")
    digits = len(mantissa.partition(".")[2])
    return math.isfinite(value) and float(f"{value:.{digits}{'e' if power else 'f'}}") == float(shown)


def number(what: str, got: float, expected: float, slide: str | None = None, tolerance: float | None = None) -> Claim:
    """A number that is expected exactly, but for rounding."""
    allowed = EXACT * max(1.0, abs(expected)) if tolerance is None else tolerance
    return Claim(what, float(expected), float(got), allowed, slide)


def numbers(
    what: str, got: ArrayLike, expected: ArrayLike, names: str, slides: str = "", tolerance: float | None = None
) -> list[Claim]:
    """Several numbers, each with a name; `names` and `slides` have words for each, in order."""
    found, wanted = (np.ravel(np.asarray(values, float)).tolist() for values in (got, expected))
    shown: list[str | None] = [*slides.split()] if slides else [None] * len(wanted)
    return [
        number(f"{what} {name}".strip(), g, e, s, tolerance)
        for name, g, e, s in zip(names.split(), found, wanted, shown, strict=True)
    ]


def same(what: str, got: ArrayLike, expected: ArrayLike, tolerance: float = EXACT) -> Claim:
    """Two arrays: their largest difference, relative to the expected value beyond 1; another shape never holds."""
    found, wanted = np.asarray(got, float), np.asarray(expected, float)
    if found.shape != wanted.shape:
        return Claim(f"{what}: shape", str(wanted.shape), str(found.shape))
    gap = np.abs(found - wanted) / np.maximum(1.0, np.abs(wanted))
    return Claim(f"{what}: largest difference", 0.0, float(gap.max()) if gap.size else 0.0, tolerance)


def count(what: str, got: int, expected: int) -> Claim:
    """A whole number."""
    return Claim(what, int(expected), int(got))


def holds(what: str, value: object) -> Claim:
    """A statement."""
    return Claim(what, expected=True, got=bool(value))


Compute = Callable[[], list[Claim]]


@dataclass(frozen=True)
class Row:
    """One statement of the lecture.

    Attributes:
        id: `L01` and on.
        title: in a few words.
        text: the statement.
        where: where a user of the service meets it.
        compute: its numbers, now; None where they need a trained job, or there are none.
        proof: what proves it, or the rest of it, instead: a test, an explanation, a page.
        link: an address below the page, where there is one to look at.
    """

    id: str
    title: str
    text: str
    where: str
    compute: Compute | None = None
    proof: str = ""
    link: str = ""

    def describe(self) -> dict[str, Any]:
        """The row without its numbers."""
        return {
            "id": self.id,
            "title": self.title,
            "text": self.text,
            "where": self.where,
            "computed": self.compute is not None,
            "proof": self.proof or None,
            "link": self.link or None,
        }
