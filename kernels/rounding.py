"""The numbers of `precisions` in NumPy: types, and float32 rounded to bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.precisions import PRECISIONS


def dtype_of(precision: str) -> np.dtype[Any]:
    """The type of a run's parameters and state."""
    return np.dtype(PRECISIONS[precision].dtype)


def bfloat16_bits(numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """float32 rounded to bfloat16, to even where two are equally near, as the upper halves of their bits.

    NaN stays NaN: its payload may lie in the lower half alone, so one bit of the upper half is set.
    """
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(numbers), (bits >> np.uint32(16)) | np.uint32(0x40), rounded).astype(np.uint16)
