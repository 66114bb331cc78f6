"""A list of featurisers with what they learnt from the training rows: images in, inputs of the net out.

Axis legend: R rows, F pixels times channels, K inputs that featurisers make, I inputs of the net.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nets.choices import FeatureSpec
from nets.features.featuriser import Featuriser, Floats, Sample
from nets.features.numpy_operations import NumpyOperations
from nets.table import Image
from nets.threads import ALONE, available_threads

SAMPLE_ROWS, SAMPLE_NUMBERS = 4096, 1 << 24
"""Training rows, evenly spread, whose range, means and deviations stand for all: fewer where so many of them, as pixels
or as inputs, would be more numbers."""

_BLOCK = 1 << 18
"""Numbers in the largest array of one block of rows (2 MiB)."""

_PREFIX = "input_feature"


@dataclass(frozen=True, eq=False)
class FittedFeatures:
    """Featurisers in the order in which their inputs lie.

    Pixels are scaled from `low`..`high` to [0, 1] first: the range of the training rows, and at least 0..1. From what
    a featuriser makes `mean` (K,) is taken off, and it is divided by `std` (K,), one number for each featuriser: the
    root of its inputs' mean variance, so that an input which hardly varies stays small.
    """

    chosen: Sequence[FeatureSpec]
    image: Image
    low: float
    high: float
    learnt: Sequence[Mapping[str, NDArray[Any]]]
    mean: Floats
    std: Floats

    @classmethod
    def fit(
        cls,
        chosen: Sequence[FeatureSpec],
        image: Image,
        read: Callable[[NDArray[np.int64]], Floats],
        n_rows: int,
        seed: int,
    ) -> FittedFeatures:
        """Learn from the rows (R, F) that `read` gives for sorted places in 0..n_rows-1, training rows alone."""
        widest = max(image.size, *(one.row.width(image, one.options) for one in chosen))
        count = min(n_rows, SAMPLE_ROWS, SAMPLE_NUMBERS // widest)
        rows = np.unique(np.linspace(0, n_rows - 1, count).astype(np.int64))
        images = read(rows)
        low, high = min(float(images.min()), 0.0), max(float(images.max()), 1.0)
        sample = Sample(lambda places: (read(places) - low) / (high - low), n_rows, image.shape, seed)
        learnt = [one.row.fit(sample, one.options) if one.row.fit else {} for one in chosen]
        bare = cls(chosen, image, low, high, learnt, np.zeros(0), np.ones(0))
        figures = [_figures(bare.measured(place, images)) for place, one in enumerate(chosen) if one.row.measure]
        mean, std = (np.concatenate(parts) for parts in zip(*figures, strict=True))
        return cls(chosen, image, low, high, learnt, mean, std)

    def width(self, raw: int) -> int:
        """Inputs of the net, where the raw ones are so many."""
        return len(self.mean) + raw * sum(one.row.measure is None for one in self.chosen)

    @property
    def work(self) -> int:
        """Multiplications, about, that one image costs."""
        return sum(one.row.work(self.image, one.options) for one in self.chosen)

    def measured(self, place: int, cells: Floats) -> Floats:
        """What one featuriser makes of images (R, F), before it is standardised: blocks of rows, side by side."""
        one = self.chosen[place]
        width = one.row.width(self.image, one.options)
        out = np.empty((len(cells), width))
        step = max(1, _BLOCK // max(width, one.row.held(self.image, one.options)))
        measure = partial(_measure_of(one.row), NumpyOperations)

        def fill(start: int) -> None:
            scaled = (cells[start : start + step] - self.low) / (self.high - self.low)
            out[start : start + step] = measure(scaled, self.image.shape, one.options, self.learnt[place])

        starts = range(0, len(cells), step)
        with ThreadPoolExecutor(available_threads()) as pool, ALONE:
            deque(pool.map(fill, starts) if len(starts) > 1 else map(fill, starts), maxlen=0)
        return out

    def transform(self, cells: Floats, raw: Floats) -> Floats:
        """Images (R, F) without gaps, and the inputs that they would be without featurisers -> inputs (R, I)."""
        parts, begin = [], 0
        for place, one in enumerate(self.chosen):
            if one.row.measure is None:
                parts.append(raw)
                continue
            found = self.measured(place, cells)
            end = begin + found.shape[1]
            parts.append((found - self.mean[begin:end]) / self.std[begin:end])
            begin = end
        return np.concatenate(parts, axis=1)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that a weights file holds."""
        found: dict[str, NDArray[Any]] = {
            f"{_PREFIX}_image": np.array(self.image.shape, np.int64),
            f"{_PREFIX}_range": np.array([self.low, self.high]),
            f"{_PREFIX}_mean": self.mean,
            f"{_PREFIX}_std": self.std,
        }
        for place, learnt in enumerate(self.learnt):
            found |= {f"{_PREFIX}{place}_{name}": array for name, array in learnt.items()}
        return found

    @classmethod
    def from_arrays(cls, chosen: Sequence[FeatureSpec], arrays: Mapping[str, NDArray[Any]]) -> FittedFeatures:
        """Back from `arrays`. Raises KeyError for a missing array, ValueError for one of another shape."""
        height, width, channels = map(int, arrays[f"{_PREFIX}_image"])
        low, high = map(float, arrays[f"{_PREFIX}_range"])
        learnt = [learnt_by(place, arrays) for place in range(len(chosen))]
        mean, std = arrays[f"{_PREFIX}_mean"], arrays[f"{_PREFIX}_std"]
        return cls(chosen, Image(height, width, channels), low, high, learnt, mean, std)


def learnt_by(place: int, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays of the featuriser at a place of the list, by the names that it knows."""
    prefix = f"{_PREFIX}{place}_"
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _measure_of(row: Featuriser) -> Callable[..., Floats]:
    if row.measure is None:
        raise ValueError(f"{row.name} measures nothing")
    return row.measure


def _figures(values: Floats) -> tuple[Floats, Floats]:
    """The columns' means, and for each the root of all columns' mean variance, or 1 where that is but rounding."""
    spread = float(np.sqrt(values.var(axis=0).mean()))
    if spread <= 1e-9 * max(1e-300, float(np.abs(values).max())):
        spread = 1.0
    return np.asarray(values.mean(axis=0)), np.full(values.shape[1], spread)
