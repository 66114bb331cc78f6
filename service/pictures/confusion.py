"""The confusion matrix: what is right in the accent colour, what is wrong in the other, by shares of the true class."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.pictures.names import short
from service.pictures.style import ACCENT, INK, LINE, PAPER, RIGHT, SOFT, WRONG, frame, number, percent, quiet, rows_of

MOST_NUMBERS = 20
"""Classes up to which every cell shows its count."""
MOST_NAMES = 60
"""Classes up to which every class is named; of more, some."""


def draw(document: dict[str, Any], caption: str) -> Figure:
    """The picture of one confusion matrix."""
    counts = np.array(document["matrix"], np.int64)
    accuracy = document["metrics"]["accuracy"]
    said = f"{number(None if accuracy is None else 100 * accuracy)} % of {rows_of(document)} right"
    figure = frame("Confusion matrix", f"{caption} · {said}", 6.6 if len(counts) > 4 else 1.1 + 0.95 * len(counts))
    axes = quiet(figure.add_subplot())
    _matrix(axes, counts)
    _names(axes, [row["class"] for row in document["per_class"]])
    if len(counts) <= MOST_NUMBERS:
        _numbers(axes, counts)
        _margins(axes, document["per_class"])
    axes.set_ylabel("true class", labelpad=8)
    axes.set_xlabel("predicted class", labelpad=8)
    return figure


def _matrix(axes: Axes, counts: NDArray[np.int64]) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    own = np.eye(len(counts), dtype=bool)
    # the square root lets single mistakes be seen beside hundreds of right answers
    shown = np.where(own[..., None], RIGHT(shares), WRONG(np.sqrt(shares)))
    axes.imshow(shown, interpolation="nearest", aspect="equal")
    if len(counts) <= MOST_NAMES:
        for edge in np.arange(len(counts) + 1) - 0.5:
            axes.axhline(edge, color=LINE, linewidth=0.6)
            axes.axvline(edge, color=LINE, linewidth=0.6)


def _names(axes: Axes, names: list[str]) -> None:
    step = -(-len(names) // MOST_NAMES)
    places = list(range(0, len(names), step))
    shown = [short(names[place]) for place in places]
    size = 9.0 if len(names) <= 12 else 8.0 if len(names) <= 25 else 5.5
    upright = len(names) > 12 or max(map(len, shown)) * len(names) > 75
    axes.set_yticks(places, shown, fontsize=size, color=INK)
    axes.set_xticks(places, shown, fontsize=size, color=INK, rotation=90 if upright else 0)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")


def _numbers(axes: Axes, counts: NDArray[np.int64]) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    longest = len(str(counts.max(initial=0)))
    size = min(13.0, 240 / max(len(counts), 4) / max(longest, 2))
    for (true, predicted), count in np.ndenumerate(counts):
        if count:
            dark = shares[true, predicted] > (0.55 if true == predicted else 0.3)
            colour = PAPER if dark else INK
            axes.text(predicted, true, str(count), ha="center", va="center", fontsize=size, color=colour)


def _margins(axes: Axes, classes: list[dict[str, Any]]) -> None:
    """Recall beside every row, precision below every column."""
    last = len(classes) - 0.5

    def beside(x: float, y: float, text: str, offset: tuple[int, int], **look: Any) -> None:
        axes.annotate(text, (x, y), offset, textcoords="offset points", annotation_clip=False, **look)

    small: dict[str, Any] = {"fontsize": 8.5 if len(classes) <= 10 else 7 if len(classes) <= 14 else 6, "color": ACCENT}
    head: dict[str, Any] = {"fontsize": 8, "color": SOFT}
    for place, row in enumerate(classes):
        beside(last, place, percent(row["recall"]), (6, 0), ha="left", va="center", **small)
        beside(place, last, percent(row["precision"]), (0, -6), ha="center", va="top", **small)
    beside(last, -0.5, "recall", (6, 5), ha="left", va="bottom", **head)
    beside(-0.5, last, "precision", (-6, -6), ha="right", va="top", **head)
