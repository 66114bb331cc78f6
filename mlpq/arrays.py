"""NumPy arrays on their way to and from the service, always as plain `.npz`: no pickle in either direction."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from mlpq.errors import InvalidArgumentError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

Array: TypeAlias = "NDArray[Any]"
"""NumPy itself is imported by the calls that need it: most commands need none."""


def as_array(values: Any, dtype: DTypeLike | None = None) -> Array:
    """Values of a JSON document as an array."""
    import numpy as np

    return np.asarray(values, dtype)


def table_to_npz(x: ArrayLike, y: ArrayLike) -> bytes:
    """Rows and targets as the bytes of an NPZ file.

    Args:
        x: (n, features), numeric, or images (n, height, width[, channels]); one-dimensional input is a single feature.
        y: (n,), numbers or class names.

    Raises:
        InvalidArgumentError: lengths differ, or the values are neither numbers nor text.
    """
    import numpy as np

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
    np.savez_compressed(buffer, X=rows, y=targets)
    return buffer.getvalue()


def arrays_from_npz(content: bytes) -> dict[str, Array]:
    """All arrays of an NPZ file by name; object arrays are refused."""
    import numpy as np

    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def columns_to_arrays(document: Mapping[str, Any]) -> dict[str, Array]:
    """JSON columns as arrays: `step` and `epoch` int64, everything else float64 with NaN for null."""
    return {
        name: as_array(values, "int64" if name in ("step", "epoch", "attempt") else "float64")
        for name, values in document.items()
        if isinstance(values, list)
    }


def json_rows(rows: Any) -> list[Any]:
    """Rows for a JSON body: an array (n, features), a sequence of rows, or a sequence of `{column: value}`.

    Images (n, height, width[, channels]) become rows of pixels, those of bytes 0..1 as the service stores them.
    """
    if is_array(rows):
        if rows.ndim > 2:
            rows = (rows / 255 if rows.dtype == "uint8" else rows).reshape(len(rows), -1)
        return list(rows.tolist()) if rows.ndim > 1 else [rows.tolist()]
    return [row.tolist() if is_array(row) else row for row in rows]


def is_array(value: Any) -> bool:
    """Whether it is an array or a scalar of NumPy; without it there are none."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray | numpy.generic)
