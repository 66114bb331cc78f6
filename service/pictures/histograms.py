"""Histograms layer by layer: weights, activations, gradients, with what is dead, zero or saturated in words."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from service.pictures.style import ACCENT, INK, PALETTE, SECOND, SOFT, frame, number, percent, plural, quiet, tint

MOST_LAYERS = 8
ABOVE: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom"}
KINDS = {"weights": ACCENT, "activations": PALETTE[0], "gradients": SECOND}


def draw(document: dict[str, Any], caption: str) -> Figure:
    """A row of three histograms for every layer; of many layers the first and the last ones."""
    layers = document["layers"]
    if len(layers) > MOST_LAYERS:
        layers = layers[: MOST_LAYERS // 2] + layers[-MOST_LAYERS // 2 :]
    note = f"{caption} · activations and gradients of {plural(document['n_rows'], 'training row')}"
    figure = frame("Weights, activations and gradients", note, 1.75 * len(layers) + 0.3)
    grid = figure.add_gridspec(len(layers), len(KINDS))
    for line, layer in enumerate(layers):
        for place, (kind, look) in enumerate(KINDS.items()):
            axes = quiet(figure.add_subplot(grid[line, place]))
            _histogram(axes, layer.get(kind), look, _words(layer, kind))
            if line == 0:
                axes.annotate(kind, (0, 1), (0, 20), **ABOVE, fontsize=10, color=INK)
            if place == 0:
                axes.set_ylabel(f"{layer['name']}\n{plural(layer['units'], 'unit')}", fontsize=9, color=INK)
    return figure


def _histogram(axes: Axes, shown: dict[str, Any] | None, look: str, words: str) -> None:
    axes.set_yticks([])
    if shown is None:
        axes.set_xticks([])
        axes.text(0.5, 0.5, words, ha="center", va="center", fontsize=8.5, color=SOFT, transform=axes.transAxes)
        return
    edges, counts = np.array(shown["edges"]), np.array(shown["counts"], float)
    axes.stairs(np.sqrt(counts), edges, fill=True, color=tint(look, 0.35))  # the root, so that a peak hides nothing
    axes.stairs(np.sqrt(counts), edges, color=look, linewidth=1.2)
    axes.axhline(0, color=look, linewidth=0.8)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    ticks = [edges[0], edges[-1]]
    if edges[0] < 0 < edges[-1] and 0.2 < -edges[0] / (edges[-1] - edges[0]) < 0.8:
        ticks.insert(1, 0.0)
    labels = axes.set_xticks(ticks, [number(tick, 2) for tick in ticks], fontsize=8)
    labels[0].label1.set_horizontalalignment("left")
    labels[-1].label1.set_horizontalalignment("right")
    axes.annotate(words, (0, 1), (0, 4), **ABOVE, fontsize=7.8, color=SOFT)


def _words(layer: dict[str, Any], kind: str) -> str:
    shown = layer.get(kind)
    if shown is None:
        return "scores have no activation"
    if kind != "activations":
        return f"std {number(shown['std'])}"
    dead = round(shown["dead_units"] * layer["units"])
    parts = [layer["activation"], f"{percent(shown['saturated'])} without slope"]
    return ", ".join([*parts, plural(dead, "dead unit")] if dead else parts)
