"""Curves in characters: a canvas of braille dots where colours tell them apart, marks where there is no colour.

Pure: numbers in, lines of (text, colour) spans out. The caller decides how a colour looks, or drops it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Span = tuple[str, str | None]
"""A piece of text and the name of the series that it belongs to, or None."""

Line = list[Span]

MARKS = {"unicode": ("●", "○", "◉"), "ascii": ("*", "o", "#")}
"""The mark of the first series, of the second, and of a cell where both are."""

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
LOG_FROM_RATIO = 30.0


@dataclass(frozen=True)
class Series:
    """One curve; points with a y that is None or not finite are left out."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]

    def points(self) -> list[tuple[float, float]]:
        """The points that can be drawn."""
        pairs = zip(self.x, self.y, strict=True)
        return [(float(x), float(y)) for x, y in pairs if y is not None and math.isfinite(y)]


@dataclass(frozen=True)
class Scale:
    """An axis: numbers to fractions of its length, and back."""

    low: float
    high: float
    logarithmic: bool

    def at(self, value: float) -> float:
        """Where `value` lies, 0 at the low end and 1 at the high end."""
        low, high, value = (self._bent(number) for number in (self.low, self.high, value))
        return 0.5 if high <= low else (value - low) / (high - low)

    def value(self, fraction: float) -> float:
        """The number at a fraction of the way up."""
        low, high = self._bent(self.low), self._bent(self.high)
        bent = low + (high - low) * fraction
        return float(10.0**bent) if self.logarithmic else bent

    def _bent(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value


def draw(
    series: Sequence[Series], *, width: int = 72, height: int = 14, style: str = "braille", x_name: str = "epoch"
) -> list[Line]:
    """Draw at most two curves over a common pair of axes.

    Args:
        series: the curves; the y axis is logarithmic when all values are positive and span a factor of 30.
        width: characters of a line, at least 24.
        height: lines of the canvas, at least 3; the axis and the legend come on top of that.
        style: `braille` (told apart by colour), `unicode` or `ascii` (told apart by their marks).
        x_name: what the horizontal axis counts.
    """
    drawn = [(one, one.points()) for one in series]
    drawn = [(one, points) for one, points in drawn if points]
    if not drawn:
        return [[("no points yet", None)]]
    across, upward = scales([points for _, points in drawn])
    logarithmic = upward.logarithmic
    labels = _labels(upward, height)
    margin = max(len(label) for label in labels)
    columns = max(width, 24) - margin - 2
    canvas = _braille if style == "braille" else _marks
    cells = canvas([points for _, points in drawn], across, upward, columns, height, style)
    lines: list[Line] = [_legend([one.name for one, _ in drawn], style, margin, logarithmic)]
    for label, row in zip(labels, cells, strict=True):
        lines.append([(f"{label:>{margin}} {'|' if style == 'ascii' else '┤' if label else '│'}", None)])
        for owner, run in itertools.groupby(row, key=lambda cell: cell[1]):
            lines[-1].append(("".join(text for text, _ in run), None if owner is None else drawn[owner][0].name))
    return [*lines, *_x_axis(across, margin, columns, x_name, style)]


def scales(curves: Points) -> tuple[Scale, Scale]:
    """Common axes of curves with points: across, and upward, which is logarithmic where values span a factor of 30."""
    xs = [x for points in curves for x, _ in points]
    ys = [y for points in curves for _, y in points]
    logarithmic = min(ys) > 0 and max(ys) / min(ys) >= LOG_FROM_RATIO
    return Scale(min(xs), max(xs), logarithmic=False), Scale(min(ys), max(ys), logarithmic)


def plain(lines: Sequence[Line]) -> str:
    """The lines as text without colours."""
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """A curve in one line of block characters."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    picked = [finite[index * len(finite) // min(width, len(finite))] for index in range(min(width, len(finite)))]
    low, high = min(picked), max(picked)
    span = (high - low) or 1.0
    return "".join("▁▂▃▄▅▆▇█"[min(int((value - low) / span * 8), 7)] for value in picked)


Cells = list[list[tuple[str, int | None]]]
Points = Sequence[Sequence[tuple[float, float]]]


def _braille(curves: Points, across: Scale, upward: Scale, columns: int, rows: int, _: str) -> Cells:
    """Each character holds 2 × 4 dots; a cell has the colour of the last curve through it."""
    dots = [[0] * columns for _ in range(rows)]
    owners: list[list[int | None]] = [[None] * columns for _ in range(rows)]
    for number, points in enumerate(curves):
        for column, row in _line(points, across, upward, columns * 2, rows * 4):
            dots[row // 4][column // 2] |= _DOTS[row % 4][column % 2]
            owners[row // 4][column // 2] = number
    return [
        [(chr(0x2800 + dot) if dot else " ", owner) for dot, owner in zip(*pair, strict=True)]
        for pair in zip(dots, owners, strict=True)
    ]


def _marks(curves: Points, across: Scale, upward: Scale, columns: int, rows: int, style: str) -> Cells:
    """One mark per character; a cell with both curves has a mark of its own."""
    first, second, both = MARKS[style]
    found: list[list[set[int]]] = [[set() for _ in range(columns)] for _ in range(rows)]
    for number, points in enumerate(curves):
        for column, row in _line(points, across, upward, columns, rows):
            found[row][column].add(number)
    marks = {frozenset[int](): " ", frozenset({0}): first, frozenset({1}): second}
    return [[(marks.get(frozenset(cell), both), min(cell, default=None)) for cell in row] for row in found]


def _line(
    points: Sequence[tuple[float, float]], across: Scale, upward: Scale, columns: int, rows: int
) -> list[tuple[int, int]]:
    """The dots (column, row from the top) of the line through the points, without a hole from column to column."""
    placed = [
        (round(across.at(x) * (columns - 1)), round((1.0 - upward.at(y)) * (rows - 1))) for x, y in sorted(points)
    ]
    dots = [placed[0]]
    for (c0, r0), (c1, r1) in itertools.pairwise(placed):
        steps = max(abs(c1 - c0), abs(r1 - r0), 1)
        dots += [(c0 + round((c1 - c0) * k / steps), r0 + round((r1 - r0) * k / steps)) for k in range(1, steps + 1)]
    return dots


def _labels(upward: Scale, height: int) -> list[str]:
    """A number at the top, in the middle and at the bottom."""
    marked = {0: 1.0, height // 2: 1.0 - (height // 2) / max(height - 1, 1), height - 1: 0.0}
    return [short(upward.value(marked[row])) if row in marked else "" for row in range(height)]


def _legend(names: Sequence[str], style: str, margin: int, logarithmic: bool) -> Line:
    line: Line = [(" " * (margin + 2), None)]
    marks = ("━━", "━━") if style == "braille" else MARKS[style][:2]
    for name, mark in zip(names, marks, strict=False):
        line.append((f"{mark} {name}   ", name))
    if logarithmic:
        line.append(("(log axis)", None))
    return line


def _x_axis(across: Scale, margin: int, columns: int, x_name: str, style: str) -> list[Line]:
    corner, rule = ("+", "-") if style == "ascii" else ("└", "─")
    left, right = short(across.low), f"{x_name} {short(across.high)}"
    ruler = f"{' ' * margin} {corner}{rule * columns}"
    scale = f"{' ' * (margin + 2)}{left}{right:>{max(columns - len(left), len(right) + 1)}}"
    return [[(ruler, None)], [(scale, None)]]


def short(value: float) -> str:
    """A number in at most seven characters."""
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    size = abs(value)
    return f"{value:.1e}" if size < 1e-3 or size >= 1e6 else f"{value:.4g}"


def loss_series(columns: Mapping[str, Sequence[float | None]], x: str = "epoch") -> list[Series]:
    """Training and validation loss out of the columns of a job's metrics."""
    found = [
        (label, columns.get(name)) for label, name in (("train loss", "train_loss"), ("validation loss", "val_loss"))
    ]
    steps = [float(value or 0) for value in columns.get(x, ())]
    return [Series(label, steps, list(values)) for label, values in found if values is not None]
