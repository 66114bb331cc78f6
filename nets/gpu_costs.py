"""What a training step costs on a GPU, by which its engine is chosen. Measured on an NVIDIA H200.

`python -m bench.gpu` measures what these numbers tell. They depend on one model's shapes and never on how many
models there are, so that a job has the same engine alone and in a stack.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from nets.parameters import Layout

BLOCK_STEP_S: Final = 3e-6
"""A step of the persistent kernel beside its products: barriers, loss, update."""
BLOCK_FLOPS: Final = 2.4e11
"""Products of one block a second, on one multiprocessor in float32."""
NODE_S: Final = 1.6e-6
"""One small launch of a recorded step that waits for the one before."""
PRODUCT_S: Final = 4.5e-6
"""One small product of a recorded step."""
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


def recorded_s(layout: Layout, batch: int) -> float:
    """A recorded step of one model: products, two launches a hidden layer, load, loss and update, in seconds."""
    launches, products = 2 * (layout.n_layers - 1) + 3, 3 * layout.n_layers - 1
    moved = 24.0 * layout.count + 40.0 * batch * sum(layout.widths)
    small = NODE_S * launches + PRODUCT_S * products
    return small + flops_of(layout, batch) / DEVICE_FLOPS + moved / BYTES_S
