"""Random search, the lecture's baseline: draw all weights anew, keep the draw with the least training loss.

Axis legend: M models, P parameters of one model, B samples. A step is one draw, judged on the whole training
set. Draws are keyed (seed, step), so stacks, resumes and devices see the same ones. It reads the loss of
every step on the host: a baseline to be beaten, not to be fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels.backend import Backend
from kernels.random import Stream, normal
from nets.losses import Loss
from nets.tape import Array


@dataclass(frozen=True, eq=False)
class RandomSearch:
    """Bound to a stack's parameters (M, P), least losses so far (M, 1) float64, row weights (M, B) and records.

    Between steps `parameters` are the best draw so far, or the initial weights before the first.
    """

    backend: Backend
    seeds: Sequence[int]
    scales: Sequence[float]
    parameters: Array
    least: Array
    weights: Array
    records: Array
    loss: Loss
    best: Array
    """(M, P) scratch."""

    def propose(self, steps: Sequence[int]) -> None:
        """Put the draw of every model's step into the parameters, weights and biases alike: N(0, scale²)."""
        count = self.parameters.shape[1]
        draws: list[NDArray[np.float64]] = [
            normal(seed, Stream.SEARCH, (count,), step=step) * scale
            for seed, scale, step in zip(self.seeds, self.scales, steps, strict=True)
        ]
        self.backend.xp.copyto(self.best, self.parameters)
        drawn = np.stack(draws).astype(self.parameters.dtype)
        self.backend.xp.copyto(self.parameters, self.backend.to_device(drawn))

    def judge(self) -> None:
        """Keep the draw where its loss is less than any before, else go back. Waits for the device."""
        records, weights = (self.backend.to_host(a).astype(np.float64) for a in (self.records, self.weights))
        values = np.where(weights > 0, self.loss.values(records), 0.0) * weights  # (M, B)
        found = self.backend.to_device(values.sum(axis=1, keepdims=True))
        xp, better = self.backend.xp, found < self.least  # a loss that is not a number is never better
        xp.copyto(self.least, found, where=better)
        xp.copyto(self.parameters, self.best, where=~better)
