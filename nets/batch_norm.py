"""Batch normalisation between a layer's product and its activation.

Axis legend: M models, H units of a layer, B samples. In training every unit's z is shifted and scaled to mean 0
and variance 1 over the batch, then ŷ = γ ẑ + β; at prediction running means stand in for the batch's. `shares`
(M, B) are 1/rows for the batch's rows and 0 where a short batch is padded, so that padding counts for nothing.
Ioffe & Szegedy 2015, algorithms 1 and 2; the running variance is the batch's own, without n/(n-1).
"""

from __future__ import annotations

from kernels.backend import Backend
from nets.parameters import Norm
from nets.tape import Array, Tape, call

EPSILON = 1e-5
"""Added to the variance: a unit that never changes stays at 0."""
MEMORY = 0.9
"""Share of the running mean and variance that survives a step."""


class BatchNorm:
    """One layer's normalisation: `z` (M, H, B) comes in, `out` (M, H, B) takes what the activation sees.

    In training `z` becomes ẑ in place; `forward` must have been played when `backward` is.
    """

    def __init__(self, backend: Backend, norm: Norm, z: Array, out: Array) -> None:
        self._xp, self._norm, self._z, self._out = backend.xp, norm, z, out
        self._inverse, self._part = backend.xp.empty_like(z[..., :1]), backend.xp.empty_like(z)

    def predict(self) -> Tape:
        """out = (z - running mean)·γ/√(running variance + ε) + β: one factor and one term per unit."""
        xp, norm, factor, tape = self._xp, self._norm, self._inverse, Tape()
        term = xp.empty_like(factor)
        call(tape, xp.add, norm.variance, EPSILON, out=factor)
        call(tape, xp.sqrt, factor, out=factor)
        call(tape, xp.divide, norm.gamma, factor, out=factor)
        call(tape, xp.multiply, norm.mean, factor, out=term)
        call(tape, xp.subtract, norm.beta, term, out=term)
        call(tape, xp.multiply, self._z, factor, out=self._out)
        call(tape, xp.add, self._out, term, out=self._out)
        return tape

    def forward(self, shares: Array) -> Tape:
        """ẑ = (z - mean)/√(variance + ε) of the batch, out = γ ẑ + β; the running figures move on."""
        xp, z, norm, inverse, part = self._xp, self._z, self._norm, self._inverse, self._part
        weights, tape = shares[:, None, :], Tape()
        mean, variance, moved = (xp.empty_like(inverse) for _ in range(3))
        call(tape, xp.multiply, z, weights, out=part)
        call(tape, part.sum, axis=2, out=mean, keepdims=True)
        call(tape, xp.subtract, z, mean, out=z)
        call(tape, xp.multiply, z, z, out=part)
        call(tape, xp.multiply, part, weights, out=part)
        call(tape, part.sum, axis=2, out=variance, keepdims=True)
        call(tape, xp.add, variance, EPSILON, out=inverse)
        call(tape, xp.sqrt, inverse, out=inverse)
        call(tape, xp.divide, 1.0, inverse, out=inverse)
        call(tape, xp.multiply, z, inverse, out=z)
        call(tape, xp.multiply, z, norm.gamma, out=self._out)
        call(tape, xp.add, self._out, norm.beta, out=self._out)
        for running, now in ((norm.mean, mean), (norm.variance, variance)):
            call(tape, xp.multiply, running, MEMORY, out=running)
            call(tape, xp.multiply, now, 1 - MEMORY, out=moved)
            call(tape, xp.add, running, moved, out=running)
        return tape

    def backward(self, d: Array, shares: Array, gradient: Norm) -> Tape:
        """dβ = Σ d, dγ = Σ d ẑ; d (M, H, B) = dL/dout becomes dL/dz = γ/√(σ²+ε)·(d - share·(dβ + ẑ dγ))."""
        xp, z, part, tape = self._xp, self._z, self._part, Tape()
        call(tape, d.sum, axis=2, out=gradient.beta, keepdims=True)
        call(tape, xp.multiply, d, z, out=part)
        call(tape, part.sum, axis=2, out=gradient.gamma, keepdims=True)
        call(tape, xp.multiply, z, gradient.gamma, out=part)
        call(tape, xp.add, part, gradient.beta, out=part)
        call(tape, xp.multiply, part, shares[:, None, :], out=part)
        call(tape, xp.subtract, d, part, out=d)
        call(tape, xp.multiply, self._inverse, self._norm.gamma, out=self._inverse)
        call(tape, xp.multiply, d, self._inverse, out=d)
        return tape
