"""Some columns of a table's cells, taken from the rows that are asked for: a big file is not copied without the others.

Axis legend: R rows, F columns of the table, S columns that are selected.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Selection:
    """All columns of cells (R, F) but some, read like an array (R, S): `[rows]` and `[rows, column]`.

    Args:
        cells: the array, which may be a memory-mapped file.
        without: places of the columns that are left out.
    """

    ndim = 2

    def __init__(self, cells: Cells, without: list[int]) -> None:
        self._cells = cells
        self._places = np.delete(np.arange(cells.shape[1]), without)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and selected columns."""
        return len(self._cells), len(self._places)

    def __len__(self) -> int:
        return len(self._cells)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        if isinstance(key, tuple):
            rows, column = key
            return np.asarray(self._cells[rows, self._places[column]])
        return np.asarray(self._cells[key])[:, self._places]


Cells = NDArray[Any] | Selection
"""Cells of a table, all of its columns or some."""
