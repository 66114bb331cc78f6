"""From a table and a resolved spec to arrays that a net trains on.

Axis legend: R rows, I inputs, O outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.errors import InvalidInput
from nets.parts import Parts, Rows, fold_rows, input_table, parts_of
from nets.preprocess import Preprocessing
from nets.scoring import Alignment
from nets.spec import ResolvedSpec
from nets.table import Table, TableInfo

_BLOCK_ROWS = 4096
"""Rows of another table that are aligned at once."""
_BLOCK_CELLS = 1 << 20
"""Inputs that are looked through at once."""


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

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        arrays = (self.x_train, self.y_train, self.x_val, self.y_val, self.row_weight)
        return sum(array.nbytes for array in arrays if array is not None)


def prepare(
    table: Table,
    spec: ResolvedSpec,
    *,
    parts: Parts | None = None,
    validation: Table | None = None,
    fitted: Preprocessing | None = None,
) -> PreparedData:
    """Split, fit the preprocessing on the training rows, transform both parts.

    `parts` are those of `parts_of`, if they are known; `validation` has the rows to validate on, if others do;
    `fitted` is the preprocessing that a fork brings along.
    Raises InvalidInput where a class would have no training row, for values that are not finite, and where early
    stopping watches an R² that the validation rows do not define.
    """
    parts = parts or parts_of(table, spec.training)
    table = input_table(table, spec.training)
    found = _prepared(table, spec, parts.train, parts.val, fitted)
    if validation is not None:
        found = _validated_on(found, table.info, validation)
    _check_stopping(spec, found)
    return found


def prepare_folds(table: Table, spec: ResolvedSpec, *, parts: Parts | None = None) -> tuple[PreparedData, ...]:
    """The data of every fold: its own rows to validate on, all others but those that test to train on.

    Empty without `training.folds`. Raises InvalidInput as `prepare` does.
    """
    if not spec.training.folds:
        return ()
    parts = parts or parts_of(table, spec.training)
    known = np.sort(np.concatenate([parts.train, parts.val]))
    folds = fold_rows(table, known, spec.training.seed, spec.training.folds)
    table = input_table(table, spec.training)
    return tuple(_prepared(table, spec, np.setdiff1d(known, rows), rows) for rows in folds)


def _prepared(
    table: Table, spec: ResolvedSpec, train: Rows, val: Rows, fitted: Preprocessing | None = None
) -> PreparedData:
    training, dtype = spec.training, spec.training.dtype
    preprocessing = fitted or Preprocessing.fit(table, train, spec.features, training.seed)
    x_train = preprocessing.transform(table.x, dtype, train)
    x_val = preprocessing.transform(table.x, dtype, val)
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
        preprocessing.n_inputs,
        table.info.n_outputs,
        table.info.task,
        preprocessing,
        _row_weight(table, train, training.class_weight),
    )


def _check_stopping(spec: ResolvedSpec, data: PreparedData) -> None:
    stopping = spec.training.early_stopping
    if stopping is not None and stopping.metric == "val_r2" and not np.ptp(data.y_val, axis=0).any():
        detail = "is val_r2, which needs targets that differ; those of the validation rows are all the same"
        raise InvalidInput.at("/training/early_stopping/metric", detail)


def _validated_on(data: PreparedData, about: TableInfo, given: Table) -> PreparedData:
    """The same with the rows of another table to validate on. Raises InvalidInput where it does not fit."""
    if data.preprocessing is None:
        raise ValueError("data without preprocessing cannot be validated on other cells")
    align = Alignment(about, given.info)
    dtype = data.x_train.dtype
    x_val = np.empty((given.info.n_rows, data.n_inputs), dtype)
    for start in range(0, len(x_val), _BLOCK_ROWS):
        cells = align.cells(np.asarray(given.x[start : start + _BLOCK_ROWS], np.float64))
        x_val[start : start + _BLOCK_ROWS] = data.preprocessing.transform(cells, dtype)
    if about.task == "classification":
        y_val: NDArray[Any] = align.codes(given.y)
    else:
        y_val = data.preprocessing.transform_target(given.y, dtype)
        _check_finite("y", y_val)
    _check_finite("x", x_val)
    return replace(data, x_val=x_val, y_val=y_val)


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
        step = max(1, _BLOCK_CELLS // part.shape[1])
        for start in range(0, len(part), step):
            finite = np.isfinite(part[start : start + step])
            if not finite.all():
                row, column = np.argwhere(~finite)[0] + (start, 0)
                said = f"{name} is not finite in this precision (row {row}, column {column})"
                raise InvalidInput.at("/dataset", said)
