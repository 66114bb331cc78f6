"""What a net of two numbers says everywhere in their plane: classes with confidence, or values.

Axis legend: G points of the grid along each axis, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nets.explain.subject import Floats, Known, Subject, spread
from nets.options import Option, Value
from nets.parts import Rows

RESOLUTION = Option("resolution", 120, "Points along each axis; fewer for a very large net", low=10, high=400)
OPERATIONS = 4e10
"""Multiplications that a grid may cost, some seconds."""
MARGIN = 0.08
"""Of the plane around the points, of their range."""
LARGEST = 1e150
"""Points further out are left out: the plane's width must be a number."""
MAX_POINTS = 1_500
"""Of each part that are given along, evenly spread."""


def lacks(known: Known) -> str | None:
    """Why a job has no such explanation."""
    kinds = [column.kind for column in known.info.columns]
    if kinds == ["numeric", "numeric"]:
        return None
    others = f", {kinds.count('numeric')} of them numeric" if len(kinds) == 2 else ""
    return f"only nets of exactly two numeric columns have a plane; this one has {len(kinds)} columns{others}"


def compute(subject: Subject, options: Mapping[str, Value]) -> dict[str, Any]:
    """A grid over the plane of the job's points: predicted classes and probabilities, or values; the points."""
    info = subject.predictor.info
    affordable = math.isqrt(int(OPERATIONS / subject.predictor.layout.count))
    resolution = max(2, min(int(options["resolution"] or 0), affordable))
    parts = subject.parts
    points = {name: _points(subject, rows) for name, rows in (("train", parts.train), ("validation", parts.val))}
    x, y = _axes([np.asarray(one["x"]) for one in points.values()], [np.asarray(one["y"]) for one in points.values()])
    across, upward = (np.linspace(low, high, resolution) for low, high in (x, y))
    cells = np.stack([part.reshape(-1) for part in np.meshgrid(across, upward)], axis=1)  # row by row of y
    scores = subject.scores(cells)
    return {
        "columns": [column.name for column in info.columns],
        "classes": list(info.classes) or None,
        "resolution": resolution,
        "x": across.tolist(),
        "y": upward.tolist(),
        **_field(subject, scores, resolution),
        "points": points,
    }


def _field(subject: Subject, scores: NDArray[Any], resolution: int) -> dict[str, Any]:
    shape = (resolution, resolution)
    if subject.predictor.info.task == "regression":
        values = subject.predictor.preprocessing.restore_target(scores)
        return {"values": np.where(np.isfinite(values), values, 0.0).reshape(shape).tolist()}
    loss = subject.known.loss
    found = loss.classes(scores, axis=1).astype(np.int64)
    sure = None
    if loss.probabilities is not None:
        chances = np.nan_to_num(np.asarray(loss.probabilities(scores.astype(np.float64))))  # of scores that overflowed
        sure = np.round(chances[np.arange(len(found)), found], 4).reshape(shape).tolist()
    return {"predicted": found.reshape(shape).tolist(), "probability": sure}


def _points(subject: Subject, rows: Rows) -> dict[str, Any]:
    """Points of one part whose both numbers are known, with class codes or target values."""
    rows = spread(rows, MAX_POINTS)
    cells = subject.cells(rows)
    whole = (np.abs(cells) < LARGEST).all(axis=1)  # and not missing
    x, y = cells[whole].T
    return {"x": x.tolist(), "y": y.tolist(), "truth": subject.truth(rows)[whole].tolist()}


def _axes(x: list[Floats], y: list[Floats]) -> list[tuple[float, float]]:
    """Lowest and highest of each axis, with a margin; a plane without points is that around 0."""
    found = []
    for parts in (x, y):
        values = np.concatenate(parts) if sum(map(len, parts)) else np.zeros(1)
        low, high = float(values.min()), float(values.max())
        room = MARGIN * (high - low) or max(abs(low), 1.0)
        found.append((low - room, high + room))
    return found
