"""Curves in characters."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpq.plot import MARKS, Series, draw, plain, sparkline

numbers = st.floats(-1e12, 1e12)
points = st.lists(st.tuples(st.integers(0, 2000), st.one_of(st.none(), st.just(math.nan), numbers)), max_size=40)


def series(name: str, pairs: list[tuple[int, float | None]]) -> Series:
    return Series(name, [x for x, _ in pairs], [y for _, y in pairs])


@pytest.mark.parametrize("style", ["braille", "unicode", "ascii"])
@given(train=points, val=points, width=st.integers(24, 120), height=st.integers(3, 30))
def test_any_points_are_drawn_within_the_asked_size(
    style: str, train: list[tuple[int, float | None]], val: list[tuple[int, float | None]], width: int, height: int
) -> None:
    lines = draw([series("train", train), series("val", val)], width=width, height=height, style=style)
    assert len(lines) in (1, height + 3)
    body = plain(lines).splitlines()[1:-1] if len(lines) > 1 else []
    assert all(len(line) <= width for line in body)


def test_a_falling_curve_falls() -> None:
    drawn = plain(draw([Series("train", range(10), [10 - x for x in range(10)])], style="ascii", height=10, width=40))
    columns = [line.index("*") for line in drawn.splitlines() if "*" in line and "train" not in line]
    assert columns == sorted(columns)
    assert len(columns) == 10


def test_two_curves_have_marks_of_their_own_and_one_for_both() -> None:
    x = list(range(8))
    drawn = plain(draw([Series("a", x, [1.0] * 8), Series("b", x, [1.0] * 4 + [2.0] * 4)], style="unicode"))
    assert all(mark in drawn for mark in MARKS["unicode"])


def test_a_wide_positive_range_gets_a_logarithmic_axis() -> None:
    narrow = plain(draw([Series("a", [0, 1], [1.0, 2.0])]))
    wide = plain(draw([Series("a", [0, 1], [0.001, 2.0])]))
    signed = plain(draw([Series("a", [0, 1], [-5.0, 2.0])]))
    assert ["log axis" in text for text in (narrow, wide, signed)] == [False, True, False]


def test_ascii_style_is_ascii() -> None:
    assert plain(draw([Series("a", [0, 1, 2], [3.0, 1.0, 2.0])], style="ascii")).isascii()


def test_only_curves_with_points_are_named() -> None:
    drawn = plain(draw([Series("train", [1], [0.5]), Series("val", [1], [None])]))
    assert "train" in drawn
    assert "val" not in drawn


def test_a_sparkline_spans_its_values() -> None:
    assert sparkline([0.0, math.nan, 1.0]) == "▁█"
    assert len(sparkline([float(x) for x in range(500)], width=20)) == 20
