"""Every row of the lecture as the product computes it, and that a claim which is wrong does not hold."""

from __future__ import annotations

import math

import pytest

from nets.lecture.claim import Claim, Row, count, holds, number, numbers, rounds_to, same
from nets.lecture.registry import CHAPTERS, ROWS, chapter_of

COMPUTED = [name for name, row in ROWS.items() if row.compute is not None]


@pytest.mark.parametrize("name", COMPUTED)
def test_row(name: str) -> None:
    compute = ROWS[name].compute
    assert compute is not None
    claims = compute()
    assert claims
    assert [claim for claim in claims if not claim.ok] == []
    assert len({claim.what for claim in claims}) == len(claims), "each says what it is"


def test_a_row_computed_twice_says_the_same() -> None:
    for name in ("L11", "L20", "L28", "L34"):
        compute = ROWS[name].compute
        assert compute is not None
        assert compute() == compute(), name


def test_the_rows_are_those_of_the_lecture_and_stand_in_its_chapters() -> None:
    assert list(ROWS) == [f"L{number:02d}" for number in range(1, 51)]
    assert [name for names in CHAPTERS.values() for name in names] == list(ROWS)
    assert [chapter_of(name) for name in ("L01", "L15", "L32", "L33")] == list(CHAPTERS)
    assert all(row.title and row.text and (row.where or not row.compute) for row in ROWS.values())


def test_a_row_that_computes_nothing_says_what_proves_it() -> None:
    silent = [name for name, row in ROWS.items() if row.compute is None]
    assert silent == ["L16", "L29", "L30", "L32", "L50"]
    assert all(ROWS[name].proof for name in silent)
    assert Row("L00", "a", "b", "c").describe()["computed"] is False


@pytest.mark.parametrize(
    ("value", "shown", "there"),
    [
        (1.5800001, "1.58", True),
        (1.585001, "1.58", False),
        (0.0578, ".058", True),
        (-2.85, "-2.85", True),
        (2.85, "-2.85", False),
        (3.3778e-48, "3.378e-48", True),
        (0.0, "3.378e-48", False),
        (3.3774e-48, "3.378e-48", False),
        (24635.8935, "24635.9", True),
        (math.nan, "0", False),
        (math.inf, "1e300", False),
    ],
)
def test_a_number_rounds_to_what_the_slide_shows(value: float, shown: str, there: bool) -> None:
    assert rounds_to(value, shown) is there


@pytest.mark.parametrize(
    "wrong",
    [
        number("off by a little", 1 + 1e-9, 1),
        number("off the slide", 1.5, 1.5, "1.4"),
        number("not a number", math.nan, math.nan),
        numbers("one of two", [1, 3], [1, 2], "a b")[1],
        same("another shape", [[1.0], [2.0]], [1.0, 2.0]),
        same("one element off", [1.0, 2.1], [1.0, 2.0]),
        same("not a number", [1.0, math.nan], [1.0, 2.0]),
        count("one too many", 3, 2),
        holds("a lie", value=False),
        Claim("another word", "relu", "tanh"),
        Claim("a number for a statement", expected=True, got=1),
    ],
)
def test_a_wrong_claim_does_not_hold(wrong: Claim) -> None:
    assert not wrong.ok
    assert wrong.to_json()["ok"] is False
