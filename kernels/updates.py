"""Update rules: what an optimizer does to one parameter, as assignments in the expression language.

The compiled engines and the fused kernels are written from these; `nets.optimizers` holds the same formulas as
NumPy calls, with the documentation and the ranges of the hyperparameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from kernels.expressions import parse
from kernels.tape import Expression


@dataclass(frozen=True)
class UpdateRule:
    """Assignments in order, over the parameter, its gradient, the slots and numbers of the model.

    `slots` are state of the parameter's shape, zero at the start. `rates` change from step to step, `hyper` do
    not; `decay` is the optimizer's own at weights, e.g. 2·l2, and 0 at biases. All of them belong to one model.
    """

    slots: tuple[str, ...]
    rates: tuple[str, ...]
    hyper: tuple[str, ...]
    assignments: tuple[tuple[str, str], ...]

    @property
    def numbers(self) -> tuple[str, ...]:
        """The model's numbers in the order in which kernels get them; `decay` is the last."""
        return (*self.rates, *self.hyper, "decay")

    @cached_property
    def steps(self) -> tuple[tuple[str, Expression], ...]:
        """(what is assigned, its tape), in order."""
        names = ("parameter", "gradient", *self.slots, *self.numbers)
        return tuple((target, parse(text, names, pointer=f"/{target}")) for target, text in self.assignments)


_DECAY: Final = ("gradient", "gradient + decay * parameter")
_MEAN: Final = ("mean", "beta1 * mean + rest1 * gradient")
_SQUARE: Final = ("square", "beta2 * square + rest2 * (gradient * gradient)")
_ADAM_STEP: Final = ("parameter", "parameter - rate * (mean / (sqrt(square) + epsilon))")
_SCALED_STEP: Final = ("parameter", "parameter - rate * (gradient / (sqrt(square) + epsilon))")
_VELOCITY: Final = ("velocity", "momentum * velocity + gradient")

UPDATE_RULES: Final[Mapping[str, UpdateRule]] = {
    "sgd": UpdateRule(
        ("velocity",),
        ("rate",),
        ("momentum",),
        (_DECAY, _VELOCITY, ("parameter", "parameter - rate * velocity")),
    ),
    "sgd_nesterov": UpdateRule(
        ("velocity",),
        ("rate",),
        ("momentum",),
        (_DECAY, _VELOCITY, ("parameter", "parameter - rate * (gradient + momentum * velocity)")),
    ),
    "adam": UpdateRule(
        ("mean", "square"),
        ("rate", "epsilon"),
        ("beta1", "beta2", "rest1", "rest2"),
        (_DECAY, _MEAN, _SQUARE, _ADAM_STEP),
    ),
    "adamw": UpdateRule(
        ("mean", "square"),
        ("rate", "epsilon", "shrink"),
        ("beta1", "beta2", "rest1", "rest2"),
        (("parameter", "parameter - parameter * decay * shrink"), _MEAN, _SQUARE, _ADAM_STEP),
    ),
    "adagrad": UpdateRule(
        ("square",),
        ("rate", "epsilon"),
        (),
        (_DECAY, ("square", "square + gradient * gradient"), _SCALED_STEP),
    ),
    "rmsprop": UpdateRule(
        ("square",),
        ("rate", "epsilon"),
        ("memory", "rest"),
        (_DECAY, ("square", "memory * square + rest * (gradient * gradient)"), _SCALED_STEP),
    ),
}


def rule_for(optimizer: str, *, nesterov: bool = False) -> UpdateRule | None:
    """The rule of an optimizer of `nets.optimizers`; None if there is none."""
    return UPDATE_RULES.get(f"{optimizer}_nesterov" if nesterov else optimizer)
