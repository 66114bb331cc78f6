"""The reliability diagram: stated probabilities beside what came true, and how many rows every bin has."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from service.pictures.names import short
from service.pictures.style import ACCENT, INK, LINE, PAPER, SECOND, SOFT, frame, number, quiet, rows_of, tint


def draw(document: dict[str, Any], caption: str) -> Figure:
    """The picture of all bins that hold rows."""
    figures = (
        f"expected calibration error {number(document['expected_calibration_error'])}   "
        f"Brier score {number(document['brier_score'])}"
    )
    figure = frame("Do probabilities mean what they say?", f"{caption} · {rows_of(document)}", 6.2)
    grid = figure.add_gridspec(2, 1, height_ratios=(4, 1))
    axes = quiet(figure.add_subplot(grid[0]), grid="both")
    below = quiet(figure.add_subplot(grid[1], sharex=axes), grid="y")
    width = 1 / len(document["bins"])
    filled = [one for one in document["bins"] if one["count"]]
    centre = np.array([(one["low"] + one["high"]) / 2 for one in filled])
    stated, observed = (np.array([one[name] for one in filled]) for name in ("stated", "observed"))
    axes.bar(centre, observed, width * 0.92, color=tint(ACCENT, 0.2))
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 3)), label="perfect")
    axes.vlines(stated, stated, observed, color=SECOND, linewidth=2, label="gap", clip_on=False)
    sizes = 30 + 170 * np.array([one["count"] for one in filled]) / document["n_rows"]
    axes.scatter(stated, observed, sizes, color=ACCENT, edgecolors=PAPER, zorder=4, label="came true", clip_on=False)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("share that came true")
    axes.tick_params(labelbottom=False)
    axes.legend(loc="upper left")
    axes.set_title(figures, loc="right", fontsize=9)
    counts = [one["count"] for one in filled]
    below.bar(centre, counts, width * 0.92, color=tint(ACCENT, 0.75))
    below.set_ylabel("rows")
    below.set_xlabel(_axis(document))
    below.set_xlim(0, 1)
    below.locator_params(axis="y", nbins=3, integer=True)
    below.spines["bottom"].set(visible=True, color=LINE)
    below.xaxis.label.set_color(SOFT)
    return figure


def _axis(document: dict[str, Any]) -> str:
    classes = document["classes"]
    return (
        f"stated probability of {short(classes[1], 40)}"
        if len(classes) == 2
        else "stated probability of the predicted class"
    )
