"""Inverted dropout: which units are left out, by counter-based numbers that depend on model, step and layer alone.

Axis legend: M models, H units of a layer, B samples. A unit is kept with probability 1 - rate and then counts
1/(1 - rate) times, so that nothing need be scaled at prediction (Srivastava et al. 2014, section 10). Unit h of
sample b has the 32-bit word h·B + b of the draw (seed, DROPOUT, step, lane = layer from 1), 64-bit words read
low half first; it is kept if the word is below (1 - rate)·2³².
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.backend import Backend
from kernels.random import Stream, bits
from nets.tape import Array


def kept(seed: int, step: int, layer: int, rate: float, shape: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """(H, B): 1/(1 - rate) for a unit that is kept, else 0."""
    count = shape[0] * shape[1]
    words = bits(seed, Stream.DROPOUT, (count + 1) // 2, step=step, lane=layer).astype("<u8").view("<u4")[:count]
    stays = words.astype(np.uint64) < np.uint64(round((1 - rate) * 2**32))
    return (stays.reshape(shape) / (1 - rate)).astype(dtype)


@dataclass(frozen=True, eq=False)
class Dropout:
    """The masks [(M, H, B)] of a stack's hidden layers, and what fills them; a model of rate 0 keeps every unit."""

    backend: Backend
    seeds: Sequence[int]
    rates: Sequence[float]
    masks: Sequence[Array]

    def fill(self, steps: Sequence[int]) -> None:
        """Draw every model's masks of its step."""
        for layer, mask in enumerate(self.masks, start=1):
            _, units, batch = mask.shape
            drawn = [
                kept(seed, step, layer, rate, (units, batch), mask.dtype)
                for seed, rate, step in zip(self.seeds, self.rates, steps, strict=True)
            ]
            self.backend.xp.copyto(mask, self.backend.to_device(np.stack(drawn)))
