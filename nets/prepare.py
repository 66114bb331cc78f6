"""From a table and a resolved spec to arrays that a net trains on.

Axis legend: R rows, I inputs, O outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.errors import InvalidInput
from kernels.random import Stream, permutation
from nets.preprocess import Preprocessing
from nets.resolve import split_sizes
from nets.spec import ResolvedSpec
from nets.table import Table, TableInfo

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PreparedData:
    """Inputs x (R, I) in the job's dtype; y (R,) int64 class codes or (R, O) values in the job's dtype.

    `row_weight` (R_train,) float64 scales each training row's loss (row and class weights); None means 1.
    """

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_val: NDArray[Any]
    y_val: NDArray[Any]
    n_inputs: int
    n_outputs: int
    task: str
    preprocessing: Preprocessing | None = None
    row_weight: NDArray[np.float64] | None = None


def prepare(table: Table, spec: ResolvedSpec) -> PreparedData:
    """Split, fit the preprocessing on the training rows, transform both parts.

    Raises InvalidInput where a class would have no training row, and for values that are not finite.
    """
    table = table.weighted_by(spec.training.sample_weight)
    return _prepared(table, spec, *split(table, spec.training.seed, spec.training.validation_fraction))


def prepare_folds(table: Table, spec: ResolvedSpec) -> tuple[PreparedData, ...]:
    """The data of every fold: its own rows to validate on, all others to train and to fit the preprocessing on.

    Empty without `training.folds`. Raises InvalidInput as `prepare` does.
    """
    table = table.weighted_by(spec.training.sample_weight)
    parts = fold_rows(table, spec.training.seed, spec.training.folds or 0)
    return tuple(_prepared(table, spec, np.setdiff1d(np.arange(table.info.n_rows), rows), rows) for rows in parts)


def _prepared(table: Table, spec: ResolvedSpec, train: Rows, val: Rows) -> PreparedData:
    training, dtype = spec.training, np.dtype(spec.training.precision)
    preprocessing = Preprocessing.fit(table, train)
    x_train = preprocessing.transform(table.x[train], dtype)
    x_val = preprocessing.transform(table.x[val], dtype)
    if table.info.task == "classification":
        y_train, y_val = table.y[train], table.y[val]
    else:
        y_train, y_val = (preprocessing.transform_target(table.y[rows], dtype) for rows in (train, val))
        _check_finite("y", y_train, y_val)
    _check_finite("x", x_train, x_val)
    return PreparedData(
        x_train,
        y_train,
        x_val,
        y_val,
        table.info.n_inputs,
        table.info.n_outputs,
        table.info.task,
        preprocessing,
        _row_weight(table, train, training.class_weight),
    )


def split(table: Table, seed: int, validation_fraction: float) -> tuple[Rows, Rows]:
    """(training rows, validation rows), each in the table's order; stratified by class.

    The sizes are exactly those of `split_sizes`. Every class keeps a training row.
    """
    n_train, n_val = split_sizes(table.info.n_rows, validation_fraction)
    if n_val == 0:
        return np.arange(n_train), np.arange(0)
    order = permutation(seed, 0, table.info.n_rows, stream=Stream.SPLIT)
    if table.info.task == "regression":
        return np.sort(order[n_val:]), np.sort(order[:n_val])
    codes = table.y[order]
    counts = np.bincount(codes, minlength=len(table.info.classes))
    quota = _quota(counts, n_val)
    rank = np.empty(len(codes), np.int64)  # position of a row among those of its class, in shuffled order
    rank[np.argsort(codes, kind="stable")] = np.concatenate([np.arange(n) for n in counts])
    chosen = rank < quota[codes]
    return np.sort(order[~chosen]), np.sort(order[chosen])


def fold_rows(table: Table, seed: int, folds: int) -> list[Rows]:
    """The rows of every fold, in the table's order: each row in one fold, sizes and classes as even as they can be.

    A class of two rows or more is never whole in one fold. Raises InvalidInput for a class of one row.
    """
    n_rows = table.info.n_rows
    if folds == 0:
        return []
    order = permutation(seed, 0, n_rows, stream=Stream.SPLIT, lane=1)
    if table.info.task == "classification":
        counts = np.bincount(table.y, minlength=len(table.info.classes))
        if (counts == 1).any():
            name = table.info.classes[int((counts == 1).argmax())]
            raise InvalidInput.at("/training/folds", f"leaves no training row for class {name!r}, which has one row")
        order = order[np.argsort(table.y[order], kind="stable")]  # dealt out class by class
    return [np.sort(order[fold::folds]) for fold in range(folds)]


def _quota(counts: NDArray[np.int64], n_val: int) -> NDArray[np.int64]:
    """Validation rows of every class: proportional, largest remainders first, never a class's last row."""
    exact = counts * (n_val / counts.sum())
    most = np.maximum(counts - 1, 0)
    quota = np.minimum(np.floor(exact).astype(np.int64), most)
    while quota.sum() < n_val:
        room = quota < most
        if not room.any():
            raise InvalidInput.at(
                "/training/validation_fraction", f"takes {n_val} rows and leaves no training row for some class"
            )
        quota[np.argmax(np.where(room, exact - quota, -np.inf))] += 1
    return np.asarray(quota)


def _row_weight(table: Table, train: Rows, class_weight: str | dict[str, float] | None) -> NDArray[np.float64] | None:
    """The table's own weights times those of the classes; None where there are neither."""
    by_class = _class_weight(table.info, table.y[train], class_weight)
    if table.weight is None:
        return by_class
    own = np.asarray(table.weight[train], np.float64)
    if not own.any():
        raise InvalidInput.at("/training/sample_weight", "gives weight 0 to every training row")
    return own if by_class is None else own * by_class


def _class_weight(
    info: TableInfo, codes: NDArray[np.int64], class_weight: str | dict[str, float] | None
) -> NDArray[np.float64] | None:
    """balanced: rows / (classes · rows of the class); else the given weight of the row's class, default 1."""
    if class_weight is None:
        return None
    if isinstance(class_weight, str):
        counts = np.maximum(np.bincount(codes, minlength=len(info.classes)), 1)
        by_class = len(codes) / (len(info.classes) * counts)
    else:
        by_class = np.array([class_weight.get(name, 1.0) for name in info.classes])
        if not by_class[codes].any():
            raise InvalidInput.at("/training/class_weight", "gives weight 0 to every training row")
    return np.asarray(by_class[codes], np.float64)


def _check_finite(name: str, *parts: NDArray[Any]) -> None:
    for part in parts:
        if not np.isfinite(part).all():
            row, column = np.argwhere(~np.isfinite(part))[0]
            raise InvalidInput.at("/dataset", f"{name} is not finite in this precision (row {row}, column {column})")
