"""The pixels themselves: the inputs of a job that names no featuriser."""

from __future__ import annotations

from nets.features.featuriser import Featuriser

ROW = Featuriser(
    "raw",
    "The data set's own inputs: the pixels of an image, or the prepared columns of a table.",
    "-",
    width=lambda image, _: image.size,
)
