"""First-layer weights: images in a grid, each scaled by its own largest weight; a table where there are no images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.pictures.names import short
from service.pictures.style import INK, SIGNED, SOFT, WIDTH_IN, frame, number, plural, quiet

COLUMNS = (5, 6, 8, 10, 12, 16, 20)


def draw(document: dict[str, Any], caption: str) -> Figure:
    """The picture of the first layer."""
    return _images(document, caption) if document["image"] else _table(document, caption)


def _images(document: dict[str, Any], caption: str) -> Figure:
    templates, image = document["templates"], document["image"]
    count = len(templates)
    columns = min(count, next((c for c in COLUMNS if c >= math.sqrt(count)), COLUMNS[-1]))
    lines = -(-count // columns)
    named = columns <= 12
    tile = (WIDTH_IN - 0.4) / columns
    height = lines * (tile * image["height"] / image["width"] + (0.22 if named else 0.06))
    colour = image["channels"] >= 3
    meaning = "grey is 0, a bright colour adds" if colour else "teal adds, brown takes away"
    figure = frame(_title(document), f"{caption} · {meaning}; each scaled by its largest weight", min(height, 40))
    grid = figure.add_gridspec(lines, columns)
    for place, template in enumerate(templates):
        axes = figure.add_subplot(grid[divmod(place, columns)])
        axes.spines[:].set_visible(True)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.imshow(pixels(np.array(template["weights"])), interpolation="nearest")
        if named:
            size = 9 if columns <= 6 else 7
            axes.set_title(short(template["name"], max(8, 90 // columns)), fontsize=size, color=SOFT, pad=3)
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
    names = [short(templates[place]["name"].removeprefix("unit "), 16) for place in places]
    if document["of"] == "hidden units":
        axes.set_xlabel("hidden unit")
    upright = max(map(len, names)) * len(names) > 70
    axes.set_xticks(places, names, fontsize=8, color=INK, rotation=90 if upright else 0)
    if weights.size <= 200 and weights.shape[1] <= 12:
        for (line, unit), value in np.ndenumerate(weights):
            ink = "#ffffff" if abs(value) > 0.6 * largest else INK
            axes.text(unit, line, number(value, 2), ha="center", va="center", fontsize=8, color=ink)
    else:
        figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.02).outline.set_visible(False)
    return figure


def _title(document: dict[str, Any]) -> str:
    shown, units = len(document["templates"]), document["n_units"]
    if document["of"] == "hidden units":
        part = f"the {shown} strongest of " if shown < units else ""
        return f"What the first layer looks for: {part}{plural(units, 'hidden unit')}"
    return "What every class looks for" if document["of"] == "classes" else "What the prediction looks for"
