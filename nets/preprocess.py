"""From cells to inputs: standardise, impute, one-hot, dates, featurisers; fitted on training rows, kept with weights.

Axis legend: R rows, F columns, I inputs of the net.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.dates import DAY_S
from nets.choices import FeatureSpec
from nets.features.fitted import FittedFeatures
from nets.selection import Cells
from nets.table import DATE_INPUTS, MAX_ONE_HOT, Table

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

CYCLES_S = np.array([1.0, 7.0, 365.2425]) * DAY_S
"""Seconds of a day, a week and a mean year."""

_BLOCK = 1 << 18
"""Cells that one block of a transformation holds in float64: 2 MiB, which a cache of the second level takes."""


@dataclass(frozen=True)
class Preprocessing:
    """What turns a table's cells into a net's inputs, and a net's outputs into target values.

    Column j is a number unless `categorical[j]`: (cell - mean) / std with missing cells replaced by the median first.
    A date-time has more inputs of the same cell (`_cycles`), and where `indicator[j]` one more is 1 if it was missing.
    A categorical column has `categories[j]` of them; `slots` holds for each, and then for all others, which of the
    column's inputs is 1, or -1 for none. A missing category is none, as is one that no training row had; with more
    than MAX_ONE_HOT categories the last input stands for all but the most frequent ones of the training rows.
    Regression targets are standardised by `target_mean` and `target_std`. Of images `features` make the inputs, from
    the cells without gaps and from what is told above; None leaves it at that.
    """

    mean: Floats
    std: Floats
    median: Floats
    categories: NDArray[np.int64]
    categorical: NDArray[np.bool_]
    dates: NDArray[np.bool_]
    indicator: NDArray[np.bool_]
    slots: NDArray[np.int64]
    target_mean: float
    target_std: float
    features: FittedFeatures | None = None

    @cached_property
    def n_inputs(self) -> int:
        """Inputs of the net."""
        raw = int(sum(map(self.width, range(len(self.mean)))))
        return raw if self.features is None else self.features.width(raw)

    def width(self, j: int) -> int:
        """Inputs of column j."""
        if self.categorical[j]:
            count = int(self.categories[j])
            return max(count, 1) if count <= MAX_ONE_HOT else MAX_ONE_HOT + 1
        return (DATE_INPUTS if self.dates[j] else 1) + int(self.indicator[j])

    @classmethod
    def fit(
        cls, table: Table, rows: NDArray[np.int64], features: Sequence[FeatureSpec] = (), seed: int = 0
    ) -> Preprocessing:
        """Statistics of the given (training) rows. A constant column gets std 1, an empty one median 0."""
        info = table.info
        width = len(info.columns)
        mean, std, median = np.zeros(width), np.ones(width), np.zeros(width)
        categorical = np.array([c.kind == "categorical" for c in info.columns], bool)
        dates = np.array([c.kind == "datetime" for c in info.columns], bool)
        incomplete = np.array([c.missing > 0 for c in info.columns], bool)
        for columns, cells in _sorted_columns(table.x, rows, ~categorical & (incomplete | dates | info.standardize)):
            median[columns] = (cells[:, (cells.shape[1] - 1) // 2] + cells[:, cells.shape[1] // 2]) / 2
            if info.standardize or dates[columns].all():
                mean[columns], std[columns] = _centres_and_spreads(cells)
            elif dates[columns].any():
                dated = dates[columns]
                mean[columns[dated]], std[columns[dated]] = _centres_and_spreads(cells[dated])
        target_mean, target_std = 0.0, 1.0
        if info.task == "regression":
            target = table.y[rows].astype(np.float64)
            target_mean, target_std = (float(one[0]) for one in _centres_and_spreads(target[None]))
        counts = np.array([len(c.categories) if c.kind == "categorical" else 0 for c in info.columns], np.int64)
        slots = [_slots(table.x[rows, j], int(counts[j])) for j in np.flatnonzero(categorical)]
        return cls(
            mean,
            std,
            median,
            counts,
            categorical,
            dates,
            np.array([c.has_indicator for c in info.columns], bool),
            np.concatenate([np.empty(0, np.int64), *slots]),
            target_mean,
            target_std,
            _fitted(table, rows, median, features, seed),
        )

    def transform(
        self, x: Cells, dtype: np.dtype[Any] | type = np.float32, rows: NDArray[np.int64] | None = None
    ) -> NDArray[Any]:
        """Cells (·, F) of these rows (R,), else of all -> inputs (R, I), computed in float64 and rounded once."""
        width, count = self.n_inputs, len(x if rows is None else rows)
        out = np.empty((count, width), dtype)
        step = max(1, _BLOCK // max(1, width, len(self.mean)))
        for start in range(0, count, step):
            part = slice(start, start + step)
            block = np.asarray(x[part if rows is None else rows[part]], np.float64)
            with np.errstate(over="ignore"):  # what overflows becomes inf, which `prepare` refuses
                out[part] = self._transform(block)
        return out

    def _transform(self, cells: Floats) -> Floats:
        absent = np.isnan(cells)
        filled = np.where(absent, self.median, cells)
        raw = self._raw(cells, absent, filled)
        return raw if self.features is None else self.features.transform(filled, raw)

    def _raw(self, cells: Floats, absent: NDArray[np.bool_], filled: Floats) -> Floats:
        scaled = (filled - self.mean) / self.std
        if not (self.categorical.any() or self.dates.any() or self.indicator.any()):
            return np.asarray(scaled)
        parts: list[NDArray[Any]] = []
        begin = 0
        for j in range(len(self.mean)):
            if self.categorical[j]:
                end = begin + int(self.categories[j]) + 1
                parts.append(_one_hot(cells[:, j], self.slots[begin:end], self.width(j)))
                begin = end
                continue
            parts.append(scaled[:, j : j + 1])
            if self.dates[j]:
                parts.append(_cycles(filled[:, j]))
            if self.indicator[j]:
                parts.append(absent[:, j : j + 1])
        return np.concatenate(parts, axis=1, dtype=np.float64)

    def unseen(self, cells: Floats) -> NDArray[np.bool_]:
        """Where cells (R, F) hold a category that no training row had.

        Of a column with more than MAX_ONE_HOT categories it is not kept which those were: there one that no row had.
        """
        found, begin = np.zeros(cells.shape, bool), 0
        for j in np.flatnonzero(self.categorical):
            count = int(self.categories[j])
            known = np.flatnonzero(self.slots[begin : begin + count] >= 0)
            found[:, j] = ~(np.isnan(cells[:, j]) | np.isin(cells[:, j], known))
            begin += count + 1
        return found

    def transform_target(self, y: NDArray[Any], dtype: np.dtype[Any] | type = np.float32) -> NDArray[Any]:
        """Target values (R,) -> training targets (R, 1)."""
        return ((y.astype(np.float64) - self.target_mean) / self.target_std).astype(dtype)[:, None]

    def restore_target(self, scores: NDArray[Any]) -> Floats:
        """A net's outputs (R, 1) -> target values (R,) float64."""
        return np.asarray(scores[:, 0].astype(np.float64) * self.target_std + self.target_mean)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that a weights file holds, prefixed `input_` and `target_`."""
        made = {} if self.features is None else self.features.arrays()
        return {
            "input_mean": self.mean,
            "input_std": self.std,
            "input_median": self.median,
            "input_categories": self.categories,
            "input_categorical": self.categorical,
            "input_dates": self.dates,
            "input_indicator": self.indicator,
            "input_slots": self.slots,
            "target_mean": np.array(self.target_mean),
            "target_std": np.array(self.target_std),
            **made,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], features: Sequence[FeatureSpec] = ()) -> Preprocessing:
        """Back from `arrays` and the featurisers of the spec. Raises KeyError for a missing array."""
        return cls(
            arrays["input_mean"],
            arrays["input_std"],
            arrays["input_median"],
            arrays["input_categories"],
            arrays["input_categorical"],
            arrays["input_dates"],
            arrays["input_indicator"],
            arrays["input_slots"],
            float(arrays["target_mean"]),
            float(arrays["target_std"]),
            FittedFeatures.from_arrays(features, arrays) if _measures(features) else None,
        )


def _measures(features: Sequence[FeatureSpec]) -> bool:
    """Whether inputs are anything but the raw ones."""
    return any(one.row.measure for one in features)


def _fitted(
    table: Table, rows: NDArray[np.int64], median: Floats, features: Sequence[FeatureSpec], seed: int
) -> FittedFeatures | None:
    """The featurisers, fitted on these rows of images."""
    image = table.info.image
    if image is None or not _measures(features):
        return None

    def read(places: NDArray[np.int64]) -> Floats:
        cells = np.asarray(table.x[rows[places]], np.float64)
        return np.where(np.isnan(cells), median, cells)

    return FittedFeatures.fit(features, image, read, len(rows), seed)


def _slots(cells: NDArray[Any], n_categories: int) -> NDArray[np.int64]:
    """Which input is 1 for each category and, at the end, for all others (n_categories + 1,); -1: none."""
    codes = cells[~np.isnan(cells)].astype(np.int64)
    counts = np.bincount(np.minimum(codes, n_categories), minlength=n_categories + 1)[:n_categories]
    if n_categories <= MAX_ONE_HOT:
        return np.append(np.where(counts > 0, np.arange(n_categories), -1), -1)
    slots = np.full(n_categories + 1, MAX_ONE_HOT)
    kept = np.sort(np.argsort(-counts, kind="stable")[:MAX_ONE_HOT])
    kept = kept[counts[kept] > 0]
    slots[kept] = np.arange(len(kept))
    return slots


def _one_hot(cells: Floats, slots: NDArray[np.int64], width: int) -> NDArray[np.bool_]:
    codes = np.where(np.isnan(cells), -1, np.clip(np.nan_to_num(cells), -1, len(slots) - 1)).astype(np.intp)
    chosen = np.where(codes < 0, -1, slots[codes])
    return np.asarray(chosen[:, None] == np.arange(width))


def _cycles(seconds: Floats) -> Floats:
    """Sine and cosine of the time of day, of the week and of the year (R, 6), for seconds since 1970."""
    angles = 2 * np.pi * seconds[:, None] / CYCLES_S
    return np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(len(seconds), 2 * len(CYCLES_S))


def _sorted_columns(x: Cells, rows: NDArray[np.int64], wanted: NDArray[np.bool_]) -> Iterator[tuple[Places, Floats]]:
    """Wanted columns with as many known cells in these rows, and those cells in ascending order (K, N).

    A few at a time; columns that hold no cell are left out.
    """
    places, step = np.flatnonzero(wanted), max(1, _BLOCK // max(1, len(rows)))
    for start in range(0, len(places), step):
        part = places[start : start + step]
        cells = np.array(x[rows[:, None], part].T, np.float64, order="C")
        cells.sort(axis=1)  # NaN comes last
        known = np.count_nonzero(~np.isnan(cells), axis=1)
        for count in np.unique(known[known > 0]):
            yield part[known == count], np.ascontiguousarray(cells[known == count, :count])


def _centres_and_spreads(values: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each row (K, N), or 1 where there is none beyond rounding.

    Of values whose squares overflow too.
    """
    largest = np.abs(values).max(axis=1)
    unit = np.where((largest == 0.0) | ((largest > 1e-100) & (largest < 1e100)), 1.0, largest)
    scaled = values / unit[:, None]
    std = scaled.std(axis=1) * unit
    return scaled.mean(axis=1) * unit, np.where(std > 1e-12 * np.maximum(1e-300, largest), std, 1.0)
