"""Inverted dropout: which units are left out, by counter-based numbers that depend on model, step and layer alone.

Axis legend: M models, H units of a layer, B samples. A unit is kept with probability 1 - rate and then counts
1/(1 - rate) times, so that nothing need be scaled at prediction (Srivastava et al. 2014, section 10). Unit h of
sample b has the 32-bit word h·B + b of the draw (seed, DROPOUT, step, lane = layer from 1), 64-bit words read
low half first; it is kept if the word is below (1 - rate)·2³².
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.backend import Backend
from kernels.fused_source import MASK_SYMBOL, MASK_WORDS, mask_source
from kernels.random import Stream, bits
from nets.fused import bound, real_of
from nets.tape import Array


def kept(seed: int, step: int, layer: int, rate: float, shape: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """(H, B): 1/(1 - rate) for a unit that is kept, else 0."""
    count = shape[0] * shape[1]
    words = bits(seed, Stream.DROPOUT, (count + 1) // 2, step=step, lane=layer).astype("<u8").view("<u4")[:count]
    stays = words.astype(np.uint64) < limit_of(rate)
    return (stays.reshape(shape) / (1 - rate)).astype(dtype)


def limit_of(rate: float) -> np.uint64:
    """A unit is kept if its 32-bit word is below this."""
    return np.uint64(round((1 - rate) * 2**32))


class Dropout:
    """The masks [(M, H, B)] of a stack's hidden layers, and what fills them; a model of rate 0 keeps every unit.

    Where the backend compiles programs the masks are drawn on the device, one launch a layer; else on the host.
    """

    def __init__(self, backend: Backend, seeds: Sequence[int], rates: Sequence[float], masks: Sequence[Array]) -> None:
        self._backend, self._seeds, self._rates, self._masks = backend, seeds, rates, masks
        self._launches: list[Callable[[Array], None]] = []
        if backend.compiler is not None:
            self._launches = [self._bound(layer, mask) for layer, mask in enumerate(masks, start=1)]

    def _bound(self, layer: int, mask: Array) -> Callable[[Array], None]:
        """What draws one layer's masks, given the steps (M,) uint64 on the device."""
        backend, (models, units, batch) = self._backend, mask.shape
        if backend.compiler is None:
            raise TypeError(f"the {backend.name} backend cannot run CUDA source")
        launch = backend.compiler.compile(mask_source(real_of(mask.dtype)), MASK_SYMBOL, 0)
        seeds = backend.to_device(np.array(self._seeds, np.uint64))
        limits = backend.to_device(np.array([limit_of(rate) for rate in self._rates], np.uint64))
        scales = backend.to_device((1 / (1 - np.array(self._rates, np.float64))).astype(mask.dtype))
        threads = models * -(-units * batch // MASK_WORDS)
        sizes = (np.int32(models), np.int32(units * batch), np.int32(layer))
        return lambda steps: bound(launch, threads, (*sizes, seeds, steps, limits, scales, mask))()

    def fill(self, steps: Sequence[int]) -> None:
        """Draw every model's masks of its step."""
        if self._launches:
            on_device = self._backend.to_device(np.array(steps, np.uint64))
            for launch in self._launches:
                launch(on_device)
            return
        for layer, mask in enumerate(self._masks, start=1):
            _, units, batch = mask.shape
            drawn = [
                kept(seed, step, layer, rate, (units, batch), mask.dtype)
                for seed, rate, step in zip(self._seeds, self._rates, steps, strict=True)
            ]
            self._backend.xp.copyto(mask, self._backend.to_device(np.stack(drawn)))
