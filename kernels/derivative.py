"""The derivative of a tape, as a tape: forward differentiation, step by step, simplified on the way.

At a kink the branch is taken that `>=` takes, throughout: pieces that meet smoothly, as those of `sigmoid` and
`softplus` do at 0, then give the derivative of one and the same piece.
"""

from __future__ import annotations

import math

from kernels.tape import PRIMITIVES, Expression, Function, Step, Tape

_SLOPE_OF_ERF = 2 / math.sqrt(math.pi)
_LEAF = Function((), "number", "")


def derivative(expression: Expression, variable: str = "x", value: str = "y") -> Expression:
    """d(expression)/d(variable), in the expression's names and `value`, the name of the expression's own result.

    Raises ArithmeticError where a constant of the derivative is not within float32's range.
    """
    return _Differentiation(expression, variable, value).run()


class _Differentiation:
    """One pass over the steps: `_places` are the steps copied, `_slopes` their derivatives, None for a plain 0."""

    def __init__(self, expression: Expression, variable: str, value: str) -> None:
        self._expression, self._variable = expression, variable
        self._tape = Tape()
        self._places: list[int] = []
        self._slopes: list[int | None] = []
        self._value = value

    def run(self) -> Expression:
        last = len(self._expression.steps) - 1
        for index, step in enumerate(self._expression.steps):
            self._places.append(self._copy(step, last=index == last))
            self._slopes.append(self._slope(step, self._places[index]))
        slope = self._slopes[-1]
        root = self._tape.constant(0.0) if slope is None else slope
        return Expression(f"d/d{self._variable} {self._expression.text}", self._tape.finish(root))

    def _copy(self, step: Step, *, last: bool) -> int:
        if step.function == "constant":
            return self._tape.constant(step.constant)
        if step.function == "name":
            return self._tape.name(step.name)
        if last:
            return self._tape.name(self._value)  # known already
        return self._tape.call(step.function, tuple(self._places[i] for i in step.arguments))

    def _slope(self, step: Step, place: int) -> int | None:
        if step.function == "name":
            return self._tape.constant(1.0) if step.name == self._variable else None
        given = [self._places[i] for i in step.arguments]
        slopes = [self._slopes[i] for i in step.arguments]
        if PRIMITIVES.get(step.function, _LEAF).result == "truth" or not any(slope is not None for slope in slopes):
            return None
        if len(given) == 1:
            return self._times(self._outer(step.function, given[0], place), slopes[0])
        return self._joined(step.function, given, slopes, place)

    def _outer(self, function: str, a: int, y: int) -> int:
        """f'(a) of a function of one number, with y = f(a)."""
        tape, one = self._tape, self._tape.constant(1.0)
        if function in ("negative", "abs"):
            minus = tape.constant(-1.0)
            return minus if function == "negative" else self._where("greater_equal", a, tape.constant(0.0), one, minus)
        if function in ("exp", "expm1"):
            return y if function == "exp" else tape.call("exp", (a,))
        if function == "log":
            return tape.call("divide", (one, a))
        if function == "log1p":
            return tape.call("divide", (one, tape.call("add", (one, a))))
        if function == "sqrt":
            return tape.call("divide", (tape.constant(0.5), y))
        if function == "tanh":
            return tape.call("subtract", (one, tape.call("multiply", (y, y))))
        square = tape.call("multiply", (a, a))
        return tape.call(
            "multiply", (tape.constant(_SLOPE_OF_ERF), tape.call("exp", (tape.call("negative", (square,)),)))
        )

    def _joined(self, function: str, given: list[int], slopes: list[int | None], y: int) -> int | None:
        tape = self._tape
        if function == "where":
            return tape.call("where", (given[0], self._number(slopes[1]), self._number(slopes[2])))
        (a, b), (da, db) = given, slopes
        if function in ("maximum", "minimum"):
            comparison = "greater_equal" if function == "maximum" else "less"
            return self._where(comparison, a, b, self._number(da), self._number(db))
        if function == "add":
            return self._plus(da, db)
        if function == "subtract":
            return self._minus(da, db)
        if function == "multiply":
            return self._plus(self._times(b, da), self._times(a, db))
        top = self._minus(da, self._times(y, db))  # y = a/b: dy = (da - y db)/b
        return None if top is None else tape.call("divide", (top, b))

    def _where(self, comparison: str, left: int, right: int, chosen: int, otherwise: int) -> int:
        return self._tape.call("where", (self._tape.call(comparison, (left, right)), chosen, otherwise))

    def _number(self, slope: int | None) -> int:
        return self._tape.constant(0.0) if slope is None else slope

    def _times(self, factor: int, slope: int | None) -> int | None:
        return None if slope is None else self._tape.call("multiply", (factor, slope))

    def _plus(self, a: int | None, b: int | None) -> int | None:
        if a is None or b is None:
            return b if a is None else a
        return self._tape.call("multiply", (a, self._tape.constant(2.0))) if a == b else self._tape.call("add", (a, b))

    def _minus(self, a: int | None, b: int | None) -> int | None:
        if b is None:
            return a
        if a is None:
            return self._tape.call("negative", (b,))
        return None if a == b else self._tape.call("subtract", (a, b))
