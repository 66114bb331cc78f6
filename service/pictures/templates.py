"""First-layer weights: images in a grid, each scaled by its own largest weight; a table where there are no images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from service.pictures.names import short
from service.pictures.style import INK, LINE, SIGNED, SOFT, WIDTH_IN, frame, number, plural, quiet

COLUMNS = (5, 6, 8, 10, 12, 16, 20)
MOST_NAMED = 12
"""Columns up to which every image has its name."""
MARGIN_IN, GAP_IN, LABEL_IN = 0.12, 0.08, 0.24


def draw(document: dict[str, Any], caption: str) -> Figure:
    """The picture of the first layer."""
    return _images(document, caption) if document["image"] else _table(document, caption)


def _images(document: dict[str, Any], caption: str) -> Figure:
    templates, image = document["templates"], document["image"]
    columns = next((c for c in COLUMNS if c >= math.sqrt(len(templates))), COLUMNS[-1])
    lines = -(-len(templates) // columns)
    named = columns <= MOST_NAMED
    across = (WIDTH_IN - 2 * MARGIN_IN) / columns
    tile = across - GAP_IN
    high = tile * min(max(image["height"] / image["width"], 0.125), 4.0)
    upward = high + (LABEL_IN if named else GAP_IN)
    brown = "grey is 0, a bright colour adds" if image["channels"] >= 3 else "teal adds, brown takes away"
    total = lines * upward + 0.1
    figure = frame(_title(document), f"{caption} · {brown}; each scaled by its largest weight", total)
    # one pair of axes in inches: hundreds of them would take their time
    figure.set_layout_engine("none")
    axes = quiet(figure.add_axes((0, 0, 1, total / figure.get_figheight())))
    axes.set_axis_off()
    for place, template in enumerate(templates):
        line, column = divmod(place, columns)
        left, low = MARGIN_IN + column * across + GAP_IN / 2, total - (line + 1) * upward + GAP_IN / 2
        extent = (left, left + tile, low, low + high)
        axes.imshow(pixels(np.array(template["weights"])), extent=extent, interpolation="nearest")
        axes.add_patch(Rectangle((left, low), tile, high, fill=False, edgecolor=LINE, linewidth=0.8))
        if named:
            size = 9 if columns <= 6 else 7
            name = short(template["name"], max(8, 90 // columns))
            axes.text(left + tile / 2, low + high + 0.03, name, fontsize=size, color=SOFT, ha="center", va="bottom")
    axes.set(xlim=(0, WIDTH_IN), ylim=(0, total), aspect="auto")
    return figure


def pixels(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (height, width, channels) as colours (height, width, 3 or 4); 0 is grey, or white of one channel."""
    scaled = weights / (np.abs(weights).max() or 1.0)
    if weights.shape[2] >= 3:
        return np.asarray(0.5 + 0.5 * scaled[..., :3])
    return np.asarray(SIGNED(0.5 + 0.5 * scaled[..., 0]))


def _table(document: dict[str, Any], caption: str) -> Figure:
    inputs, templates = document["inputs"], document["templates"]
    weights = np.array([one["weights"] for one in templates]).T  # (inputs, units)
    largest = np.abs(weights).max() or 1.0
    height = min(14.0, max(2.6, 0.24 * len(inputs) + 0.9))
    note = f"{caption} · teal adds, brown takes away; inputs are standardised"
    figure = frame(_title(document), note, height)
    axes = quiet(figure.add_subplot())
    drawn = axes.imshow(weights, cmap=SIGNED, vmin=-largest, vmax=largest, aspect="auto", interpolation="nearest")
    size = 9 if len(inputs) <= 20 else 6.5
    axes.set_yticks(range(len(inputs)), [short(name, 30) for name in inputs], fontsize=size, color=INK)
    step = -(-len(templates) // 40)
    places = list(range(0, len(templates), step))
    names = [short(templates[place]["name"].removeprefix("unit "), 16 if len(places) > 3 else 40) for place in places]
    if document["of"] == "hidden units":
        axes.set_xlabel("hidden unit")
    upright = max(map(len, names)) * len(names) > 70
    axes.set_xticks(places, names, fontsize=8, color=INK, rotation=90 if upright else 0)
    if weights.size <= 200 and weights.shape[1] <= 12:
        for (line, unit), value in np.ndenumerate(weights):
            ink = "#ffffff" if abs(value) > 0.6 * largest else INK
            axes.text(unit, line, number(value, 2), ha="center", va="center", fontsize=8, color=ink)
    else:
        figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.02, aspect=8 + 4 * height).outline.set_visible(False)
    return figure


def _title(document: dict[str, Any]) -> str:
    shown, units = len(document["templates"]), document["n_units"]
    if document["of"] == "hidden units":
        part = f"the {shown} strongest of " if shown < units else ""
        return f"What the first layer looks for: {part}{plural(units, 'hidden unit')}"
    return "What every class looks for" if document["of"] == "classes" and units > 1 else "What the score looks for"
