"""What the optimizers of a stack need that changes from step to step, in device memory, some thousand steps at a time.

Axis legend: M models, S steps of a span, R numbers of a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.backend import Array, Backend
from nets.member import Member
from nets.optimizers import Optimizer

MAX_SPAN: Final = 4096
MAX_NUMBERS: Final = 1 << 22
"""Numbers of all models that are kept at once: 16 MB in float32."""


class DeviceRates:
    """(M, S, R) numbers of a span of steps; models that leave keep their places."""

    def __init__(self, members: Sequence[Member], optimizer: Optimizer, backend: Backend) -> None:
        self._members, self._optimizer, self._backend = list(members), optimizer, backend
        self._places, self._models = list(range(len(members))), len(members)
        self.span = max(1, min(MAX_SPAN, MAX_NUMBERS // (len(members) * optimizer.n_rates)))
        self._begun: NDArray[np.int64] | None = None
        self._numbers: Array = None

    def keep(self, positions: Sequence[int]) -> None:
        """Go on with these models alone."""
        self._members = [self._members[p] for p in positions]
        self._places = [self._places[p] for p in positions]
        self._begun = None if self._begun is None else self._begun[list(positions)]

    def at(self, steps: NDArray[np.int64], n_steps: int) -> tuple[Array, NDArray[np.int64]]:
        """The numbers on the device, and every model's place of its next step's; `n_steps` of at most `span` are there.

        `steps` (M,) are the updates done so far by every model.
        """
        if self._begun is None or (steps + n_steps > self._begun + self.span).any():
            self._begun = steps.copy()
            self._numbers = self._backend.to_device(self._made(steps.tolist()))
        return self._numbers, steps - self._begun

    def _made(self, begun: Sequence[int]) -> NDArray[np.floating]:
        made = np.zeros((self._models, self.span, self._optimizer.n_rates), self._members[0].dtype)
        for place, member, begin in zip(self._places, self._members, begun, strict=True):
            count = max(1, min(self.span, member.total_steps - begin))
            steps = np.arange(begin, begin + count, dtype=np.float64)
            rates = member.learning_rates(begin, count)
            made[place, :count] = self._optimizer.rates_at(rates, steps, member.spec.optimizer.options).T
        return made
