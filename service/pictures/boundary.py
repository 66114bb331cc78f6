"""The plane of two columns: a colour per class, paler where the net is unsure, or a field of values; the points."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from service.pictures.names import short
from service.pictures.style import INK, LINE, PAPER, VALUES, colour, frame, marker, quiet, tint

MOST_IN_LEGEND = 16
MOST_TRACED = 160
"""Points along each axis that lines around more than two classes are traced on."""
PARTS = {"train": "training rows", "validation": "validation rows"}


def draw(document: dict[str, Any], caption: str) -> Figure:
    """The picture of the plane."""
    title = "Decision boundary" if document["classes"] else "Predicted values"
    extent = (document["x"][0], document["x"][-1], document["y"][0], document["y"][-1])
    across, upward = extent[1] - extent[0], extent[3] - extent[2]
    alike = 0.5 < across / upward < 2  # then a circle shall be round
    height = min(6.2, 5.7 * upward / across + 0.55) if alike else 5.2
    figure = frame(title, f"{caption} · {_meaning(document)}", height)
    axes = quiet(figure.add_subplot())
    if document["classes"]:
        _classes(axes, document, extent)
    else:
        _values(figure, axes, document, extent)
    axes.set_xlim(extent[0], extent[1])
    axes.set_ylim(extent[2], extent[3])
    if alike:
        axes.set_aspect("equal")
    axes.set_xlabel(short(document["columns"][0], 60))
    axes.set_ylabel(short(document["columns"][1], 60))
    return figure


def _meaning(document: dict[str, Any]) -> str:
    if not document["classes"]:
        return "points in the colour of their true value"
    return "paler where it is unsure" if document["probability"] else "the class with the highest score"


def _classes(axes: Axes, document: dict[str, Any], extent: tuple[float, float, float, float]) -> None:
    names, found = document["classes"], np.array(document["predicted"])
    sure = np.array(document["probability"]) if document["probability"] else np.ones(found.shape)
    strength = 0.16 + 0.34 * np.clip((sure - 1 / len(names)) / (1 - 1 / len(names)), 0, 1)
    full = np.array([tint(colour(c), 1.0) for c in range(len(names))])[found]
    shown = 1 - strength[..., None] * (1 - full)
    axes.imshow(shown, extent=extent, origin="lower", aspect="auto", interpolation="bilinear")
    _edges(axes, document, found)
    for part, points in document["points"].items():
        truth = np.array(points["truth"], np.int64)
        for c in np.unique(truth):
            chosen = truth == c
            _dots(axes, points, chosen, color=colour(int(c)), marker=marker(int(c)), part=part)
    _legend(axes, document)


def _edges(axes: Axes, document: dict[str, Any], found: NDArray[np.int64]) -> None:
    """A line around every class's region; of a fine grid with many classes on every few points."""
    step = 1 if len(document["classes"]) == 2 else -(-len(found) // MOST_TRACED)
    found, x, y = found[::step, ::step], document["x"][::step], document["y"][::step]
    for c in np.unique(found):
        inside = (found == c).astype(np.float64)
        if document["probability"] and len(document["classes"]) == 2:
            sure = np.array(document["probability"])
            inside = np.where(found == c, sure, 1 - sure)
        else:
            inside = _smooth(inside)  # or the line would show the grid's steps
        if inside.min() < 0.5 < inside.max():
            axes.contour(x, y, inside, [0.5], colors=[PAPER], linewidths=1.4)


def _smooth(mask: NDArray[np.float64]) -> NDArray[np.float64]:
    for _ in range(2):
        wide = np.pad(mask, 1, mode="edge")
        wide = (wide[:-2] + 2 * wide[1:-1] + wide[2:]) / 4
        mask = (wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) / 4
    return mask


def _dots(axes: Axes, points: dict[str, Any], chosen: NDArray[np.bool_], *, part: str, **look: Any) -> None:
    count = len(points["x"])
    size = 26 if count <= 400 else 15
    ring = INK if part == "validation" else PAPER
    x, y = np.array(points["x"])[chosen], np.array(points["y"])[chosen]
    axes.scatter(x, y, s=size, edgecolors=ring, linewidths=0.9 if part == "validation" else 0.6, zorder=3, **look)


def _legend(axes: Axes, document: dict[str, Any]) -> None:
    names = document["classes"]
    entries = []
    for c, name in enumerate(names[:MOST_IN_LEGEND]):
        look: dict[str, Any] = {"marker": marker(c), "color": colour(c), "markeredgecolor": PAPER}
        entries.append(Line2D([], [], linestyle="", markersize=6.5, label=short(name), **look))
    if len(names) > MOST_IN_LEGEND:
        entries.append(Line2D([], [], linestyle="", label=f"… and {len(names) - MOST_IN_LEGEND} more"))
    entries += _rings(document)
    axes.legend(handles=entries, loc="upper left", bbox_to_anchor=(1.01, 1.0), handletextpad=0.4, borderaxespad=0)


def _rings(document: dict[str, Any]) -> list[Line2D]:
    """What the rings around points mean, where there are both parts."""
    if not document["points"]["validation"]["x"]:
        return []
    return [
        Line2D(
            [],
            [],
            linestyle="",
            marker="o",
            markersize=6.5,
            color=LINE,
            markeredgecolor=INK if part == "validation" else PAPER,
            label=label,
        )
        for part, label in PARTS.items()
    ]


def _values(figure: Figure, axes: Axes, document: dict[str, Any], extent: tuple[float, float, float, float]) -> None:
    field = np.array(document["values"])
    truth = [value for points in document["points"].values() for value in points["truth"]]
    low, high = (min(truth), max(truth)) if truth else (float(field.min()), float(field.max()))
    if low == high:
        low, high = low - 0.5, high + 0.5
    scale: dict[str, Any] = {"cmap": VALUES, "vmin": low, "vmax": high}
    drawn = axes.imshow(field, extent=extent, origin="lower", aspect="auto", interpolation="bilinear", **scale)
    if field.min() < field.max():
        axes.contour(
            document["x"], document["y"], field, 8, colors=[PAPER], linewidths=0.5, alpha=0.6, linestyles="solid"
        )
    for part, points in document["points"].items():
        every = np.ones(len(points["x"]), bool)
        _dots(axes, points, every, part=part, c=np.array(points["truth"]), **scale)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.02, extend="both")
    bar.outline.set_visible(False)
    bar.set_label(short(document.get("target") or "target", 40))
    if _rings(document):
        axes.legend(handles=_rings(document), loc="upper left", bbox_to_anchor=(0, -0.1), ncols=2, borderaxespad=0)
