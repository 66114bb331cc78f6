"""Loss curves as SVG that stands in a page by itself: no script, no style sheet, readable in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mlpq.plot import Scale, Series, scales, short

COLOURS = ("#3b82c4", "#d9772b")
"""Of the first curve and of the second; both stand out on white and on black."""

MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 46, 8, 20, 18
MOST_POINTS = 400

Point = tuple[float, float]


def curves(series: Sequence[Series], *, width: int = 420, height: int = 160, x_name: str = "epoch") -> str:
    """At most two curves over common axes; an empty text where there is no point yet.

    Args:
        series: the curves; the y axis is logarithmic when all values are positive and span a factor of 30.
        width: pixels across.
        height: pixels.
        x_name: what the horizontal axis counts.
    """
    drawn = [(one, _thinned(one.points())) for one in series]
    drawn = [(one, points) for one, points in drawn if points]
    if not drawn:
        return ""
    across, upward = scales([points for _, points in drawn])
    lines = [_line(points, across, upward, width, height, colour) for (_, points), colour in zip(drawn, COLOURS)]  # noqa: B905
    said = ", ".join(f"{one.name} from {short(points[0][1])} to {short(points[-1][1])}" for one, points in drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(said)}" style="max-width:100%;height:auto;font:11px system-ui,sans-serif">'
        f"{_axes(across, upward, width, height, x_name)}{_legend([one.name for one, _ in drawn], upward)}"
        f"{''.join(lines)}</svg>"
    )


def _thinned(points: list[Point]) -> list[Point]:
    """Evenly picked points, the first and the last among them."""
    if len(points) <= MOST_POINTS:
        return points
    return [points[index * (len(points) - 1) // (MOST_POINTS - 1)] for index in range(MOST_POINTS)]


def _line(points: list[Point], across: Scale, upward: Scale, width: int, height: int, colour: str) -> str:
    inner, tall = width - MARGIN_LEFT - MARGIN_RIGHT, height - MARGIN_TOP - MARGIN_BOTTOM
    places = [
        f"{MARGIN_LEFT + across.at(x) * inner:.1f},{MARGIN_TOP + (1 - upward.at(y)) * tall:.1f}" for x, y in points
    ]
    if len(places) == 1:
        x, _, y = places[0].partition(",")
        return f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>'
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{" ".join(places)}"/>'


def _axes(across: Scale, upward: Scale, width: int, height: int, x_name: str) -> str:
    right, bottom = width - MARGIN_RIGHT, height - MARGIN_BOTTOM
    parts = []
    for fraction in (0.0, 0.5, 1.0):
        y = bottom - fraction * (bottom - MARGIN_TOP)
        parts.append(
            f'<line x1="{MARGIN_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor" opacity=".18"/>'
            f'<text x="{MARGIN_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="currentColor" opacity=".7">'
            f"{short(upward.value(fraction))}</text>"
        )
    faint = 'fill="currentColor" opacity=".7"'
    for x, anchor, text in (
        (MARGIN_LEFT, "start", short(across.low)),
        (right, "end", f"{x_name} {short(across.high)}"),
    ):
        parts.append(f'<text x="{x}" y="{height - 4}" text-anchor="{anchor}" {faint}>{escape(text)}</text>')
    return "".join(parts)


def _legend(names: Sequence[str], upward: Scale) -> str:
    parts, x = [], MARGIN_LEFT
    for name, colour in zip(names, COLOURS):  # noqa: B905
        parts.append(f'<text x="{x}" y="12" fill="{colour}">● {escape(name)}</text>')
        x += 24 + 6 * len(name)
    if upward.logarithmic:
        parts.append(f'<text x="{x}" y="12" fill="currentColor" opacity=".7">log axis</text>')
    return "".join(parts)
