"""CUDA programs of the last layer of a recorded step, for nets with few outputs: products too thin for a library.

Two launches stand for three products, the loss and a derivative: the scores with their loss, and what goes back. In
TF32 their factors stay float32: nothing is gained by rounding them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kernels.c_source import Real, literal
from kernels.fused_source import LossProgram, target_text
from kernels.layer_source import slope_parts
from kernels.operations import Operation
from kernels.precisions import Arithmetic
from kernels.step_source import SHARED_TEXT, filled, numbers_text

SCORES_SYMBOL: Final = "scores_step"
TAIL_SYMBOL: Final = "tail_step"
MAX_OUTPUTS: Final = 32
"""Most outputs that a thread can keep sums of."""
THREADS: Final = 256
SECTOR_BYTES: Final = 32
"""What memory moves at once: the activations of a unit that a block of scores reads."""
UNITS: Final = 8
"""Units of a block that goes back, one a warp."""
_LANES: Final = 32
_TILE: Final = 128
_CUDA: Final = Path(__file__).parent / "cuda"


@dataclass(frozen=True)
class Numbers:
    """What is known of a program's numbers: `real` is kept, products read the arithmetic's."""

    outputs: int
    real: Real
    arithmetic: Arithmetic

    @property
    def itemsize(self) -> int:
        """Bytes of one number."""
        return 4 if self.real == "float" else 8

    @property
    def samples(self) -> int:
        """Samples of a block that computes scores: few, so that one net has many blocks."""
        return SECTOR_BYTES // (2 if self.arithmetic == "bfloat16" else self.itemsize)

    @property
    def text(self) -> str:
        """Types and constants."""
        integers = {
            "OUTPUTS": self.outputs,
            "SAMPLES": self.samples,
            "PARTS": THREADS // self.samples,
            "UNITS": UNITS,
            "LANES": _LANES,
            "TILE": _TILE,
        }
        constants = "".join(f"constexpr int {name} = {value};\n" for name, value in integers.items())
        return SHARED_TEXT + numbers_text(self.real, self.arithmetic) + constants

    @property
    def scores_bytes(self) -> int:
        """Shared memory of a block that computes scores: the sums of every part."""
        return THREADS * self.outputs * self.itemsize

    @property
    def tail_bytes(self) -> int:
        """Shared memory of a block that goes back: a tile of deltas, and sums of every thread."""
        return (self.outputs * _TILE + UNITS * self.outputs * (_LANES + 1)) * self.itemsize


def scores_source(loss: LossProgram, numbers: Numbers) -> str:
    """The program of scores, loss and its gradient."""
    given, target = target_text(loss)
    parts = {
        "TARGET": target,
        "OPTION": literal(loss.option, numbers.real),
        "NARROWS": str(numbers.arithmetic == "bfloat16").lower(),
    }
    types = f"{loss.text(numbers.real)}typedef {given} given_type;\n"
    return types + numbers.text + filled((_CUDA / "tail_scores.cuh").read_text("utf-8"), parts)


def tail_source(operation: Operation, own: Mapping[str, float], numbers: Numbers, *, masked: bool) -> str:
    """The program that goes back through the last layer and the activation below it."""
    text = (_CUDA / "tail_backward.cuh").read_text("utf-8")
    return numbers.text + filled(text, slope_parts(operation, own, numbers.real, masked=masked))
