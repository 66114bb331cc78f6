"""Images of bytes: rows of pixels, stored as float32 in [0, 1], with height, width and channels on record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from store.ingest.arrays import NpyWriter
from store.ingest.columns import Column
from store.ingest.limits import MAX_COLUMNS
from store.ingest.options import Request
from store.ingest.problems import of_file, of_option, shown
from store.ingest.tables import describe
from store.ingest.targets import Target

WHITE = 255
"""The byte that is stored as 1.0."""

_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Layout:
    """How the features of one row lie: their column names, and the image they form, if any."""

    names: list[str]
    image: dict[str, int] | None


def row_layout(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Layout:
    """The layout of an array of features, (n, features) or images (n, height, width[, channels]).

    Raises:
        InvalidInput: no numbers, or another shape.
    """
    if dtype.kind not in "biuf":
        raise of_file(f"{shown(name)} has the type {dtype}; must be real numbers")
    row = shape[1:]
    width = prod(row)
    if not 1 <= len(row) <= 3 or (len(row) == 3 and row[2] not in _CHANNELS):
        raise of_file(
            f"{shown(name)} has the shape {shape}; must be (rows, features) or "
            f"(rows, height, width[, channels]) with 1, 3 or 4 channels"
        )
    if not 1 <= width <= MAX_COLUMNS:
        raise of_file(f"{shown(name)} has {width} features; must be 1..{MAX_COLUMNS}")
    if len(row) == 1:
        return Layout([f"x{index}" for index in range(width)], None)
    channels = row[2] if len(row) == 3 else 1
    places = [f"pixel_{line}_{column}" for line in range(row[0]) for column in range(row[1])]
    names = places if channels == 1 else [f"{place}_{c}" for place in places for c in range(channels)]
    return Layout(names, {"height": row[0], "width": row[1], "channels": channels})


def write_images(
    blocks: Iterable[npt.NDArray[np.uint8]], layout: Layout, target: Target, target_name: str, request: Request
) -> dict[str, Any]:
    """Write images of bytes as `x.npy` (n_rows, pixels) float32 in [0, 1] and `y.npy`; return `info.json`'s content.

    Args:
        blocks: arrays of shape (k, pixels), pixel by pixel, row by row, channels last.
        layout: the columns.
        target: one value per image.
        target_name: what the target is called.
        request: options and folder.
    """
    if request.options.features is not None:
        raise of_option("features", "selects columns of a table; an image is used whole")
    if request.options.columns is not None:
        raise of_option("columns", "tells kinds of a table's columns; those of an image are numbers")
    lowest = np.full(len(layout.names), WHITE, np.uint8)
    highest = np.zeros(len(layout.names), np.uint8)
    with NpyWriter(request.folder / "x.npy", np.float32, (len(layout.names),)) as x:
        for block in blocks:
            np.minimum(lowest, block.min(axis=0), out=lowest)
            np.maximum(highest, block.max(axis=0), out=highest)
            x.append(block * np.float32(1 / WHITE))
    with NpyWriter(request.folder / "y.npy", target.y.dtype, ()) as y:
        y.append(target.y)
    columns = [
        Column(name, minimum=float(low) / WHITE, maximum=float(high) / WHITE)
        for name, low, high in zip(layout.names, lowest, highest, strict=True)
    ]
    constant = int(np.count_nonzero(lowest == highest))
    return describe(
        columns=columns,
        target=target,
        target_name=target_name,
        standardize=bool(request.options.standardize),
        warnings=[f"{constant} of {len(columns)} pixels have the same value in every image"] if constant else [],
        image=layout.image,
    ) | {"white": WHITE}
