"""The tape: what an expression is after parsing, and the primitives it may consist of.

A tape is a flat, topologically ordered tuple of steps. Equal steps occur once, constants are folded in float64,
and what the result does not need is dropped. `programs.py` runs a tape, `c_source.py` writes it as C.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

Kind = Literal["number", "truth"]


@dataclass(frozen=True)
class Function:
    """A primitive of the tape: argument kinds, result kind, how C says it (`{f}` is the type's suffix)."""

    arguments: tuple[Kind, ...]
    result: Kind
    c: str


_NUMBER: Final[Kind] = "number"
_UNARY: Final[tuple[Kind, ...]] = (_NUMBER,)
_BINARY: Final[tuple[Kind, ...]] = (_NUMBER, _NUMBER)

# What may be called by name. `maximum` and `minimum` propagate NaN, as NumPy's do and fmaxf does not.
FUNCTIONS: Final[dict[str, Function]] = {
    "abs": Function(_UNARY, "number", "fabs{f}({0})"),
    "erf": Function(_UNARY, "number", "erf{f}({0})"),
    "exp": Function(_UNARY, "number", "exp{f}({0})"),
    "expm1": Function(_UNARY, "number", "expm1{f}({0})"),
    "log": Function(_UNARY, "number", "log{f}({0})"),
    "log1p": Function(_UNARY, "number", "log1p{f}({0})"),
    "maximum": Function(_BINARY, "number", "({0} >= {1} || {0} != {0}) ? {0} : {1}"),
    "minimum": Function(_BINARY, "number", "({0} <= {1} || {0} != {0}) ? {0} : {1}"),
    "sqrt": Function(_UNARY, "number", "sqrt{f}({0})"),
    "tanh": Function(_UNARY, "number", "tanh{f}({0})"),
    "where": Function(("truth", _NUMBER, _NUMBER), "number", "{0} ? {1} : {2}"),
}

# What only an operator, or the tape itself, can produce.
OPERATORS: Final[dict[str, Function]] = {
    "add": Function(_BINARY, "number", "{0} + {1}"),
    "subtract": Function(_BINARY, "number", "{0} - {1}"),
    "multiply": Function(_BINARY, "number", "{0} * {1}"),
    "divide": Function(_BINARY, "number", "{0} / {1}"),
    "negative": Function(_UNARY, "number", "-{0}"),
    "less": Function(_BINARY, "truth", "{0} < {1}"),
    "less_equal": Function(_BINARY, "truth", "{0} <= {1}"),
    "greater": Function(_BINARY, "truth", "{0} > {1}"),
    "greater_equal": Function(_BINARY, "truth", "{0} >= {1}"),
    "indicator": Function(("truth",), "number", "{0} ? {one} : {zero}"),
}

PRIMITIVES: Final[dict[str, Function]] = FUNCTIONS | OPERATORS


@dataclass(frozen=True)
class Step:
    """One entry of a tape: a primitive of earlier steps, or the leaf `constant` or `name`."""

    function: str
    arguments: tuple[int, ...] = ()
    constant: float = 0.0
    name: str = ""


@dataclass(frozen=True, eq=False)
class Expression:
    """A parsed expression; the last step is its result. Compared by identity, so it can key caches cheaply."""

    text: str
    steps: tuple[Step, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the tape reads, in order of first use."""
        return tuple(step.name for step in self.steps if step.function == "name")

    def times(self, name: str) -> Expression:
        """`name * (this)` as one tape: the local derivative fused with the upstream gradient."""
        tape = Tape()
        root = tape.append(self)
        product = tape.call("multiply", (tape.name(name), root))
        return Expression(f"{name} * ({self.text})", tape.finish(product))

    def given(self, numbers: Mapping[str, float], names: Mapping[str, str] = {}) -> Expression:
        """This with numbers, or other names, in the place of names: what is known to be 0 or never taken vanishes.

        0 times anything counts as 0, also where that is not finite.
        """
        tape, places, truths = Tape(), list[int](), dict[int, bool]()
        for index, step in enumerate(self.steps):
            arguments = tuple(places[i] for i in step.arguments)
            if step.function == "name" and step.name not in numbers:
                places.append(tape.name(names.get(step.name, step.name)))
            elif step.function in ("name", "constant"):
                places.append(tape.constant(numbers.get(step.name, step.constant)))
            elif step.arguments and step.arguments[0] in truths:
                chosen = (tape.constant(1.0), tape.constant(0.0)) if step.function == "indicator" else arguments[1:]
                places.append(chosen[0 if truths[step.arguments[0]] else 1])
            else:
                places.append(tape.reduced(step.function, arguments))
                known = tape.comparison(places[-1])
                if known is not None:
                    truths[index] = known
        return Expression(self.text, tape.finish(places[-1]))


class Tape:
    """Builds steps: equal steps are shared, constants folded, what the result does not need is dropped."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._known: dict[Step, int] = {}

    def _add(self, step: Step) -> int:
        index = self._known.setdefault(step, len(self.steps))
        if index == len(self.steps):
            self.steps.append(step)
        return index

    def constant(self, value: float) -> int:
        """The index of a constant. Raises ArithmeticError where float32 cannot hold it."""
        if value != 0 and not _SMALLEST <= abs(value) <= _LARGEST:
            raise ArithmeticError(f"{value:g} is not 0 and not within {_SMALLEST:g}..{_LARGEST:g} (float32)")
        return self._add(Step("constant", constant=value + 0.0))  # one zero: -0.0 equals 0.0 and would be shared

    def name(self, name: str) -> int:
        """The index of an input."""
        return self._add(Step("name", name=name))

    def call(self, function: str, arguments: tuple[int, ...]) -> int:
        """The index of `function(*arguments)`, simplified where that changes no bit of the result."""
        given = [self.steps[index] for index in arguments]
        values = [step.constant if step.function == "constant" else None for step in given]
        if function == "multiply" and 1.0 in values:
            return arguments[1 - values.index(1.0)]
        if function == "where" and values[1:] == [1.0, 0.0]:
            return self._add(Step("indicator", arguments[:1]))
        known = [value for value in values if value is not None]
        if len(known) == len(given) and PRIMITIVES[function].result == "number":
            return self.constant(_fold(function, known))
        return self._add(Step(function, arguments))

    def reduced(self, function: str, arguments: tuple[int, ...]) -> int:
        """Like `call`, and what a 0 makes needless is left out."""
        zeros = [self.steps[index] == _ZERO for index in arguments]
        if function == "multiply" and any(zeros):
            return self.constant(0.0)
        if function == "add" and any(zeros):
            return arguments[0 if zeros[1] else 1]
        if function == "subtract" and zeros[1]:
            return arguments[0]
        return self.call(function, arguments)

    def comparison(self, index: int) -> bool | None:
        """What a comparison of two constants says; None for any other step."""
        step = self.steps[index]
        given = [self.steps[argument] for argument in step.arguments]
        if self.kind(index) != "truth" or any(one.function != "constant" for one in given):
            return None
        return bool(getattr(np, step.function)(*(one.constant for one in given)))

    def append(self, expression: Expression, known: Mapping[str, int] = {}) -> int:
        """Copy another tape onto this one and return the index of its result; `known` names are steps already."""
        places: list[int] = []
        for step in expression.steps:
            copy = Step(step.function, tuple(places[i] for i in step.arguments), step.constant, step.name)
            places.append(known[step.name] if step.name in known else self._add(copy))
        return places[-1]

    def kind(self, index: int) -> Kind:
        """Whether a step is a number or a truth value."""
        function = self.steps[index].function
        return PRIMITIVES[function].result if function in PRIMITIVES else "number"

    def finish(self, root: int) -> tuple[Step, ...]:
        """The steps that `root` needs, in order, renumbered, with `root` last."""
        needed = {root}
        for index in range(root, -1, -1):
            if index in needed:
                needed.update(self.steps[index].arguments)
        order = sorted(needed)
        place = {old: new for new, old in enumerate(order)}
        kept = (self.steps[index] for index in order)
        return tuple(Step(s.function, tuple(place[i] for i in s.arguments), s.constant, s.name) for s in kept)


_ZERO: Final = Step("constant")
_SMALLEST: Final = float(np.finfo(np.float32).smallest_normal)
_LARGEST: Final = float(np.finfo(np.float32).max)


def _fold(function: str, values: Sequence[float]) -> float:
    """A primitive of constants, in float64. Raises ArithmeticError where there is no finite result."""
    if function == "erf":
        return math.erf(values[0])
    with np.errstate(all="ignore"):
        result = float(getattr(np, function)(*values))
    if not math.isfinite(result):
        raise ArithmeticError(f"{function} of {', '.join(f'{value:g}' for value in values)} is not finite")
    return result
