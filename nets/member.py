"""One model of a stack: what is trained, on what, and from where."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nets.options import number
from nets.parameters import Layout, initial
from nets.prepare import PreparedData
from nets.resolve import layout_of
from nets.schedules import SCHEDULES, Horizon, learning_rates
from nets.spec import ResolvedSpec

State = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Member:
    """One model of a stack: its resolved spec, its data, and the checkpoint to go on from (None: fresh).

    `folds` are the data of the models that cross-validate it, see `nets.folds`; `origin` (P,) are the weights that a
    fork starts from. After `halt_epoch` epochs it pauses by itself, if that is before its end.
    """

    spec: ResolvedSpec
    data: PreparedData
    state: State | None = None
    folds: tuple[PreparedData, ...] = ()
    origin: NDArray[Any] | None = None
    halt_epoch: int | None = None

    @cached_property
    def layout(self) -> Layout:
        """Layout of its flat parameters."""
        return layout_of(self.spec, self.data.n_inputs, self.data.n_outputs)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self.spec.training.dtype

    @cached_property
    def steps_per_epoch(self) -> int:
        """Updates of one pass over the training rows."""
        return -(-len(self.data.x_train) // self.spec.training.batch_size)

    @cached_property
    def total_steps(self) -> int:
        """Updates of the whole planned run."""
        return self.steps_per_epoch * self.spec.training.epochs

    @cached_property
    def halt_step(self) -> int | None:
        """Updates after which it pauses by itself."""
        return None if self.halt_epoch is None else self.halt_epoch * self.steps_per_epoch

    def initial_parameters(self) -> NDArray[Any]:
        """Flat (P,) before the first step: drawn once and shared by whoever asks, who does not change it."""
        return self._initial

    @cached_property
    def _initial(self) -> NDArray[Any]:
        if self.origin is not None:
            return self.origin.astype(self.dtype)
        init = self.spec.net.init
        return initial(self.layout, init.name, init.options, self.spec.training.seed, self.dtype)

    def learning_rates(self, first: int, count: int) -> NDArray[np.float64]:
        """Learning rates (count,) of steps first, first+1, ... after schedule and warm-up."""
        schedule = self.spec.schedule
        return learning_rates(
            SCHEDULES[schedule.name],
            schedule.options,
            int(schedule.number("warmup_steps")),
            number({"learning_rate": 0.0, **self.spec.optimizer.options}, "learning_rate"),
            first,
            count,
            Horizon(self.total_steps, self.steps_per_epoch),
        )
