"""Importance by shuffling: bars with their spread, or the image of all pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from service.pictures.names import short
from service.pictures.style import ACCENT, INK, RIGHT, SECOND, frame, number, quiet, rows_of

MOST_BARS = 25
NAMES = {"accuracy": "accuracy", "r2": "R²", "loss": "loss"}


def draw(document: dict[str, Any], caption: str) -> Figure:
    """The picture of all columns, or of the most important ones."""
    columns = document["columns"]
    metric = NAMES[document["metric"]]
    change = "rise of the loss" if metric == "loss" else f"{metric} lost"
    note = f"{caption} · {metric} {number(document['baseline'])} on {rows_of(document)}"
    if document["image"] and len(columns) > 1:
        return _image(document, note, change)
    shown = columns[:MOST_BARS]
    title = f"The {len(shown)} most important of {len(columns)} columns"
    height = 0.27 * len(shown) + 0.8
    figure = frame("Importance of every column" if len(shown) == len(columns) else title, note, height)
    axes = quiet(figure.add_subplot(), grid="x")
    means = np.array([column["mean"] or 0.0 for column in shown])
    stds = np.array([column["std"] or 0.0 for column in shown])
    places = np.arange(len(shown))[::-1]
    colours = [ACCENT if mean >= 0 else SECOND for mean in means]
    axes.barh(places, means, height=0.62, color=colours)
    axes.errorbar(means, places, xerr=stds, fmt="none", ecolor=INK, elinewidth=1, capsize=2.5, capthick=1)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(places, [short(column["name"], 32) for column in shown], color=INK)
    axes.set_ylim(-0.6, len(shown) - 0.4)
    if not (means + stds).any():
        axes.set_xlim(-0.01, 0.1)
    axes.set_xlabel(f"{change} where the column is shuffled, mean ± deviation of {document['repeats']} shuffles")
    return figure


def _image(document: dict[str, Any], note: str, change: str) -> Figure:
    image = document["image"]
    values = np.zeros(image["height"] * image["width"] * image["channels"])
    for column in document["columns"]:
        values[column["columns"]] = column["mean"] or 0.0
    field = values.reshape(image["height"], image["width"], image["channels"])[..., 0]
    unit = "pixel" if document["patch"] == 1 else f"patch of {document['patch']} × {document['patch']} pixels"
    figure = frame(f"Importance of every {unit}", note, 5.6)
    axes = figure.add_subplot()
    axes.spines[:].set_visible(True)
    drawn = axes.imshow(np.maximum(field, 0), cmap=RIGHT, interpolation="nearest", vmin=0, vmax=field.max() or 1.0)
    axes.set_xticks([])
    axes.set_yticks([])
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label(f"{change} where it is shuffled")
    return figure
