"""How often colours occur in an image, wherever they are.

Axis legend: n images, P pixels of one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nets.features.featuriser import Arrays, Featuriser, Settings, Shape
from nets.options import Option
from nets.table import Image

_SPACES = ("joint", "hue")


def color_histogram(xp: Any, x: Any, shape: Shape, settings: Settings, arrays: Arrays) -> Any:  # noqa: ARG001
    """Images (n, P·channels) in [0, 1] -> the share of pixels in every bin (n, bins)."""
    pixels, channels, bins = shape[0] * shape[1], shape[2], settings["bins"]

    def level(values: Any) -> Any:
        return xp.minimum(xp.maximum(xp.floor(values * bins), 0), bins - 1)

    if channels == 1:
        return xp.histogram(level(x), 1 / pixels, bins)
    red, green, blue = (xp.take(x, np.arange(pixels) * channels + c) for c in range(3))
    if settings["space"] == "joint":
        code = (level(red) * bins + level(green)) * bins + level(blue)
        return xp.histogram(code, 1 / pixels, bins**3)
    top = xp.maximum(red, xp.maximum(green, blue))
    chroma = xp.minimum(top - xp.minimum(red, xp.minimum(green, blue)), 1)
    scale = xp.where(chroma > 0, chroma, 1)
    of_green = xp.where(green >= top, 2 + (blue - red) / scale, 4 + (red - green) / scale)
    turn = xp.where(red >= top, (green - blue) / scale, of_green) / 6 + 0.5 / bins  # red lies in the first bin's middle
    votes = xp.histogram(level(turn - xp.floor(turn)), chroma / pixels, bins + 1)
    return votes + xp.histogram(chroma * 0 + bins, (1 - chroma) / pixels, bins + 1)


def _width(image: Image, settings: Settings) -> int:
    bins: int = settings["bins"]
    if image.channels == 1:
        return bins
    return bins * bins * bins if settings["space"] == "joint" else bins + 1


ROW = Featuriser(
    "color_histogram",
    "The share of pixels in every bin of colours, wherever they are; of grey images in every bin of brightness.",
    "Swain & Ballard 1991, Color indexing",
    _width,
    color_histogram,
    (
        Option("bins", 8, "Bins of every channel, or of the hue.", 2, 32),
        Option(
            "space",
            "joint",
            "joint: bins of red x green x blue. hue: bins of the hue, in which a pixel counts by its chroma "
            "(largest less smallest channel), and one more for the rest of it, which is grey.",
            choices=_SPACES,
        ),
    ),
)
