"""What the machine reaches in one large matrix product, by NumPy's BLAS on all cores: the ceiling of all workloads."""

from __future__ import annotations

from typing import Final

import numpy as np

from bench.cpu.workloads import Workload

CEILING: Final = "ceiling"
SIDE: Final = 1536
"""Rows and columns of the factors."""
FLOPS: Final = 2.0 * SIDE**3


class Ceiling:
    """The adapter that the driver times: one run is one product in the workload's precision."""

    note = "NumPy"

    def __init__(self, w: Workload) -> None:
        rng = np.random.default_rng(0)
        self._a, self._b = (rng.standard_normal((SIDE, SIDE)).astype(w.dtype) for _ in range(2))
        self._out = np.empty_like(self._a)

    def run(self, epochs: int) -> list[list[float]]:  # noqa: ARG002
        """One product; it has no losses."""
        np.matmul(self._a, self._b, out=self._out)
        return []
