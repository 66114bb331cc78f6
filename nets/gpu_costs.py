"""What a training step costs on a GPU, by which its engine is chosen. Measured on an NVIDIA H200.

`python -m bench.gpu` measures what these numbers tell. They depend on one model's shapes and never on how many
models there are, so that a job has the same engine alone and in a stack.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from nets.parameters import Layout
from nets.step_shape import is_thin

BLOCK_STEP_S: Final = 3e-6
"""A step of the persistent kernel beside its products: barriers, loss, update."""
BLOCK_FLOPS: Final = 2.4e11
"""Products of one block a second, on one multiprocessor in float32."""
NODE_S: Final = 1.6e-6
"""One small launch of a recorded step that waits for the one before."""
PRODUCT_S: Final = 4.5e-6
"""One small product of a recorded step; predicted of the two programs that stand for a thin last layer's."""
DEVICE_FLOPS: Final = 3.5e13
"""Products of a whole device a second, in float32: 37 TFLOP/s at 256 x 1024 x 3073, 50 at 4096³."""
BYTES_S: Final = 3e12
"""Memory traffic a second."""


def flops_of(layout: Layout, batch: int) -> float:
    """Of a step's products: forward, gradients of weights, and gradients below all layers but the first."""
    pairs = list(pairwise(layout.widths))
    return 2.0 * batch * (2 * sum(i * o for i, o in pairs) + sum(i * o for i, o in pairs[1:]))


def persistent_s(layout: Layout, batch: int) -> float:
    """A step of one model in one block, in seconds."""
    return BLOCK_STEP_S + flops_of(layout, batch) / BLOCK_FLOPS


def nodes_of(layout: Layout) -> tuple[int, int]:
    """(launches, products) of a recorded step; programs that multiply a thin last layer count as products.

    Load, update, and of a hidden layer its activation and its derivative; of every layer three products, but two of the
    first. The last layer has its loss besides, or two programs for all of it, and the derivative below.
    """
    hidden = layout.n_layers - 1
    if is_thin(layout):
        return 2 + 2 * hidden - 1, 3 * hidden - 1 + 2
    return 2 + 2 * hidden + 1, 3 * hidden + 2


def _moved_bytes(layout: Layout, batch: int) -> float:
    """Of a step: a gradient, a parameter and its slot, written and read; the numbers of a sample as often as they are.

    Inputs are read to be loaded, and by two products. Of a hidden unit there are its sum, its activation and two
    slopes, ten times in all; there is no slope from above below a thin layer. A score is written, changed to its slope
    and read by two products, where the layer is not thin.
    """
    inputs, *hidden, outputs = layout.widths
    last = 2 * outputs - 2 * hidden[-1] if is_thin(layout) else 5 * outputs
    return 24.0 * layout.count + 4.0 * batch * (4 * inputs + 10 * sum(hidden) + last)


def recorded_s(layout: Layout, batch: int) -> float:
    """A recorded step of one model, its nodes one after another, in seconds."""
    launches, products = nodes_of(layout)
    small = NODE_S * launches + PRODUCT_S * products
    return small + flops_of(layout, batch) / DEVICE_FLOPS + _moved_bytes(layout, batch) / BYTES_S
