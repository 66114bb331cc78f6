"""Arrays that are written block by block: an NPY file whose row count is known at the end, and a raw spool."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedWriter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

BLOCK_BYTES = 8 << 20
"""Size of the pieces in which arrays are read and written."""

_FEWEST_ROWS = 64
"""Rows of a block of a very wide table: fewer would cost more in steps than they save in memory."""

_HEADER_BYTES = 192
_MAGIC = b"\x93NUMPY\x01\x00"

Floats = npt.NDArray[np.float64]


def block_rows(row_bytes: int) -> int:
    """How many rows of `row_bytes` make one block."""
    return max(_FEWEST_ROWS, BLOCK_BYTES // max(1, row_bytes))


def npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """An NPY 1.0 header of fixed length, so that it can be rewritten when the number of rows is known."""
    text = repr({"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
    length = _HEADER_BYTES - len(_MAGIC) - 2
    return _MAGIC + length.to_bytes(2, "little") + text.ljust(length - 1).encode("ascii") + b"\n"


class NpyWriter:
    """Appends rows to an NPY file in constant memory.

    Args:
        path: the new file.
        dtype: of the array.
        row_shape: shape of one row: `(n_columns,)`, or `()` for a vector.
    """

    def __init__(self, path: Path, dtype: npt.DTypeLike, row_shape: tuple[int, ...]) -> None:
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.row_shape = row_shape
        self.rows = 0
        self._file: BufferedWriter = path.open("wb")
        self._file.write(npy_header(self.dtype, (0, *row_shape)))

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Add rows, converted to the file's dtype; shape (k, *row_shape)."""
        if rows.shape[1:] != self.row_shape:
            raise ValueError(f"rows of shape {rows.shape[1:]} into a file of {self.row_shape}")
        self._file.write(np.ascontiguousarray(rows, self.dtype).data)
        self.rows += len(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            self._file.seek(0)
            self._file.write(npy_header(self.dtype, (self.rows, *self.row_shape)))


class Spool:
    """Rows of float64 on disk, written once and then read in blocks as often as wanted."""

    def __init__(self, path: Path, width: int) -> None:
        self.path = path
        self.width = width
        self.rows = 0
        path.write_bytes(b"")

    def append(self, rows: Floats) -> None:
        """Add rows of shape (k, width)."""
        with self.path.open("ab") as file:
            file.write(np.ascontiguousarray(rows, np.float64).data)
        self.rows += len(rows)

    def clear(self) -> None:
        """Forget all rows."""
        self.path.write_bytes(b"")
        self.rows = 0

    def blocks(self) -> Iterator[tuple[slice, Floats]]:
        """The rows again, as (place, array (k, width))."""
        step = block_rows(8 * self.width)
        with self.path.open("rb") as file:
            for start in range(0, self.rows, step):
                count = min(step, self.rows - start)
                block = np.fromfile(file, np.float64, count * self.width).reshape(count, self.width)
                yield slice(start, start + count), block

    def column(self, index: int) -> Floats:
        """One column in memory, shape (rows,)."""
        out = np.empty(self.rows)
        for place, block in self.blocks():
            out[place] = block[:, index]
        return out
