"""In what numbers a net trains: those of its parameters, and those in which its matrix products are computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

Arithmetic = Literal["float32", "float64", "tf32", "bfloat16"]
"""What the factors of a product are rounded to; sums are float32, or float64 where the factors are."""


@dataclass(frozen=True)
class Precision:
    """One row. Parameters, gradients, optimizer state, losses and everything elementwise have the `dtype`."""

    name: Arithmetic
    doc: str
    source: str
    dtype: np.dtype[Any]
    needs_gpu: bool = False
    copy_bytes: int = 0
    """Of the copy of every weight and activation that products read."""


PRECISIONS: Final[Mapping[str, Precision]] = {
    row.name: row
    for row in (
        Precision("float32", "Everything in 32 bits.", "IEEE 754 binary32", np.dtype(np.float32)),
        Precision("float64", "Everything in 64 bits.", "IEEE 754 binary64", np.dtype(np.float64)),
        Precision(
            "tf32",
            "Products of float32 numbers rounded to 10 bits of mantissa, with float32 sums, on tensor cores.",
            "NVIDIA A100 Tensor Core GPU architecture, 2020, TF32",
            np.dtype(np.float32),
            needs_gpu=True,
        ),
        Precision(
            "bfloat16",
            "Products of numbers rounded to 7 bits of mantissa, with float32 sums; weights are kept in float32.",
            "Kalamkar et al. 2019, A study of bfloat16 for deep learning training; Micikevicius et al. 2018",
            np.dtype(np.float32),
            needs_gpu=True,
            copy_bytes=2,
        ),
    )
}


def needs_gpu(precision: str) -> bool:
    """Whether only a GPU trains in it."""
    return precision in PRECISIONS and PRECISIONS[precision].needs_gpu


def wanted_device(device: str, precision: str) -> str:
    """Where a job may train: its device, or `cuda` (any GPU) where it leaves that open and its precision needs one."""
    return "cuda" if device == "auto" and needs_gpu(precision) else device


def dtype_of(precision: str) -> np.dtype[Any]:
    """The type of a run's parameters and state."""
    return PRECISIONS[precision].dtype


def bfloat16_bits(numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """float32 rounded to bfloat16, to even where two are equally near, as the upper halves of their bits.

    NaN stays NaN: its payload may lie in the lower half alone, so one bit of the upper half is set.
    """
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(numbers), (bits >> np.uint32(16)) | np.uint32(0x40), rounded).astype(np.uint16)
