"""The gradient check: how far every tensor's gradient is from central differences, beside what is tolerated."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from service.pictures.style import ACCENT, INK, LINE, SECOND, frame, plural, quiet

FLOOR = 1e-16
_DIGITS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def draw(document: dict[str, Any], caption: str) -> Figure:
    """A dot per tensor on a logarithmic axis."""
    errors, tolerance = document["errors"], document["tolerance"]
    verdict = "every gradient is right" if document["ok"] else "a gradient is wrong"
    note = f"{caption} · {verdict}: {plural(document['checked'], 'parameter')} on {plural(document['rows'], 'row')}"
    figure = frame("Gradients against central differences", note, 0.3 * len(errors) + 0.9)
    axes = quiet(figure.add_subplot(), grid="x")
    places = np.arange(len(errors))[::-1]
    values = np.array([np.inf if error is None else max(error, FLOOR) for error in errors.values()])
    shown = np.minimum(values, 1e2)
    colours = [ACCENT if value <= tolerance else SECOND for value in values]
    axes.hlines(places, FLOOR / 3, shown, color=LINE, linewidth=2)
    axes.scatter(shown, places, color=colours, s=46, zorder=3)
    axes.axvline(tolerance, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xscale("log")
    axes.set_xlim(FLOOR / 3, max(10 * tolerance, 3 * float(shown.max(initial=0.0))))
    axes.xaxis.set_major_locator(LogLocator(numticks=9))
    axes.xaxis.set_major_formatter(FuncFormatter(_power))
    axes.set_yticks(places, list(errors), color=INK)
    axes.set_ylim(-0.7, len(errors) - 0.3)
    axes.text(tolerance, len(errors) - 0.35, " tolerated", ha="left", va="bottom", fontsize=8.5, color=INK)
    axes.set_xlabel("largest relative error of the tensor, in float64")
    return figure


def _power(value: float, _place: int) -> str:
    return "10" + str(round(np.log10(value))).translate(_DIGITS)
