"""From cells to inputs: standardise, impute, one-hot; fitted on training rows, stored with the weights.

Axis legend: R rows, F columns, I inputs of the net.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nets.table import Table

Floats = NDArray[np.float64]
_BLOCK = 1 << 22
"""Cells that one block of a transformation holds in float64 (32 MiB)."""


@dataclass(frozen=True)
class Preprocessing:
    """What turns a table's cells into a net's inputs, and a net's outputs into target values.

    Column j is numeric if `categories[j] == 0`: (cell - mean) / std with missing cells replaced by the
    median first. Otherwise it has that many categories and becomes as many inputs, one-hot; a missing or
    unseen category is all zeros. Regression targets are standardised by `target_mean` and `target_std`.
    """

    mean: Floats
    std: Floats
    median: Floats
    categories: NDArray[np.int64]
    target_mean: float
    target_std: float

    @property
    def n_inputs(self) -> int:
        """Inputs of the net: one per numeric column, one per category of the others."""
        return int(np.maximum(self.categories, 1).sum())

    @classmethod
    def fit(cls, table: Table, rows: NDArray[np.int64]) -> Preprocessing:
        """Statistics of the given (training) rows. A constant column gets std 1, an empty one median 0."""
        info = table.info
        width = len(info.columns)
        mean, std, median = np.zeros(width), np.ones(width), np.zeros(width)
        categories = np.array([len(c.categories) if c.kind == "categorical" else 0 for c in info.columns], np.int64)
        incomplete = np.array([c.missing > 0 for c in info.columns], bool)
        for j in np.flatnonzero((categories == 0) & (incomplete | info.standardize)):
            cells = table.x[rows, j].astype(np.float64)
            cells = np.sort(cells[~np.isnan(cells)])
            if len(cells) == 0:
                continue
            median[j] = (cells[(len(cells) - 1) // 2] + cells[len(cells) // 2]) / 2
            if info.standardize:
                mean[j] = cells.mean()
                std[j] = _spread(cells)
        target_mean, target_std = 0.0, 1.0
        if info.task == "regression":
            target = table.y[rows].astype(np.float64)
            target_mean, target_std = float(target.mean()), _spread(target)
        return cls(mean, std, median, categories, target_mean, target_std)

    def transform(self, x: NDArray[Any], dtype: np.dtype[Any] | type = np.float32) -> NDArray[Any]:
        """Cells (R, F) -> inputs (R, I), computed in float64 and rounded once to `dtype`."""
        out = np.empty((len(x), self.n_inputs), dtype)
        step = max(1, _BLOCK // max(1, self.n_inputs))
        for start in range(0, len(x), step):
            block = np.asarray(x[start : start + step], np.float64)
            with np.errstate(over="ignore"):  # what overflows becomes inf, which `prepare` refuses
                out[start : start + step] = self._transform(block)
        return out

    def _transform(self, cells: Floats) -> Floats:
        numeric = self.categories == 0
        scaled = np.where(np.isnan(cells), self.median, cells)
        scaled = (scaled - self.mean) / self.std
        if numeric.all():
            return np.asarray(scaled)
        parts: list[NDArray[Any]] = []
        for j, count in enumerate(self.categories):
            parts.append(scaled[:, j : j + 1] if count == 0 else cells[:, j : j + 1] == np.arange(count))
        return np.concatenate(parts, axis=1, dtype=np.float64)

    def transform_target(self, y: NDArray[Any], dtype: np.dtype[Any] | type = np.float32) -> NDArray[Any]:
        """Target values (R,) -> training targets (R, 1)."""
        return ((y.astype(np.float64) - self.target_mean) / self.target_std).astype(dtype)[:, None]

    def restore_target(self, scores: NDArray[Any]) -> Floats:
        """A net's outputs (R, 1) -> target values (R,) float64."""
        return np.asarray(scores[:, 0].astype(np.float64) * self.target_std + self.target_mean)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that a weights file holds, prefixed `input_` and `target_`."""
        return {
            "input_mean": self.mean,
            "input_std": self.std,
            "input_median": self.median,
            "input_categories": self.categories,
            "target_mean": np.array(self.target_mean),
            "target_std": np.array(self.target_std),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Preprocessing:
        """Back from `arrays`. Raises KeyError for a missing array."""
        return cls(
            arrays["input_mean"],
            arrays["input_std"],
            arrays["input_median"],
            arrays["input_categories"],
            float(arrays["target_mean"]),
            float(arrays["target_std"]),
        )


def _spread(values: Floats) -> float:
    """Standard deviation, or 1 where there is none beyond rounding."""
    std = float(values.std())
    return std if std > 1e-12 * max(1e-300, float(np.abs(values).max())) else 1.0
