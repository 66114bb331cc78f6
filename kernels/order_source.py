"""The CUDA program that draws the orders of whole epochs on the device, bit for bit those of `random.permutation`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from kernels.fused_source import RANDOM_TEXT
from kernels.random import Stream

SYMBOL: Final = "draw_orders"
MAX_THREADS: Final = 512
MAX_ROWS: Final = 16_384
"""Most rows of one order: their 64-bit keys are sorted in the shared memory of one block, 128 KiB."""

_NUMBERS: Final = ("epoch", "epochs", "count", "offset", "per_epoch", "shuffled")
DRAW: Final = np.dtype([("seed", "u8"), *((name, "i8") for name in _NUMBERS)])
"""What is drawn for one model: `count` rows from `offset` on, in `per_epoch` batches; `epochs` epochs from `epoch`."""

SOURCE: Final = (
    f"#ifdef __CUDA_ARCH__\nextern __shared__ __align__(16) unsigned char SHARED_MEMORY[];\n#endif\n{RANDOM_TEXT}"
    f"constexpr word {Stream.SHUFFLE.name} = {Stream.SHUFFLE.value};\n"
    + (Path(__file__).parent / "cuda" / "orders.cuh").read_text("utf-8")
)


def shared_bytes(rows: int) -> int:
    """Shared memory of a block that draws orders of up to `rows` rows."""
    return 8 << max(1, (rows - 1).bit_length())


def threads(rows: int) -> int:
    """Threads of that block: one for each pair of keys, in whole warps."""
    return max(32, min(MAX_THREADS, shared_bytes(rows) // 16))
