"""The CUDA program of a loss over many scores: as `fused_source.loss_source`, with several threads for a sample.

Axis legend: M models, C scores, B samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from kernels.c_source import Real, literal
from kernels.fused_source import LossProgram, target_text
from kernels.step_source import SHARED_TEXT, filled

WIDE_LOSS_SYMBOL: Final = "wide_loss_step"
SAMPLES: Final = 32
"""Samples of a block, which lie side by side."""
THREADS: Final = 512
MIN_COUNT: Final = 65
"""Fewest scores that are worth it: at least four for a thread."""
_TEXT: Final = (Path(__file__).parent / "cuda" / "wide_loss.cuh").read_text("utf-8")


def wide_loss_source(loss: LossProgram, real: Real) -> str:
    """The program of one loss."""
    given, target = target_text(loss)
    head = f"{SHARED_TEXT}{loss.text(real)}typedef {given} given_type;\n"
    sizes = f"constexpr int SAMPLES = {SAMPLES};\nconstexpr int PARTS = {THREADS // SAMPLES};\n"
    return head + sizes + filled(_TEXT, {"TARGET": target, "OPTION": literal(loss.option, real)})


def wide_loss_blocks(models: int, batch: int) -> int:
    """Blocks of one launch."""
    return models * -(-batch // SAMPLES)


def wide_loss_bytes(itemsize: int) -> int:
    """Shared memory of a block: a number of every thread."""
    return THREADS * itemsize
