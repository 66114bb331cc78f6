"""Losses that are sums over scores: the value and the slope of one score beside its target, as expressions.

NumPy, the compiled engine and the CUDA kernels all compute what is written here; the rows of `nets.losses` hold it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from kernels.derivative import derivative
from kernels.expressions import parse
from kernels.tape import Expression, Tape

NAMES: Final = ("score", "target")


@dataclass(frozen=True, eq=False)
class Pointwise:
    """`value` and `slope` = d value/d score in `score`, `target` and `parameters`, numbers among the loss's options.

    Without a `slope` it is derived. `kinks` change their sign where the slope jumps. Compared by identity, so it can
    key caches.
    """

    value: str
    slope: str = ""
    parameters: tuple[str, ...] = ()
    kinks: tuple[str, ...] = ()

    @cached_property
    def value_expression(self) -> Expression:
        """The loss of one score."""
        return self._parsed(self.value, "value")

    @cached_property
    def slope_expression(self) -> Expression:
        """Its derivative by the score."""
        if self.slope:
            return self._parsed(self.slope, "slope")
        tape = Tape()
        value = tape.append(self.value_expression)
        slope = tape.append(derivative(self.value_expression, "score", "value"), {"value": value})
        return Expression(f"d/dscore {self.value}", tape.finish(slope))

    @cached_property
    def pullback_expression(self) -> Expression:
        """The derivative times `weight`, that of the sample in the gradient."""
        return self.slope_expression.times("weight")

    @cached_property
    def kink_expressions(self) -> tuple[Expression, ...]:
        """What changes its sign at a kink."""
        return tuple(self._parsed(text, "kinks") for text in self.kinks)

    def _parsed(self, text: str, what: str) -> Expression:
        return parse(text, (*NAMES, *self.parameters), pointer=f"/{what}")
