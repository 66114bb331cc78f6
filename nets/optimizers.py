"""Optimizers: pure functions of gradient, state and hyperparameters, bound to flat buffers.

Axis legend: M models, P parameters of one model. Every array is (M, P); numbers that change with the
step are (M, 1) arrays, so that the models of a stack may differ in all of them. `l2` is the λ of
L + λ ΣW²: its gradient 2λW is added for weights, never for biases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kernels.backend import Backend
from nets.options import Option, Value, number
from nets.tape import Array, Tape, call

BLOCK = 32_768
"""Elements of one array that an update touches at a time once the whole no longer fits the cache."""
WHOLE = 1 << 18
"""Elements up to which an update runs over the whole buffer at once: fewer calls win."""


@dataclass(frozen=True)
class Update:
    """What an optimizer is bound to: all (M, P) but the `rates` and `hyper`, each (M, 1).

    `decay` holds the optimizer's `decay` at weights, e.g. 2·l2, and 0 elsewhere; None if no model decays.
    """

    parameters: Array
    gradient: Array
    decay: Array | None
    slots: Mapping[str, Array]
    scratch: Array
    rates: Sequence[Array]
    hyper: Mapping[str, Array]
    flags: Mapping[str, bool]

    def columns(self, start: int, stop: int) -> Update:
        """The same update of parameters start..stop alone."""
        cut = slice(start, stop)
        return Update(
            self.parameters[..., cut],
            self.gradient[..., cut],
            None if self.decay is None else self.decay[..., cut],
            {name: slot[..., cut] for name, slot in self.slots.items()},
            self.scratch[..., cut],
            self.rates,
            self.hyper,
            self.flags,
        )


def _twice_l2(options: Mapping[str, Value]) -> float:
    return 2 * number(options, "l2")


def _weight_decay(options: Mapping[str, Value]) -> float:
    return number(options, "weight_decay")


def _none(_options: Mapping[str, Value]) -> float:
    return 0.0


@dataclass(frozen=True)
class Optimizer:
    """One optimizer: `bind` gives the tape of one update, `rates` its numbers that change with the step."""

    name: str
    doc: str
    source: str
    options: tuple[Option, ...]
    slots: tuple[str, ...]
    """State arrays of the parameters' shape, zero at the start."""
    hyper: tuple[str, ...]
    """Options that are (M, 1) arrays in the update and may differ within a stack."""
    bind: Callable[[Backend, Update], Tape]
    rates: Callable[[NDArray[np.float64], NDArray[np.float64], Mapping[str, Value]], NDArray[np.float64]]
    """(learning rates (n,), steps from 0 (n,), options) -> (n_rates, n)."""
    n_rates: int = 1
    decay: Callable[[Mapping[str, Value]], float] = _twice_l2
    """What `Update.decay` holds at weights."""
    searches: bool = False
    """True if a step draws new parameters and judges them on all training rows, without a gradient."""


def bind_in_blocks(optimizer: Optimizer, backend: Backend, update: Update) -> Tape:
    """The tape of one update, cut into blocks of columns that stay in the cache when the buffer is large.

    Elementwise arithmetic does not depend on the cut: the result is bit for bit the same.
    """
    models, count = update.parameters.shape
    if backend.device != "cpu" or models * count <= WHOLE:
        return optimizer.bind(backend, update)
    width = max(1024, BLOCK // models)
    tape: Tape = []
    for start in range(0, count, width):
        tape += optimizer.bind(backend, update.columns(start, min(start + width, count)))
    return tape


def _add_decay(tape: Tape, backend: Backend, at: Update) -> None:
    """gradient += 2·l2·W."""
    if at.decay is not None:
        call(tape, backend.xp.multiply, at.parameters, at.decay, out=at.scratch)
        call(tape, backend.xp.add, at.gradient, at.scratch, out=at.gradient)


def _bind_sgd(backend: Backend, at: Update) -> Tape:
    """v = µv + g; Nesterov looks ahead: u = g + µv, else u = v; p -= lr·u."""
    xp, tape = backend.xp, Tape()
    direction = at.gradient
    _add_decay(tape, backend, at)
    if at.flags["momentum"]:  # with µ = 0 for all, v = g: the two passes are left out, the bits stay
        velocity, momentum = at.slots["velocity"], at.hyper["momentum"]
        call(tape, xp.multiply, velocity, momentum, out=velocity)
        call(tape, xp.add, velocity, at.gradient, out=velocity)
        direction = velocity
        if at.flags["nesterov"]:
            call(tape, xp.multiply, velocity, momentum, out=at.scratch)
            call(tape, xp.add, at.gradient, at.scratch, out=at.gradient)
            direction = at.gradient
    call(tape, xp.multiply, direction, at.rates[0], out=at.scratch)
    call(tape, xp.subtract, at.parameters, at.scratch, out=at.parameters)
    return tape


def _sgd_rates(
    learning_rate: NDArray[np.float64], _step: NDArray[np.float64], _options: Mapping[str, Value]
) -> NDArray[np.float64]:
    return learning_rate[None]


def _bind_adam(backend: Backend, at: Update) -> Tape:
    """m = β₁m + (1-β₁)g; s = β₂s + (1-β₂)g²; p -= rate·m / (√s + ε̂), with rate and ε̂ bias-corrected."""
    xp, tape = backend.xp, Tape()
    mean, square, gradient, scratch = at.slots["mean"], at.slots["square"], at.gradient, at.scratch
    rate, epsilon = at.rates
    _add_decay(tape, backend, at)
    call(tape, xp.multiply, mean, at.hyper["beta1"], out=mean)
    call(tape, xp.multiply, gradient, at.hyper["1-beta1"], out=scratch)
    call(tape, xp.add, mean, scratch, out=mean)
    call(tape, xp.multiply, square, at.hyper["beta2"], out=square)
    call(tape, xp.multiply, gradient, gradient, out=gradient)
    call(tape, xp.multiply, gradient, at.hyper["1-beta2"], out=gradient)
    call(tape, xp.add, square, gradient, out=square)
    call(tape, xp.sqrt, square, out=scratch)
    call(tape, xp.add, scratch, epsilon, out=scratch)
    call(tape, xp.divide, mean, scratch, out=scratch)
    call(tape, xp.multiply, scratch, rate, out=scratch)
    call(tape, xp.subtract, at.parameters, scratch, out=at.parameters)
    return tape


def _adam_rates(
    learning_rate: NDArray[np.float64], step: NDArray[np.float64], options: Mapping[str, Value]
) -> NDArray[np.float64]:
    """rate = lr·√(1-β₂ᵗ)/(1-β₁ᵗ) and ε̂ = ε·√(1-β₂ᵗ), t = step + 1: the paper's efficient order."""
    beta1, beta2, epsilon = (number(options, name) for name in ("beta1", "beta2", "epsilon"))
    root = np.sqrt(-np.expm1((step + 1) * np.log(beta2))) if beta2 else np.ones_like(step)
    lead = -np.expm1((step + 1) * np.log(beta1)) if beta1 else np.ones_like(step)
    return np.stack([learning_rate * root / lead, epsilon * root])


def _bind_adamw(backend: Backend, at: Update) -> Tape:
    """p -= lr·λp at weights, then Adam's step on the bare gradient."""
    tape: Tape = []
    if at.decay is not None:
        call(tape, backend.xp.multiply, at.parameters, at.decay, out=at.scratch)
        call(tape, backend.xp.multiply, at.scratch, at.rates[2], out=at.scratch)
        call(tape, backend.xp.subtract, at.parameters, at.scratch, out=at.parameters)
    return tape + _bind_adam(backend, replace(at, decay=None, rates=at.rates[:2]))


def _adamw_rates(
    learning_rate: NDArray[np.float64], step: NDArray[np.float64], options: Mapping[str, Value]
) -> NDArray[np.float64]:
    return np.concatenate([_adam_rates(learning_rate, step, options), learning_rate[None]])


def _bind_adagrad(backend: Backend, at: Update) -> Tape:
    """s += g²; p -= lr·g / (√s + ε)."""
    tape: Tape = []
    _add_decay(tape, backend, at)
    call(tape, backend.xp.multiply, at.gradient, at.gradient, out=at.scratch)
    call(tape, backend.xp.add, at.slots["square"], at.scratch, out=at.slots["square"])
    return tape + _scaled_step(backend, at)


def _bind_rmsprop(backend: Backend, at: Update) -> Tape:
    """s = ρs + (1-ρ)g²; p -= lr·g / (√s + ε)."""
    xp, square, tape = backend.xp, at.slots["square"], Tape()
    _add_decay(tape, backend, at)
    call(tape, xp.multiply, square, at.hyper["decay"], out=square)
    call(tape, xp.multiply, at.gradient, at.gradient, out=at.scratch)
    call(tape, xp.multiply, at.scratch, at.hyper["1-decay"], out=at.scratch)
    call(tape, xp.add, square, at.scratch, out=square)
    return tape + _scaled_step(backend, at)


def _scaled_step(backend: Backend, at: Update) -> Tape:
    """p -= lr·g / (√s + ε) with s in the slot `square`."""
    xp, tape = backend.xp, Tape()
    rate, epsilon = at.rates
    call(tape, xp.sqrt, at.slots["square"], out=at.scratch)
    call(tape, xp.add, at.scratch, epsilon, out=at.scratch)
    call(tape, xp.divide, at.gradient, at.scratch, out=at.scratch)
    call(tape, xp.multiply, at.scratch, rate, out=at.scratch)
    call(tape, xp.subtract, at.parameters, at.scratch, out=at.parameters)
    return tape


def _scaled_rates(
    learning_rate: NDArray[np.float64], _step: NDArray[np.float64], options: Mapping[str, Value]
) -> NDArray[np.float64]:
    return np.stack([learning_rate, np.full_like(learning_rate, number(options, "epsilon"))])


def _bind_nothing(_backend: Backend, _at: Update) -> Tape:
    return []


_L2 = Option("l2", 1e-4, "λ of L + λ ΣW²; biases are not decayed.", 0.0, 1e6)


def _learning_rate(default: float) -> Option:
    return Option("learning_rate", default, "Step size before the schedule.", 0.0, 1e6, low_open=True)


_EPSILON = Option("epsilon", 1e-8, "Keeps the division finite.", 0.0, 1.0, low_open=True)
_BETAS = (
    Option("beta1", 0.9, "Memory of the mean.", 0.0, 0.9999),
    Option("beta2", 0.999, "Memory of the square.", 0.0, 0.999999),
)

OPTIMIZERS: Mapping[str, Optimizer] = {
    row.name: row
    for row in (
        Optimizer(
            "sgd",
            "Stochastic gradient descent with momentum: v = µv + g, p -= lr·v.",
            "Polyak 1964; Nesterov 1983; Sutskever et al. 2013",
            (
                _learning_rate(0.01),
                Option("momentum", 0.9, "µ: share of the last step that is kept.", 0.0, 0.9999),
                Option("nesterov", False, "Gradient at the point that momentum is about to reach."),
                _L2,
            ),
            ("velocity",),
            ("momentum",),
            _bind_sgd,
            _sgd_rates,
        ),
        Optimizer(
            "adam",
            "Steps scaled by running means of the gradient and its square.",
            "Kingma & Ba 2015, Adam, algorithm 1 and the note on efficiency",
            (
                _learning_rate(0.003),
                *_BETAS,
                _EPSILON,
                _L2,
            ),
            ("mean", "square"),
            ("beta1", "beta2", "1-beta1", "1-beta2"),
            _bind_adam,
            _adam_rates,
            n_rates=2,
        ),
        Optimizer(
            "adamw",
            "Adam with the weights' decay apart from the gradient: p -= lr·weight_decay·p.",
            "Loshchilov & Hutter 2019, Decoupled weight decay regularization, algorithm 2",
            (
                _learning_rate(0.003),
                *_BETAS,
                _EPSILON,
                Option("weight_decay", 0.01, "λ of p -= lr·λp; biases are not decayed.", 0.0, 1e6),
            ),
            ("mean", "square"),
            ("beta1", "beta2", "1-beta1", "1-beta2"),
            _bind_adamw,
            _adamw_rates,
            n_rates=3,
            decay=_weight_decay,
        ),
        Optimizer(
            "adagrad",
            "Steps scaled by the root of the sum of all squared gradients: they only shrink.",
            "Duchi, Hazan & Singer 2011, Adaptive subgradient methods",
            (_learning_rate(0.05), _EPSILON, _L2),
            ("square",),
            (),
            _bind_adagrad,
            _scaled_rates,
            n_rates=2,
        ),
        Optimizer(
            "rmsprop",
            "Steps scaled by the root of a running mean of squared gradients.",
            "Tieleman & Hinton 2012, Neural networks for machine learning, lecture 6.5",
            (
                _learning_rate(0.003),
                Option("decay", 0.9, "ρ: memory of the mean square.", 0.0, 0.999999),
                _EPSILON,
                _L2,
            ),
            ("square",),
            ("decay", "1-decay"),
            _bind_rmsprop,
            _scaled_rates,
            n_rates=2,
        ),
        Optimizer(
            "random_search",
            "The baseline: every epoch draws all weights anew, N(0, scale²), and the best draw is kept.",
            "CS231n, Optimization: strategy #1, random search",
            (Option("scale", 1e-4, "Standard deviation of weights and biases.", 0.0, 1000.0, low_open=True),),
            (),
            (),
            _bind_nothing,
            _sgd_rates,
            decay=_none,
            searches=True,
        ),
    )
}


def hyper_value(options: Mapping[str, Value], name: str) -> float:
    """The number behind one of `Optimizer.hyper`: an option, or `1-` that option taken in float64."""
    value = number(options, name.removeprefix("1-"))
    return 1.0 - value if name.startswith("1-") else value


def flags_of(stack: Sequence[Mapping[str, Value]]) -> dict[str, bool]:
    """What at least one model of the stack asks for, and the update must therefore do."""
    return {name: any(bool(options.get(name)) for options in stack) for name in ("momentum", "nesterov", "l2")}
