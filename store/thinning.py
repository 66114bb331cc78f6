"""Which points of a long curve are drawn: in every stretch of it the lowest and the highest, so that a spike stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
Places = NDArray[np.intp]


def thin(columns: Sequence[Values], most: int) -> Places:
    """Indices, in order, of at most `most` rows: first, last, and the extremes of every column in every stretch.

    Args:
        columns: of equal length; NaN is no value.
        most: 2 or more. A single column is cut into `(most - 2) / 2` stretches; several share the rows, so that each
            has fewer. Where there are more columns than rows, the rows are evenly spread.
    """
    length = len(columns[0])
    if length <= most:
        return np.arange(length)
    stretches = (most - 2) // 2
    while stretches > 0:
        found = _extremes(columns, stretches)
        if len(found) <= most:
            return found
        stretches = min(stretches - 1, stretches * most // len(found))
    return np.arange(most) * (length - 1) // (most - 1)


def _extremes(columns: Sequence[Values], stretches: int) -> Places:
    length = len(columns[0])
    size = -(-length // stretches)
    starts = np.arange(0, length, size)
    found: list[Places] = [np.array([0, length - 1])]
    for column in columns:
        for padding, extreme in ((np.inf, np.argmin), (-np.inf, np.argmax)):
            cells = np.full(len(starts) * size, padding)
            cells[:length] = column
            cells[np.isnan(cells)] = padding
            found.append(np.minimum(starts + extreme(cells.reshape(-1, size), axis=1), length - 1))
    return np.unique(np.concatenate(found))
