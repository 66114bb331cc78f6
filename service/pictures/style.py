"""How every picture looks: one frame with title and caption, one typeface, one accent colour, palettes that every eye
can tell apart.

A picture is `WIDTH_IN` wide; `?width=` scales all of it. Text is never read as mathematics: names may hold `$`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from threading import Lock
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

from service.pictures.names import families

WIDTH_IN = 8.0
LONG = 112
"""Characters of a caption that fit; a longer one is set smaller."""
HEAD_IN = 0.78
"""Height of title and caption."""

INK, SOFT, LINE, PAPER = "#1d2327", "#5d676d", "#e2dfda", "#ffffff"
ACCENT, SECOND = "#0b6e6e", "#b4541a"
"""As on the page: teal for what is right or meant, its companion for the other."""

PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c8c8c", "#c9b400")
"""Okabe and Ito's colours, told apart with any colour vision; the yellow is darker, for white paper."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
"""With the palette they tell 64 classes apart."""

RIGHT = LinearSegmentedColormap.from_list("right", [PAPER, "#8fc7c3", ACCENT, "#063f40"])
WRONG = LinearSegmentedColormap.from_list("wrong", [PAPER, "#f0c09a", SECOND, "#6f2f0a"])
SIGNED = LinearSegmentedColormap.from_list(
    "signed", ["#6f2f0a", SECOND, "#eebd92", "#fbfaf8", "#8fc7c3", ACCENT, "#063f40"]
)
"""Negative, 0, positive."""
VALUES = "viridis"
"""From low to high, alike for every colour vision."""

mpl.rcParams.update(
    {
        "font.family": families(),
        "font.size": 9,
        "text.color": INK,
        "text.parse_math": False,
        "axes.edgecolor": LINE,
        "axes.labelcolor": SOFT,
        "axes.titlecolor": INK,
        "axes.titlesize": 10,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": True,
        "axes.formatter.use_mathtext": False,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "xtick.minor.size": 0,
        "ytick.minor.size": 0,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "legend.labelcolor": INK,
    }
)

_turn = Lock()
"""matplotlib keeps caches of its own: one picture is drawn at a time."""


def frame(title: str, caption: str, height_in: float) -> Figure:
    """An empty picture with its title and, below it, what it shows; `height_in` is what is left for the axes."""
    total, size = height_in + HEAD_IN, min(9.0, 9 * LONG / max(len(caption), 1))
    figure = Figure(figsize=(WIDTH_IN, total), facecolor=PAPER, layout="constrained")
    figure.get_layout_engine().set(rect=(0.012, 0.012, 0.976, 1 - HEAD_IN / total - 0.012))  # type: ignore[union-attr, call-arg]
    figure.text(0.024, 1 - 0.2 / total, title, fontsize=13.5, fontweight="bold", va="top", in_layout=False)
    figure.text(0.024, 1 - 0.49 / total, caption, fontsize=size, color=SOFT, va="top", in_layout=False)
    return figure


def render(draw: Callable[[], Figure], width_px: int) -> bytes:
    """What `draw` gives as PNG, so many pixels wide."""
    written = io.BytesIO()
    with _turn:
        figure = draw()
        figure.set_dpi(width_px / WIDTH_IN)
        FigureCanvasAgg(figure).print_png(written, metadata={"Software": "mlpq"})  # type: ignore[no-untyped-call]
    return written.getvalue()


def colour(index: int) -> str:
    """The colour of a class."""
    return PALETTE[index % len(PALETTE)]


def marker(index: int) -> str:
    """The mark of a class."""
    return MARKERS[index // len(PALETTE) % len(MARKERS)]


def tint(name: str, strength: float) -> tuple[float, float, float]:
    """A colour mixed with the paper."""
    r, g, b = to_rgb(name)
    return (1 - strength * (1 - r), 1 - strength * (1 - g), 1 - strength * (1 - b))


def quiet(axes: Axes, *, grid: str | None = None) -> Axes:
    """Axes without any line but perhaps a light grid along `x`, `y` or `both`."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    if grid is not None:
        axes.grid(axis=grid, color=LINE, linewidth=0.8)  # type: ignore[arg-type]
        axes.set_axisbelow(True)
    return axes


def number(value: float | None, digits: int = 3) -> str:
    """A number for people."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}g}"
    return text.replace("-", "−", 1) if text.startswith("-") else text


def percent(value: float | None) -> str:
    """A share for people; never 100 % or 0 % for what is only nearly so."""
    if value is None:
        return "–"
    shown = 100 * value
    if 0 < shown < 0.5:
        return "<1 %"
    if 99.5 < shown < 100:
        return ">99 %"
    return f"{shown:.0f} %"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 row`, `360 rows`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}".replace(",", " ")


def rows_of(document: dict[str, Any]) -> str:
    """Which rows an explanation was taken on, in words."""
    part = {"validation": "validation ", "train": "training ", "test": "test "}.get(document["rows"], "")
    return plural(document["n_rows"], f"{part}row")
