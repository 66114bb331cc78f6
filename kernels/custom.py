"""Activations that a person writes: parsed by the whitelist, differentiated here, proved before they are used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np

from kernels.derivative import derivative
from kernels.errors import InvalidInput
from kernels.expressions import parse
from kernels.operations import Operation, Parameter
from kernels.programs import Evaluator
from kernels.tape import Expression

Floats = np.ndarray[Any, np.dtype[Any]]

NAME: Final = "custom"
RANGE: Final = 30.0
"""Inputs from -RANGE to RANGE are looked at: activations and slopes must be finite there in float32."""
LIMIT: Final = 1e12
"""What grows beyond this near one point has a pole there."""
GROWTH: Final = 10.0
"""At an end of the range it is one if it grows so many times as well: exp(x) is large there, and has none."""
MAX_PARAMETERS: Final = 8
MAX_KINKS: Final = 64
PARAMETER_LIMIT: Final = 1e6
_CELLS: Final = 6000
_ZOOMS: Final = 14
_TOLERANCE: Final = 1e-5
_HALVINGS: Final = 40
_ABRUPT: Final = 1e-6
_EVALUATOR: Final = Evaluator()


@dataclass(frozen=True, eq=False)
class CustomOperation(Operation):
    """An operation whose gradient is derived from its value; a kink takes the side that `>=` takes."""

    @cached_property
    def value_expression(self) -> Expression:
        """See Operation."""
        return parse(self.value, ("x", *self.parameter_names), pointer="/expression")

    @cached_property
    def gradient_expression(self) -> Expression:
        """See Operation."""
        return derivative(self.value_expression)


def custom_operation(expression: str, parameters: Mapping[str, float]) -> Operation:
    """The activation `expression` in `x` and `parameters`; the same object for the same text and numbers.

    Raises InvalidInput at /expression (with the column of what cannot be read, or the x where the function has a
    pole, a jump or an overflow) or at the parameter's name.
    """
    return _operation(expression, tuple(sorted(parameters.items())))


@lru_cache(maxsize=256)
def _operation(expression: str, parameters: tuple[tuple[str, float], ...]) -> Operation:
    if len(parameters) > MAX_PARAMETERS:
        detail = f"is number {MAX_PARAMETERS + 1}; an expression may have {MAX_PARAMETERS}"
        raise InvalidInput.at(f"/{parameters[MAX_PARAMETERS][0]}", detail)
    # caches of compiled code may go by the name: equal names mean equal texts
    name = f"{NAME}_{hashlib.sha256(expression.encode()).hexdigest()[:16]}"
    rows = tuple(Parameter(n, v, -PARAMETER_LIMIT, PARAMETER_LIMIT, "of the expression") for n, v in parameters)
    operation = CustomOperation(name, expression, "", "Written by its user.", "-", rows)
    unused = sorted(set(operation.parameter_names) - set(operation.value_expression.names))
    if unused:
        raise InvalidInput.at(f"/{unused[0]}", "is given, but the expression does not use it")
    try:
        function = _Function(operation)
    except ArithmeticError as error:
        raise InvalidInput.at("/expression", f"has a derivative that cannot be written: {error}") from None
    kinks = function.prove()
    return CustomOperation(name, expression, "", operation.doc, operation.source, rows, kinks)


class _Function:
    """Value and derivative of an operation as functions of float64 arrays."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._numbers = tuple(operation.defaults.items())
        operation.gradient_expression  # noqa: B018 - raises what it has to raise here

    def value(self, x: Floats) -> Floats:
        """f(x), in the dtype of x."""
        out = np.empty_like(x)
        _EVALUATOR.evaluate(self._operation.value_expression, ("x",), (x,), self._numbers, out)
        return out

    def slope(self, x: Floats) -> Floats:
        """f'(x), in the dtype of x."""
        out, y, one = np.empty_like(x), self.value(x), np.ones_like(x)
        names = ("x", "y", "upstream")
        _EVALUATOR.evaluate(self._operation.pullback_expression, names, (x, y, one), self._numbers, out)
        return out

    def prove(self) -> tuple[float, ...]:
        """The kinks within the range. Raises InvalidInput where f or f' is not finite, jumps, or f' is wrong."""
        with np.errstate(all="ignore"):
            grid = np.linspace(-RANGE, RANGE, _CELLS + 1)
            for x in (grid.astype(np.float32), grid):
                self._check_finite(x)
            for one in (self.value, self.slope):
                self._check_poles(one, grid)
            return self._kinks(grid)

    def _check_finite(self, x: Floats) -> None:
        for what, one in (("value", self.value), ("derivative", self.slope)):
            wrong = ~np.isfinite(one(x))
            if wrong.any():
                at = float(x[np.flatnonzero(wrong)[np.abs(x[wrong]).argmin()]])
                detail = f"the {what} is not finite at x = {at:.4g} ({x.dtype}); it must be on {-RANGE:g}..{RANGE:g}"
                raise InvalidInput.at("/expression", detail)

    def _check_poles(self, one: Callable[[Floats], Floats], grid: Floats) -> None:
        """Look closer and closer at the places where |f| is largest among its neighbours, and at both ends."""
        size = np.abs(one(grid))
        top = np.flatnonzero((size[1:-1] >= size[:-2]) & (size[1:-1] >= size[2:])) + 1
        top, ends = top[np.argsort(size[top])[-32:]], np.array([0, len(grid) - 1])
        centres = grid[np.append(top, ends)]
        limits = np.append(np.full(len(top), LIMIT), np.maximum(LIMIT, GROWTH * size[ends]))
        width = grid[1] - grid[0]
        for _ in range(_ZOOMS):
            near = np.clip(centres[:, None] + np.linspace(-width, width, 33), -RANGE, RANGE)
            height = np.abs(one(near))
            height = np.where(np.isfinite(height), height, np.inf)
            centres, width = near[np.arange(len(near)), height.argmax(axis=1)], width / 8
            over = np.flatnonzero(height.max(axis=1) > limits)
            if len(over):
                at = float(centres[over[0]])
                raise InvalidInput.at(
                    "/expression", f"has a pole near x = {at:.4g}; it must be finite and steep nowhere"
                )

    def _kinks(self, grid: Floats) -> tuple[float, ...]:
        """Points where the difference quotients of both sides differ; the derivative is checked everywhere else."""
        x = grid[:-1] + (grid[1] - grid[0]) * 0.382  # between the points where people put their kinks
        step = 1e-5
        quotient = (self.value(x + step) - self.value(x - step)) / (2 * step)
        slope = self.slope(x)
        scale = np.maximum(np.maximum(np.abs(slope), np.abs(quotient)), 1e-3 * np.abs(self.value(x)) + 1)
        bend = np.abs(self.slope(x + step) - self.slope(x - step))
        wrong = np.abs(quotient - slope) > _TOLERANCE * scale + bend
        if wrong.any():
            at = float(x[wrong.argmax()])
            raise InvalidInput.at(
                "/expression", f"and its derivative do not agree near x = {at:.4g}; is it smooth there?"
            )
        return self._bisect(x)

    def _bisect(self, x: Floats) -> tuple[float, ...]:
        """Halve every cell whose slope or value changes abruptly until it is a point: there is a kink, or a jump."""
        jumps = self._close_in(x, self._gap_of_value)
        if len(jumps):
            at = round(float(jumps[0]), 9) + 0.0
            raise InvalidInput.at("/expression", f"jumps near x = {at:.4g}; it must be continuous")
        kinks = sorted({round(float(a), 9) + 0.0 for a in self._close_in(x, self._gap_of_slope)})
        if len(kinks) > MAX_KINKS:
            raise InvalidInput.at("/expression", f"has {len(kinks)} kinks; at most {MAX_KINKS}")
        return tuple(kinks)

    def _gap_of_slope(self, a: Floats, b: Floats) -> Floats:
        left, right = self.slope(a), self.slope(b)
        return np.asarray(np.abs(right - left) / (1 + np.maximum(np.abs(left), np.abs(right))))

    def _gap_of_value(self, a: Floats, b: Floats) -> Floats:
        """What the slopes at both ends do not explain of the rise between them."""
        left, right = self.value(a), self.value(b)
        rise = np.abs(b - a) * np.maximum(np.abs(self.slope(a)), np.abs(self.slope(b)))
        return np.asarray((np.abs(right - left) - 2 * rise) / (1 + np.maximum(np.abs(left), np.abs(right))))

    def _close_in(self, x: Floats, gap: Callable[[Floats, Floats], Floats]) -> Floats:
        """Where `gap` of a cell stays above a threshold however often the cell is halved."""
        left, right = x[:-1], x[1:]
        for _ in range(_HALVINGS):
            middle = (left + right) / 2
            lower, upper = gap(left, middle), gap(middle, right)
            keep = np.maximum(lower, upper) > _ABRUPT
            left, right = np.where(lower > upper, left, middle)[keep], np.where(lower > upper, middle, right)[keep]
        return left
