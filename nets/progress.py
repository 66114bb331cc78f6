"""What one model has to show for its steps: metric points, early stopping, and both across a resume.

Nothing here depends on how the steps were cut into chunks; sums run step by step in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nets.evaluate import Measured
from nets.losses import LOSSES
from nets.member import Member, State

MAX_POINTS = 2_000
"""Metric points of one run: every epoch up to this many epochs, then every ceil(epochs / MAX_POINTS)."""


LEARNING_RATES: Final = 1024
"""Learning rates that are computed at once."""
FEW: Final = 64
"""Steps whose sums are added up one by one, which takes less than NumPy's calls."""


def interval_of(epochs: int) -> int:
    """Epochs from one metric point to the next."""
    return math.ceil(epochs / MAX_POINTS)


@dataclass
class Best:
    """The best value of the early-stopping metric so far, where, and with which parameters."""

    value: float
    epoch: int
    parameters: NDArray[Any] | None = None


class Progress:
    """The bookkeeping of one model, restored from its checkpoint."""

    def __init__(self, member: Member) -> None:
        state = member.state or {}
        self._member, training = member, member.spec.training
        self._is_mean = LOSSES[member.spec.loss.name].is_mean(member.spec.loss.options)
        self._interval = interval_of(training.epochs)
        self.step = int(state.get("step", np.zeros(())))
        loss_sum, rows = state.get("interval_sums", np.zeros(2))
        self._loss_sum = float(loss_sum)
        self._point_rows = self._rows_before(self.step) - int(rows)
        self.elapsed_s = float(state.get("elapsed_s", np.zeros(())))
        self.stopping = training.early_stopping
        self.best = Best(math.inf, 0)
        if "best" in state:
            value, epoch = state["best"]
            self.best = Best(float(value), int(epoch), state.get("best_parameters"))
        self._learning_rates: tuple[int, list[float]] | None = None

    @property
    def _rows(self) -> int:
        """Rows that were trained on since the last point."""
        return self._rows_before(self.step) - self._point_rows

    def _rows_before(self, step: int) -> int:
        """Rows of all batches before a step."""
        epochs, batches = divmod(step, self._member.steps_per_epoch)
        count = len(self._member.data.x_train)
        return epochs * count + min(batches * self._member.spec.training.batch_size, count)

    @property
    def rows_per_step(self) -> float:
        """Rows of a batch, on average over an epoch."""
        return len(self._member.data.x_train) / self._member.steps_per_epoch

    @property
    def epoch(self) -> int:
        """Whole epochs done."""
        return self.step // self._member.steps_per_epoch

    @property
    def done(self) -> bool:
        """True after the last planned step."""
        return self.step >= self._member.total_steps

    @property
    def halted(self) -> bool:
        """True from the step on after which the model is to pause by itself, unless it is done."""
        halt = self._member.halt_step
        return halt is not None and self.step >= halt and not self.done

    @property
    def steps_to_halt(self) -> int:
        """Updates until then, or until the end."""
        return min(self._member.halt_step or self._member.total_steps, self._member.total_steps) - self.step

    @property
    def steps_to_epoch_end(self) -> int:
        """Updates up to and including the last one of this epoch."""
        return self._member.steps_per_epoch - self.step % self._member.steps_per_epoch

    @property
    def at_point(self) -> bool:
        """True at the end of an epoch that has a metric point."""
        whole = self.step % self._member.steps_per_epoch == 0 and self.step > 0
        return whole and (self.epoch % self._interval == 0 or self.done)

    def add(self, loss_sums: NDArray[np.float64]) -> None:
        """Account for the steps whose weighted loss sums (N,) these are."""
        if len(loss_sums) <= FEW:
            for loss in loss_sums.tolist():
                self._loss_sum += loss
        else:  # accumulate runs strictly from left to right: the sum is the same however steps are grouped
            self._loss_sum = float(np.add.accumulate(np.concatenate([[self._loss_sum], loss_sums]))[-1])
        self.step += len(loss_sums)

    def learning_rate(self) -> float:
        """Of the last step done."""
        first, place = divmod(self.step - 1, LEARNING_RATES)
        if self._learning_rates is None or self._learning_rates[0] != first:
            start = first * LEARNING_RATES
            rates = self._member.learning_rates(start, min(LEARNING_RATES, self._member.total_steps - start))
            self._learning_rates = first, rates.tolist()
        return self._learning_rates[1][place]

    def close_interval(self) -> float:
        """The training loss since the last point: the mean over rows, or for a summed loss over epochs."""
        rows = self._rows
        loss = self._loss_sum / (rows if self._is_mean else rows / len(self._member.data.x_train))
        self._loss_sum, self._point_rows = 0.0, self._point_rows + rows
        return loss

    def should_stop(self, train_loss: float, val: Measured | None, parameters: NDArray[Any]) -> bool:
        """Compare with the best so far, remember an improvement; True when patience has run out."""
        if self.stopping is None:
            return False
        value = train_loss if val is None or self.stopping.metric == "train_loss" else val.loss
        if val is not None and self.stopping.metric in {"val_accuracy", "val_r2"}:
            value = -val.score
        if value < self.best.value - self.stopping.min_delta:
            self.best = Best(value, self.epoch, parameters.copy() if self.stopping.restore_best else None)
        return self.epoch - self.best.epoch >= self.stopping.patience

    def state(self) -> State:
        """What a checkpoint keeps beside the engine's state."""
        state = {
            "interval_sums": np.array([self._loss_sum, float(self._rows)]),
            "elapsed_s": np.array(self.elapsed_s),
            "epoch": np.array(self.epoch, np.int64),
        }
        if self.stopping is not None and math.isfinite(self.best.value):
            state["best"] = np.array([self.best.value, self.best.epoch])
            if self.best.parameters is not None:
                state["best_parameters"] = self.best.parameters
        return state


def finite_or_none(value: float) -> float | None:
    """JSON has no NaN: what is not finite is null."""
    return float(value) if math.isfinite(value) else None
