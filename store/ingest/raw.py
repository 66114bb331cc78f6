"""A table as its format module read it, before its columns are told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from store.ingest.arrays import Spool


@dataclass(frozen=True)
class RawColumn:
    """One used column as it was read.

    Attributes:
        name: of the column.
        texts: its different texts by code; None for numbers.
        kind: if known.
        order: of day and month in its dates, where their texts do not tell each for itself.
    """

    name: str
    texts: Sequence[str] | None = None
    kind: str | None = None
    order: str | None = None


@dataclass
class RawTable:
    """What a format module read.

    Attributes:
        columns: the features, then the target.
        spool: their values, float64.
        warnings: what the reader has to say.
        dtype: of the stored features; float32 where that holds every value.
        standardize: the default for this kind of data.
        image: height, width and channels where the features are the pixels of one.
    """

    columns: list[RawColumn]
    spool: Spool
    warnings: list[str] = field(default_factory=list)
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float64))
    standardize: bool = True
    image: dict[str, int] | None = None
