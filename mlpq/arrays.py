"""NumPy arrays on their way to and from the service, always as plain `.npz`: no pickle in either direction."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlpq.errors import InvalidArgumentError

Array = NDArray[Any]


def table_to_npz(x: ArrayLike, y: ArrayLike) -> bytes:
    """Rows and targets as the bytes of an NPZ file.

    Args:
        x: (n, features), numeric; one-dimensional input is taken as a single feature.
        y: (n,), numbers or class names.

    Raises:
        InvalidArgumentError: lengths differ, or the values are neither numbers nor text.
    """
    rows, targets = np.asarray(x), np.asarray(y)
    rows = rows[:, None] if rows.ndim == 1 else rows
    if rows.ndim < 2 or targets.ndim != 1:
        raise InvalidArgumentError(f"X is {rows.shape} and y is {targets.shape}; must be (n, features) and (n,)")
    if len(rows) != len(targets):
        raise InvalidArgumentError(f"X has {len(rows)} rows and y has {len(targets)}; must be equal")
    if targets.dtype == object:
        targets = targets.astype(str)
    if rows.dtype.kind not in "biuf" or targets.dtype.kind not in "biufU":
        raise InvalidArgumentError(f"X is {rows.dtype} and y is {targets.dtype}; must be numbers (y may be text)")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, X=rows.reshape(len(rows), -1), y=targets)
    return buffer.getvalue()


def arrays_from_npz(content: bytes) -> dict[str, Array]:
    """All arrays of an NPZ file by name; object arrays are refused."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def columns_to_arrays(document: Mapping[str, Any]) -> dict[str, Array]:
    """JSON columns as arrays: `step` and `epoch` int64, everything else float64 with NaN for null."""
    return {
        name: np.asarray(values, dtype=np.int64 if name in ("step", "epoch", "attempt") else np.float64)
        for name, values in document.items()
        if isinstance(values, list)
    }


def json_rows(rows: Any) -> list[Any]:
    """Rows for a JSON body: an array (n, features), a sequence of rows, or a sequence of `{column: value}`."""
    if isinstance(rows, np.ndarray):
        return rows.tolist() if rows.ndim > 1 else [rows.tolist()]
    return [row.tolist() if isinstance(row, np.ndarray) else row for row in rows]
