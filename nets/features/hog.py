"""Histograms of oriented gradients: which edges an image has, and roughly where.

Axis legend: n images, P pixels of one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nets.features.featuriser import Arrays, Featuriser, Settings, Shape
from nets.options import Option
from nets.table import Image


def hog(xp: Any, x: Any, shape: Shape, settings: Settings, arrays: Arrays) -> Any:  # noqa: ARG001
    """Images (n, P·channels) in [0, 1] -> votes (n, cells·bins): cells row by row, in each the directions.

    The direction nearest to a gradient is the one with the largest |gx cos t + gy sin t|; of two the first.
    """
    height, width, channels = shape
    cell, bins = settings["cell"], settings["bins"]
    grey = x
    if channels > 1:
        red, green, blue = (xp.take(x, np.arange(height * width) * channels + c) for c in range(3))
        grey = 0.299 * red + 0.587 * green + 0.114 * blue
    row, column = np.divmod(np.arange(height * width), width)

    def moved(down: int, right: int) -> Any:
        line = np.clip(row + down, 0, height - 1)
        return xp.take(grey, line * width + np.clip(column + right, 0, width - 1))

    across, down = moved(0, 1) - moved(0, -1), moved(1, 0) - moved(-1, 0)
    angles = np.pi * (np.arange(bins) + 0.5) / bins
    cosine, sine = np.cos(angles).round(12), np.sin(angles).round(12)  # mirrored directions are exactly alike
    best = abs(across * cosine[0] + down * sine[0])
    code = best * 0
    for direction in range(1, bins):
        length = abs(across * cosine[direction] + down * sine[direction])
        code = xp.where(length > best, direction, code)
        best = xp.maximum(length, best)
    cells_across = -(-width // cell)
    place = row // cell * cells_across + column // cell
    size = -(-height // cell) * cells_across * bins
    return xp.histogram(code + place * bins, xp.sqrt(across * across + down * down), size)


def _width(image: Image, settings: Settings) -> int:
    cell, bins = int(settings["cell"]), int(settings["bins"])
    return -(-image.height // cell) * -(-image.width // cell) * bins


ROW = Featuriser(
    "hog",
    "Histograms of oriented gradients: in every cell of the image the directions of its edges, unsigned; each pixel "
    "votes with the length of its gradient [-1, 0, 1]. Colours count as their luminance; beyond its border an image "
    "goes on as its last pixel; where sides are no multiples of the cell, the last cells are smaller.",
    "Dalal & Triggs 2005, Histograms of oriented gradients for human detection; without their blocks",
    _width,
    hog,
    (
        Option("cell", 8, "Pixels along each side of a cell.", 2, 256),
        Option("bins", 9, "Directions in half a turn.", 2, 36),
    ),
)
