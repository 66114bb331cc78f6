"""Optimizers: one row each, whose assignments are the only statement of what it does.

Axis legend: M models, P parameters of one model. Every array is (M, P); numbers that change with the
step are (M, 1) arrays, so that the models of a stack may differ in all of them. `l2` is the λ of
L + λ ΣW²: its gradient 2λW is added for weights, never for biases.

All engines follow from a row: the tape of NumPy calls below, the loop of the compiled engine
(`kernels.compiled.updates`), the CUDA programs (`kernels.fused_source`, `kernels.persistent_source`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.programs import Pool, bound_calls
from kernels.updates import UpdateRule
from nets.options import Option, Value, number
from nets.tape import Array, Tape, play

BLOCK = 32_768
"""Elements of one array that an update touches at a time once the whole no longer fits the cache."""
WHOLE = 1 << 18
"""Elements up to which an update runs over the whole buffer at once: fewer calls win."""
LEAST_WIDTH = 1024
"""Columns of a block at least, however many models there are."""

Options = Mapping[str, Value]
Steps = NDArray[np.float64]


@dataclass(frozen=True)
class Update:
    """What a rule is bound to: all (M, P) but the `rates` and `hyper`, each (M, 1), in the rule's order.

    `decay` holds the optimizer's `decay` at weights, e.g. 2·l2, and 0 elsewhere; None if no model decays.
    `rule` knows its switches; `zeros` are those of its numbers that are 0 for every model.
    """

    rule: UpdateRule
    parameters: Array
    gradient: Array
    decay: Array | None
    slots: Mapping[str, Array]
    rates: Sequence[Array]
    hyper: Sequence[Array]
    zeros: frozenset[str] = frozenset()

    def named(self) -> dict[str, Array]:
        """Every array by its name in the rule."""
        numbers = dict(zip(self.rule.numbers, (*self.rates, *self.hyper), strict=False))
        arrays = {"parameter": self.parameters, "gradient": self.gradient, **self.slots, **numbers}
        return arrays if self.decay is None else {**arrays, "decay": self.decay}


def _twice_l2(options: Options) -> float:
    return 2 * number(options, "l2")


def _given(name: str) -> Callable[[Options], float]:
    return lambda options: number(options, name)


def _rest_of(name: str) -> Callable[[Options], float]:
    """1 - an option, in float64."""
    return lambda options: 1.0 - number(options, name)


@dataclass(frozen=True)
class Optimizer:
    """One optimizer: `assignments` are its rule, in the language of `kernels.updates`, over numbers named here.

    To add one, add its row; the engines, the spec, `/v1/capabilities` and the docs follow. Options that are true or
    false are switches in the assignments, 1 or 0: models that differ in one are not trained in one stack.
    """

    name: str
    doc: str
    source: str
    options: tuple[Option, ...]
    slots: tuple[str, ...]
    """State arrays of the parameters' shape, zero at the start."""
    assignments: tuple[tuple[str, str], ...]
    rates: tuple[str, ...] = ("rate",)
    """Numbers that change from step to step."""
    rates_at: Callable[[Steps, Steps, Options], Steps] = lambda learning_rate, _step, _options: learning_rate[None]
    """(learning rates (n,), steps from 0 (n,), options) -> `rates` (n_rates, n)."""
    hyper: Mapping[str, Callable[[Options], float]] = field(default_factory=dict)
    """Numbers that do not, from the options; all of them may differ within a stack."""
    decay: Callable[[Options], float] = _twice_l2
    """What `decay` is in the assignments, for weights; for biases it is 0."""
    searches: bool = False
    """True if a step draws new parameters and judges them on all training rows, without a gradient."""

    @property
    def n_rates(self) -> int:
        """How many numbers change from step to step."""
        return len(self.rates)

    @property
    def switches(self) -> tuple[str, ...]:
        """The options that are true or false: what models of one stack share."""
        return tuple(option.name for option in self.options if option.kind == "boolean")

    @cached_property
    def rule(self) -> UpdateRule:
        """The assignments with all names that they may use."""
        return UpdateRule(self.slots, self.rates, tuple(self.hyper), self.assignments, self.switches)

    def rule_for(self, options: Options) -> UpdateRule:
        """The rule with these options' switches."""
        return self.rule.given({name: float(bool(options[name])) for name in self.switches})

    def numbers(self, options: Options) -> list[float]:
        """The values of `hyper`, in order."""
        return [value(options) for value in self.hyper.values()]


def bind_in_blocks(at: Update) -> Tape:
    """The tape of one update, cut into blocks of columns that stay in the cache when the buffer is large.

    Elementwise arithmetic does not depend on the cut: the result is bit for bit the same.
    """
    models, count = at.parameters.shape
    width = count if models * count <= WHOLE else max(LEAST_WIDTH, BLOCK // models)
    steps = at.rule.given(dict.fromkeys(at.zeros, 0.0)).steps
    pool, named, tape = Pool(at.parameters.dtype), at.named(), Tape()
    for start in range(0, count, width):
        cut = slice(start, start + width)
        arrays = {name: array if array.shape[1] == 1 else array[:, cut] for name, array in named.items()}
        for target, expression in steps:
            read = {name: arrays[name] for name in expression.names}
            tape += bound_calls(expression, read, {}, arrays[target], pool)
    return tape


def zeros_of(optimizer: Optimizer, stack: Sequence[Options]) -> frozenset[str]:
    """The numbers of `hyper`, and `decay`, that are 0 for every model: an update does without what they scale."""
    rows = np.array([[*optimizer.numbers(options), optimizer.decay(options)] for options in stack])
    names = np.array([*optimizer.hyper, "decay"])
    return frozenset(names[~rows.any(axis=0)].tolist())


def reduced_rule(optimizer: Optimizer, options: Options) -> UpdateRule:
    """The rule with these options' switches, and without what their numbers that are 0 scale; `decay` stays."""
    known = dict.fromkeys(zeros_of(optimizer, [options]) - {"decay"}, 0.0)
    return optimizer.rule_for(options).given(known)


@lru_cache(maxsize=256)
def idle_slots(name: str, options: tuple[tuple[str, Value], ...]) -> frozenset[str]:
    """The slots that an optimizer with these options has no use for: they stay zero, whatever a stack writes there."""
    rule = reduced_rule(OPTIMIZERS[name], dict(options))
    return frozenset(rule.slots).difference(rule.assigned)


@lru_cache(maxsize=256)
def keeps_zeros(rule: UpdateRule) -> bool:
    """True if a parameter that is 0 and never has a gradient stays 0: what fills up the compiled engine's panels."""
    parameters, gradient, *numbers = (np.zeros((1, 1)) for _ in range(2 + len(rule.rates) + len(rule.hyper)))
    for column in numbers:
        column[:] = 0.5
    slots = {name: np.zeros((1, 1)) for name in rule.slots}
    rates, hyper = numbers[: len(rule.rates)], numbers[len(rule.rates) :]
    with np.errstate(all="ignore"):
        for _ in range(3):
            play(bind_in_blocks(Update(rule, parameters, gradient, None, slots, rates, hyper, frozenset({"decay"}))))
    return not parameters.any()


def _adam_rates(learning_rate: Steps, step: Steps, options: Options) -> Steps:
    """rate = lr·√(1-β₂ᵗ)/(1-β₁ᵗ) and ε̂ = ε·√(1-β₂ᵗ), t = step + 1: the paper's efficient order."""
    beta1, beta2, epsilon = (number(options, name) for name in ("beta1", "beta2", "epsilon"))
    root = np.sqrt(-np.expm1((step + 1) * np.log(beta2))) if beta2 else np.ones_like(step)
    lead = -np.expm1((step + 1) * np.log(beta1)) if beta1 else np.ones_like(step)
    return np.stack([learning_rate * root / lead, epsilon * root])


def _adamw_rates(learning_rate: Steps, step: Steps, options: Options) -> Steps:
    return np.concatenate([_adam_rates(learning_rate, step, options), learning_rate[None]])


def _scaled_rates(learning_rate: Steps, _step: Steps, options: Options) -> Steps:
    return np.stack([learning_rate, np.full_like(learning_rate, number(options, "epsilon"))])


_L2 = Option("l2", 1e-4, "λ of L + λ ΣW²; biases are not decayed.", 0.0, 1e6)


def _learning_rate(default: float) -> Option:
    return Option("learning_rate", default, "Step size before the schedule.", 0.0, 1e6, low_open=True)


_EPSILON = Option("epsilon", 1e-8, "Keeps the division finite.", 0.0, 1.0, low_open=True)
_BETAS = (
    Option("beta1", 0.9, "Memory of the mean.", 0.0, 0.9999),
    Option("beta2", 0.999, "Memory of the square.", 0.0, 0.999999),
)

_MEMORIES: Final = {
    "beta1": _given("beta1"),
    "rest1": _rest_of("beta1"),
    "beta2": _given("beta2"),
    "rest2": _rest_of("beta2"),
}

_DECAYED: Final = ("gradient", "gradient + decay * parameter")
_MEAN: Final = ("mean", "beta1 * mean + rest1 * gradient")
_SQUARE: Final = ("square", "beta2 * square + rest2 * (gradient * gradient)")
_ADAM_STEP: Final = ("parameter", "parameter - rate * (mean / (sqrt(square) + epsilon))")
_SCALED_STEP: Final = ("parameter", "parameter - rate * (gradient / (sqrt(square) + epsilon))")
_SGD_STEP: Final = "parameter - rate * where(nesterov > 0, gradient + momentum * velocity, velocity)"

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
            (_DECAYED, ("velocity", "momentum * velocity + gradient"), ("parameter", _SGD_STEP)),
            hyper={"momentum": _given("momentum")},
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
            (_DECAYED, _MEAN, _SQUARE, _ADAM_STEP),
            ("rate", "epsilon"),
            _adam_rates,
            _MEMORIES,
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
            (("parameter", "parameter - parameter * decay * shrink"), _MEAN, _SQUARE, _ADAM_STEP),
            ("rate", "epsilon", "shrink"),
            _adamw_rates,
            _MEMORIES,
            decay=_given("weight_decay"),
        ),
        Optimizer(
            "adagrad",
            "Steps scaled by the root of the sum of all squared gradients: they only shrink.",
            "Duchi, Hazan & Singer 2011, Adaptive subgradient methods",
            (_learning_rate(0.05), _EPSILON, _L2),
            ("square",),
            (_DECAYED, ("square", "square + gradient * gradient"), _SCALED_STEP),
            ("rate", "epsilon"),
            _scaled_rates,
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
            (_DECAYED, ("square", "memory * square + rest * (gradient * gradient)"), _SCALED_STEP),
            ("rate", "epsilon"),
            _scaled_rates,
            {"memory": _given("decay"), "rest": _rest_of("decay")},
        ),
        Optimizer(
            "random_search",
            "The baseline: every epoch draws all weights anew, N(0, scale²), and the best draw is kept.",
            "CS231n, Optimization: strategy #1, random search",
            (Option("scale", 1e-4, "Standard deviation of weights and biases.", 0.0, 1000.0, low_open=True),),
            (),
            (),
            decay=lambda _options: 0.0,
            searches=True,
        ),
    )
}
