"""Which rows of a data set train a net, which validate and which test it; a column that says so is no input.

Axis legend: R rows. Rows that test are put aside first; nothing is ever learnt from them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.errors import InvalidInput
from kernels.random import Stream, permutation
from nets.selection import Selection
from nets.spec_errors import shown
from nets.split_spec import ColumnSplit
from nets.table import PART, Column, Table, TableInfo
from nets.training_spec import TrainingOptions

Rows = NDArray[np.int64]

_TRAIN, _VALIDATE, _TEST = 0, 1, 2
_LANE_VALIDATION, _LANE_FOLDS, _LANE_TEST = 0, 1, 2
"""Which numbers of the stream are drawn; part of reproducibility."""
_BLOCK_ROWS = 1 << 20
_SHOWN = 20


class Sizes(NamedTuple):
    """How many rows train, validate and test."""

    train: int
    val: int
    test: int = 0


@dataclass(frozen=True, eq=False)
class Parts:
    """Rows of a table in its order; `val` is empty where another data set validates."""

    train: Rows
    val: Rows
    test: Rows

    def sizes(self, n_validation: int | None = None) -> Sizes:
        """How many there are; another data set may have the rows that validate."""
        return Sizes(len(self.train), len(self.val) if n_validation is None else n_validation, len(self.test))


# ---- what is left for inputs


def inputs_of(info: TableInfo, training: TrainingOptions) -> TableInfo:
    """The description without the columns that weigh rows or say which part they belong to.

    Raises InvalidInput at /training/sample_weight or /training/split/column.
    """
    if training.split is not None:
        place = _place_of(info, training.split)
        if training.split.column == training.sample_weight:
            raise InvalidInput.at("/training/split/column", f"is {shown(training.sample_weight)}, the sample_weight")
        if place is not None:
            info = replace(info, columns=info.columns[:place] + info.columns[place + 1 :], image=None)
            if not info.columns:
                detail = f"is {shown(training.split.column)}, the only column: nothing is left to learn from"
                raise InvalidInput.at("/training/split/column", detail)
    left = info.weighted_by(training.sample_weight)
    return replace(left, parts=()) if left.parts else left  # what was counted of a description is kept with it


def input_table(table: Table, training: TrainingOptions) -> Table:
    """The table without those columns, one of which becomes the weights of its rows; nothing else is copied.

    Raises InvalidInput as `inputs_of` does.
    """
    about, weight, without = inputs_of(table.info, training), table.weight, []
    if training.split is not None and (place := _place_of(table.info, training.split)) is not None:
        without.append(place)
    if training.sample_weight is not None:
        without.append(table.info.column_of_weights(training.sample_weight))
        weight = table.weights_in(without[-1])
    if about == table.info:
        return table
    return Table(about, Selection(table.x, without) if without else table.x, table.y, weight)


def _place_of(info: TableInfo, split: ColumnSplit) -> int | None:
    """The place of the column that splits; None: the parts that the data set came in. Raises InvalidInput."""
    pointer, names = "/training/split/column", [column.name for column in info.columns]
    if split.column not in names:
        if split.column == PART and info.parts:
            return None
        known = ", ".join(names[:_SHOWN] + [PART] * bool(info.parts))
        raise InvalidInput.at(pointer, f"is {shown(split.column)}; must be one of the columns {known}")
    column = info.columns[names.index(split.column)]
    if column.kind == "datetime":
        raise InvalidInput.at(pointer, f"is {shown(split.column)}, which holds dates; must be texts or numbers")
    if column.missing:
        detail = f"is {shown(split.column)}, which is missing in {column.missing} rows; every row must belong somewhere"
        raise InvalidInput.at(pointer, detail)
    return names.index(split.column)


# ---- how many rows


def split_sizes(n_rows: int, validation_fraction: float) -> tuple[int, int]:
    """(training rows, validation rows); validation gets at least 1 row and leaves at least 1, unless 0."""
    if validation_fraction == 0:
        return n_rows, 0
    validation = min(max(round(n_rows * validation_fraction), 1), n_rows - 1)
    return n_rows - validation, validation


def sizes_of(n_rows: int, training: TrainingOptions, n_validation: int | None = None) -> Sizes:
    """The sizes of the parts, where they follow from the rows of the data set and of the one that validates."""
    if training.split is not None or (training.validation_dataset is not None) != (n_validation is not None):
        raise ValueError("these parts depend on the cells, or on another data set")
    sizes = _drawn_sizes(n_rows, training)
    return sizes if n_validation is None else sizes._replace(val=n_validation)


def _drawn_sizes(n_rows: int, training: TrainingOptions) -> Sizes:
    """Of rows without a part of their own: what is drawn from them."""
    if training.test_fraction is not None and n_rows < 2:
        raise InvalidInput.at("/training/test_fraction", "must be left out: there is one row, and one has to train")
    n_rest, n_test = split_sizes(n_rows, training.test_fraction or 0.0)
    fraction = 0.0 if training.validation_named else training.validation_fraction
    if fraction and n_rest < 2:
        said = "the data set has one row" if n_rows < 2 else f"{n_rest} row is left to train"
        raise InvalidInput.at("/training/validation_fraction", f"must be 0: {said}")
    return Sizes(*split_sizes(n_rest, fraction), n_test)


# ---- which rows


def parts_of(table: Table, training: TrainingOptions) -> Parts:
    """The rows of every part; every class that has rows keeps one to train on.

    The table is as it was stored: the column that splits it is still there. Raises InvalidInput at the field that
    leaves no training row, none for some class, or names a value that no row has.
    """
    place = np.zeros(table.info.n_rows, np.int8) if training.split is None else _assignment(table, training.split)
    free = np.flatnonzero(place == _TRAIN)
    if len(free) == 0:
        raise InvalidInput.at("/training/split", "leaves no row to train on")
    sizes = _drawn_sizes(len(free), training)
    for lane, part, count, field in (
        (_LANE_TEST, _TEST, sizes.test, "test_fraction"),
        (_LANE_VALIDATION, _VALIDATE, sizes.val, "validation_fraction"),
    ):
        chosen = _draw(table, free, count, training, lane, f"/training/{field}")
        place[free[chosen]] = part
        free = free[~chosen]
    parts = Parts(*(np.flatnonzero(place == part) for part in (_TRAIN, _VALIDATE, _TEST)))
    _check_classes(table, parts.train, training)
    return parts


def _draw(
    table: Table, rows: Rows, count: int, training: TrainingOptions, lane: int, pointer: str
) -> NDArray[np.bool_]:
    """Which of `rows` are drawn: `count` of them, of every class its share unless that is not wanted."""
    chosen = np.zeros(len(rows), bool)
    if count == 0:
        return chosen
    order = permutation(training.seed, 0, len(rows), stream=Stream.SPLIT, lane=lane)
    if table.info.task == "regression" or training.stratify is False:
        chosen[order[:count]] = True
        return chosen
    codes = table.y[rows[order]]
    counts = np.bincount(codes, minlength=len(table.info.classes))
    quota = _quota(counts, count, pointer)
    rank = np.empty(len(codes), np.int64)  # position of a row among those of its class, in shuffled order
    rank[np.argsort(codes, kind="stable")] = np.concatenate([np.arange(n) for n in counts])
    chosen[order] = rank < quota[codes]
    return chosen


def _quota(counts: NDArray[np.int64], wanted: int, pointer: str) -> NDArray[np.int64]:
    """Rows drawn from every class: proportional, largest remainders first, never a class's last row."""
    exact = counts * (wanted / counts.sum())
    most = np.maximum(counts - 1, 0)
    quota = np.minimum(np.floor(exact).astype(np.int64), most)
    while quota.sum() < wanted:
        room = quota < most
        if not room.any():
            raise InvalidInput.at(pointer, f"takes {wanted} rows and leaves no training row for some class")
        quota[np.argmax(np.where(room, exact - quota, -np.inf))] += 1
    return np.asarray(quota)


def _check_classes(table: Table, train: Rows, training: TrainingOptions) -> None:
    """Refuse parts that leave a class with rows none to train on; draws that keep its share cannot."""
    if table.info.task == "regression" or (training.split is None and training.stratify is not False):
        return
    n_classes = len(table.info.classes)
    lost = np.bincount(table.y[train], minlength=n_classes) == 0
    lost &= np.bincount(table.y, minlength=n_classes) > 0
    if lost.any():
        name = table.info.classes[int(lost.argmax())]
        pointer = "/training/split" if training.split is not None else "/training/stratify"
        said = "" if training.split is not None else "is false and "
        raise InvalidInput.at(pointer, f"{said}leaves no training row for class {shown(name)}")


def fold_rows(table: Table, rows: Rows, seed: int, folds: int) -> list[Rows]:
    """Of `rows` those of every fold, in the table's order: each in one, sizes and classes as even as they can be.

    A class of two rows or more is never whole in one fold. Raises InvalidInput for a class of one row.
    """
    if folds == 0:
        return []
    order = rows[permutation(seed, 0, len(rows), stream=Stream.SPLIT, lane=_LANE_FOLDS)]
    if table.info.task == "classification":
        counts = np.bincount(table.y[rows], minlength=len(table.info.classes))
        if (counts == 1).any():
            name = table.info.classes[int((counts == 1).argmax())]
            raise InvalidInput.at("/training/folds", f"leaves no training row for class {name!r}, which has one row")
        order = order[np.argsort(table.y[order], kind="stable")]  # dealt out class by class
    return [np.sort(order[fold::folds]) for fold in range(folds)]


# ---- parts by a column


def _assignment(table: Table, split: ColumnSplit) -> NDArray[np.int8]:
    """The part that the column gives to every row (R,). Raises InvalidInput for a value that no row has."""
    column, cells = _column(table, split)
    found = np.zeros(table.info.n_rows, np.int8)
    for field, part in (("validation", _VALIDATE), ("test", _TEST)):
        for place, value in enumerate(getattr(split, field) or ()):
            pointer = f"/training/split/{field}/{place}"
            code = _code_of(column, value, pointer)
            hits = 0
            for start in range(0, len(found), _BLOCK_ROWS):
                same = np.asarray(cells[start : start + _BLOCK_ROWS]) == code
                found[start : start + _BLOCK_ROWS][same] = part
                hits += int(np.count_nonzero(same))
            if hits == 0:
                raise InvalidInput.at(pointer, f"is {shown(value)}; no row has it{_values(column)}")
    return found


def _column(table: Table, split: ColumnSplit) -> tuple[Column, NDArray[Any]]:
    """The column that splits, and its cells (R,)."""
    place = _place_of(table.info, split)
    if place is not None:
        return table.info.columns[place], table.x[:, place]
    names, counts = zip(*table.info.parts, strict=True)
    return Column(PART, "categorical", names), np.repeat(np.arange(len(names)), counts)


def _code_of(column: Column, value: str | float, pointer: str) -> float:
    """How the cells of a column write a value. Raises InvalidInput for one that they cannot hold."""
    if column.kind == "numeric" and not column.categories:
        if isinstance(value, str | bool):
            raise InvalidInput.at(pointer, f"is {shown(value)}; must be a number, as {column.name!r:.60} has")
        return float(value)
    if column.kind == "boolean" and not column.categories and value in (0, 1):
        return float(value)
    code = column.code_of(value)
    if code is None:
        raise InvalidInput.at(pointer, f"is {shown(value)}; no row has it{_values(column)}")
    return code


def _values(column: Column) -> str:
    known = ", ".join(map(shown, column.categories[:_SHOWN]))
    more = ", …" if len(column.categories) > _SHOWN else ""
    return f"; must be one of {known}{more}" if known else f" in the column {column.name!r:.60}"
