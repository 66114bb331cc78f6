"""In what numbers a net trains: those of its parameters, and those in which its matrix products are computed.

The store reads this as well, so it needs no NumPy; `rounding` has what does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Arithmetic = Literal["float32", "float64", "tf32", "bfloat16"]
"""What the factors of a product are rounded to; sums are float32, or float64 where the factors are."""


@dataclass(frozen=True)
class Precision:
    """One row. Parameters, gradients, optimizer state, losses and everything elementwise have the `dtype`."""

    name: Arithmetic
    doc: str
    source: str
    dtype: Literal["float32", "float64"]
    needs_gpu: bool = False
    copy_bytes: int = 0
    """Of the copy of every weight and activation that products read."""


PRECISIONS: Final[Mapping[str, Precision]] = {
    row.name: row
    for row in (
        Precision("float32", "Everything in 32 bits.", "IEEE 754 binary32", "float32"),
        Precision("float64", "Everything in 64 bits.", "IEEE 754 binary64", "float64"),
        Precision(
            "tf32",
            "Products of float32 numbers rounded to 10 bits of mantissa, with float32 sums, on tensor cores.",
            "NVIDIA A100 Tensor Core GPU architecture, 2020, TF32",
            "float32",
            needs_gpu=True,
        ),
        Precision(
            "bfloat16",
            "Products of numbers rounded to 7 bits of mantissa, with float32 sums; weights are kept in float32.",
            "Kalamkar et al. 2019, A study of bfloat16 for deep learning training; Micikevicius et al. 2018",
            "float32",
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
