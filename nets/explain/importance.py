"""How much worse a net does where a column's values are shuffled among the rows (Breiman 2001; Fisher et al. 2019).

The columns are those of the data set: a category is shuffled as one, whatever inputs it becomes. Of images the pixels
are shuffled with all their channels, and where they are too many for the work that is allowed, square patches of them.
Axis legend: R rows, F columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.errors import InvalidInput
from kernels.random import Stream, permutation
from nets.explain.subject import Floats, Subject, finite, spread
from nets.options import Option, Value
from nets.parts import Rows
from nets.scoring import BLOCK_INPUTS, sample_losses
from nets.table import Image

REPEATS = Option("repeats", 5, "Shuffles of every column", low=1, high=30)
COLUMNS = Option(
    "columns", 256, "Most columns, those with the largest weights first; most patches of an image", low=1, high=4096
)
METRIC = Option("metric", "score", "What gets worse: score is accuracy or R²", choices=("score", "loss"))
OPERATIONS = 3e10
"""Multiplications that it may cost, some seconds."""
MOST_ROWS, LEAST_ROWS = 2_000, 100
"""Rows, evenly spread over those asked for, that columns are shuffled in."""
_OVERHEAD = 100
"""What an input costs beside its weights, in multiplications."""


@dataclass(frozen=True)
class Group:
    """Columns that are shuffled together."""

    name: str
    columns: list[int]


def compute(subject: Subject, options: Mapping[str, Value]) -> dict[str, Any]:
    """Mean and standard deviation of what is lost, per column or patch, the most important one first."""
    info, repeats, metric = subject.predictor.info, int(options["repeats"] or 0), str(options["metric"])
    part, rows = subject.rows(str(options["rows"]))
    groups, patch = _groups(subject, min(int(options["columns"] or 0), _affordable_groups(subject, len(rows), repeats)))
    rows = spread(rows, _affordable_rows(subject, len(rows), repeats * len(groups)))
    measure = _Measure(subject, rows, metric)
    cells = subject.cells(rows)
    (base,) = measure(cells)
    found = []
    for group in groups:
        worse = [measure.worse(base, value) for value in _values(measure, cells, group.columns, repeats)]
        found.append((group, float(np.mean(worse)), float(np.std(worse))))
    found.sort(key=lambda one: (-one[1], one[0].columns))
    left_out = len(info.columns) - sum(len(group.columns) for group in groups)
    return {
        "rows": part,
        "n_rows": len(rows),
        "metric": measure.name,
        "baseline": finite(base),
        "repeats": repeats,
        "columns": [
            {"name": group.name, "columns": group.columns, "mean": finite(mean), "std": finite(std)}
            for group, mean, std in found
        ],
        "image": None if patch is None or subject.image is None else asdict(subject.image),
        "patch": patch,
        "left_out": left_out,
        "note": f"only the {len(found)} columns with the largest weights behind them were shuffled"
        if left_out
        else None,
    }


def _cost(subject: Subject) -> float:
    """Multiplications that one row costs."""
    preprocessing = subject.predictor.preprocessing
    made = 0 if preprocessing.features is None else preprocessing.features.work
    return subject.predictor.layout.count + _OVERHEAD * preprocessing.n_inputs + made


def _affordable_groups(subject: Subject, rows: int, repeats: int) -> int:
    """Columns that can be shuffled in the least rows. Raises InvalidInput for a net that is too large for one."""
    groups = int(OPERATIONS / (_cost(subject) * repeats * min(rows, LEAST_ROWS)))
    if groups < 1:
        raise InvalidInput.at("/query/repeats", f"is {repeats}; the net is too large for so many shuffles")
    return groups


def _affordable_rows(subject: Subject, rows: int, shuffles: int) -> int:
    least = min(rows, LEAST_ROWS)
    return max(least, min(rows, MOST_ROWS, int(OPERATIONS / (_cost(subject) * shuffles))))


def _groups(subject: Subject, most: int) -> tuple[list[Group], int | None]:
    """At most so many groups, and the side of an image's patches in pixels; None where there is no image."""
    columns, image = subject.predictor.info.columns, subject.image
    if image is None or image.size != len(columns):
        return [Group(columns[j].name, [j]) for j in _heaviest(subject, most)], None
    side = next(s for s in range(1, max(image.height, image.width) + 1) if _patches(image, s) <= most)
    places = np.arange(image.size).reshape(image.height, image.width, image.channels)
    groups = []
    for top in range(0, image.height, side):
        for left in range(0, image.width, side):
            patch = places[top : top + side, left : left + side]
            lines, across = patch.shape[:2]
            name = f"rows {top}..{top + lines - 1}, columns {left}..{left + across - 1}"
            single = patch.size == 1
            groups.append(Group(columns[patch.item()].name if single else name, patch.reshape(-1).tolist()))
    return groups, side


def _patches(image: Image, side: int) -> int:
    return -(-image.height // side) * -(-image.width // side)


def _heaviest(subject: Subject, count: int) -> list[int]:
    """Columns by the largest weight of their inputs, in the table's order."""
    predictor = subject.predictor
    widths = [column.n_inputs for column in predictor.info.columns]
    if count >= len(widths):
        return list(range(len(widths)))
    norms = np.linalg.norm(predictor.layout.named(predictor.flat)["W1"], axis=1)
    starts = np.cumsum([0, *widths[:-1]])
    return sorted(np.argsort(-np.maximum.reduceat(norms, starts), kind="stable")[:count].tolist())


def _values(measure: _Measure, cells: Floats, columns: list[int], repeats: int) -> list[float]:
    """The figure after every shuffle of these columns; the net predicts as many of them at once as memory allows."""
    orders = [permutation(0, k, len(cells), stream=Stream.EXPLAIN, lane=columns[0]) for k in range(repeats)]
    step = max(1, BLOCK_INPUTS // cells.size)
    found: list[float] = []
    for start in range(0, repeats, step):
        chosen = orders[start : start + step]
        changed = np.tile(cells, (len(chosen), 1))
        changed[:, columns] = cells[np.concatenate(chosen)][:, columns]
        found += measure(changed)
    return found


class _Measure:
    """One figure of the net on the given rows, whatever their cells."""

    def __init__(self, subject: Subject, rows: Rows, metric: str) -> None:
        self._subject, self._truth, self._loses = subject, subject.truth(rows), metric == "loss"
        self._by_class = subject.predictor.info.task == "classification"
        self.name = "loss" if self._loses else "accuracy" if self._by_class else "r2"

    def __call__(self, cells: Floats) -> list[float]:
        """The figure of each copy of the rows that `cells` (copies·R, F) holds; NaN where it is not defined."""
        scores = self._subject.scores(cells)
        return [self._of(scores[at : at + len(self._truth)]) for at in range(0, len(scores), len(self._truth))]

    def _of(self, scores: NDArray[Any]) -> float:
        known = self._subject.known
        if self._loses:
            return float(
                sample_losses(
                    known.loss, known.spec.loss.options, scores, self._subject.targets(self._truth, scores)
                ).mean()
            )
        if self._by_class:
            return float((known.loss.classes(scores, axis=1) == self._truth).mean())
        residual = self._subject.predictor.preprocessing.restore_target(scores) - self._truth
        around = float(((self._truth - self._truth.mean()) ** 2).sum())
        return 1.0 - float((residual**2).sum()) / around if around > 0 else float("nan")

    def worse(self, before: float, after: float) -> float:
        """How much worse `after` is."""
        return after - before if self._loses else before - after
