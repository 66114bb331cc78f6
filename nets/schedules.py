"""Learning-rate schedules: pure functions from the step to a factor of the learning rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nets.options import Option, Value, number

Steps = NDArray[np.float64]


@dataclass(frozen=True)
class Horizon:
    """The planned length of a run: all steps, and the steps of one epoch."""

    steps: int
    steps_per_epoch: int


@dataclass(frozen=True)
class Schedule:
    """One schedule: `factor(step (n,), horizon, options) -> (n,)`, step counted from 0."""

    name: str
    doc: str
    source: str
    factor: Callable[[Steps, Horizon, Mapping[str, Value]], Steps]
    options: tuple[Option, ...] = ()


def _fraction(step: Steps, horizon: Horizon) -> Steps:
    """0 at the first step, 1 at the last."""
    return np.minimum(step / max(horizon.steps - 1, 1), 1.0)


def _constant(step: Steps, _horizon: Horizon, _options: Mapping[str, Value]) -> Steps:
    return np.ones_like(step)


def _step(step: Steps, horizon: Horizon, options: Mapping[str, Value]) -> Steps:
    epoch = np.floor(step / horizon.steps_per_epoch)
    return np.asarray(number(options, "gamma") ** np.floor(epoch / number(options, "every_epochs")))


def _exponential(step: Steps, horizon: Horizon, options: Mapping[str, Value]) -> Steps:
    return np.asarray(number(options, "gamma") ** np.floor(step / horizon.steps_per_epoch))


def _linear(step: Steps, horizon: Horizon, options: Mapping[str, Value]) -> Steps:
    final = number(options, "final")
    return 1 - (1 - final) * _fraction(step, horizon)


def _cosine(step: Steps, horizon: Horizon, options: Mapping[str, Value]) -> Steps:
    final = number(options, "final")
    return np.asarray(final + (1 - final) * 0.5 * (1 + np.cos(np.pi * _fraction(step, horizon))))


def _one_cycle(step: Steps, horizon: Horizon, options: Mapping[str, Value]) -> Steps:
    start, final, peak = (number(options, name) for name in ("start", "final", "peak_at"))
    t = _fraction(step, horizon)
    rise = start + (1 - start) * 0.5 * (1 - np.cos(np.pi * np.minimum(t / peak, 1)))
    fall = final + (1 - final) * 0.5 * (1 + np.cos(np.pi * np.clip((t - peak) / (1 - peak), 0, 1)))
    return np.where(t < peak, rise, fall)


_GAMMA = Option("gamma", 0.1, "Factor applied each time.", 0.0, 1.0, low_open=True)
_FINAL = Option("final", 0.0, "Factor at the last step.", 0.0, 1.0)

SCHEDULES: Mapping[str, Schedule] = {
    row.name: row
    for row in (
        Schedule("constant", "The learning rate as given.", "Robbins & Monro 1951", _constant),
        Schedule(
            "step",
            "Multiplied by gamma every `every_epochs` epochs.",
            "He et al. 2016, Deep residual learning, section 3.4",
            _step,
            (Option("every_epochs", 30, "Epochs between drops.", 1, 1_000_000), _GAMMA),
        ),
        Schedule(
            "cosine", "Half a cosine from 1 to `final`.", "Loshchilov & Hutter 2017, SGDR, eq. 5", _cosine, (_FINAL,)
        ),
        Schedule("linear", "A straight line from 1 to `final`.", "Goyal et al. 2017", _linear, (_FINAL,)),
        Schedule(
            "exponential",
            "Multiplied by gamma after every epoch.",
            "Bottou 2012, Stochastic gradient descent tricks",
            _exponential,
            (Option("gamma", 0.95, "Factor applied each epoch.", 0.0, 1.0, low_open=True),),
        ),
        Schedule(
            "one_cycle",
            "Cosine rise from `start` to 1 at `peak_at` of the run, then cosine fall to `final`.",
            "Smith & Topin 2018, Super-convergence",
            _one_cycle,
            (
                Option("start", 0.04, "Factor at the first step.", 0.0, 1.0),
                Option("final", 0.0, "Factor at the last step.", 0.0, 1.0),
                Option("peak_at", 0.3, "Fraction of the run where the rate is highest.", 0.01, 0.99),
            ),
        ),
    )
}


def learning_rates(
    schedule: Schedule,
    options: Mapping[str, Value],
    warmup_steps: int,
    learning_rate: float,
    first: int,
    count: int,
    horizon: Horizon,
) -> Steps:
    """Learning rates (count,) of steps first, first+1, ...; a linear warm-up multiplies the schedule."""
    step = np.arange(first, first + count, dtype=np.float64)
    rates = learning_rate * schedule.factor(step, horizon, options)
    if warmup_steps:
        rates = rates * np.minimum((step + 1) / warmup_steps, 1.0)
    return np.asarray(rates)
