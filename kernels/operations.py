"""Every operation is one row: its value, its gradient, its parameters, where it comes from.

The value is written in the input `x`, the gradient dy/dx in `x` and in the value `y`, both also in the
row's parameters. Backends, capabilities, the spec's schema and the tests all follow from the rows.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from kernels.errors import InvalidInput
from kernels.expressions import CONSTANTS, MACROS, parse
from kernels.tape import FUNCTIONS, Expression

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_RESERVED: Final = frozenset({"x", "y", "upstream", *CONSTANTS, *FUNCTIONS, *MACROS, *keyword.kwlist})


@dataclass(frozen=True)
class Parameter:
    """A number that shapes an operation: its default and the closed range it may take."""

    name: str
    default: float
    low: float
    high: float
    doc: str


@dataclass(frozen=True, eq=False)
class Operation:
    """An elementwise function with its derivative.

    `kinks` are the inputs at which the derivative jumps; there the gradient is the derivative from the left.
    `source` says where the definition is published. Compared by identity, so it can key caches.
    """

    name: str
    value: str
    gradient: str
    doc: str
    source: str
    parameters: tuple[Parameter, ...] = ()
    kinks: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        names = [parameter.name for parameter in self.parameters]
        if not _NAME.fullmatch(self.name):
            raise InvalidInput.at("/name", f"is {self.name!r}; must match {_NAME.pattern}")
        for name in names:
            if not _NAME.fullmatch(name) or name in _RESERVED or names.count(name) > 1:
                raise InvalidInput.at(f"/{name}", f"must match {_NAME.pattern}, be given once and mean nothing else")

    @cached_property
    def value_expression(self) -> Expression:
        """`value` as a tape in `x` and the parameters."""
        return parse(self.value, ("x", *self.parameter_names), pointer="/value")

    @cached_property
    def gradient_expression(self) -> Expression:
        """`gradient` as a tape in `x`, `y` and the parameters."""
        return parse(self.gradient, ("x", "y", *self.parameter_names), pointer="/gradient")

    @cached_property
    def pullback_expression(self) -> Expression:
        """`upstream * gradient` as one tape in `x`, `y`, `upstream` and the parameters."""
        return self.gradient_expression.times("upstream")

    @cached_property
    def parameter_names(self) -> tuple[str, ...]:
        """The parameters' names, in the row's order."""
        return tuple(parameter.name for parameter in self.parameters)

    @cached_property
    def defaults(self) -> dict[str, float]:
        """Every parameter at its default."""
        return {parameter.name: parameter.default for parameter in self.parameters}


def _alpha(default: float, low: float, high: float, doc: str) -> tuple[Parameter, ...]:
    return (Parameter("alpha", default, low, high, doc),)


_ROWS: Final = (
    Operation(
        name="identity",
        value="x",
        gradient="1",
        doc="Passes its input on; the net stays linear there.",
        source="-",
    ),
    Operation(
        name="sigmoid",
        value="sigmoid(x)",
        gradient="y * (1 - y)",
        doc="1 / (1 + exp(-x)): squashes to (0, 1); saturates, and its outputs are not centred on zero.",
        source="CS231n, Neural Networks 1",
    ),
    Operation(
        name="tanh",
        value="tanh(x)",
        gradient="1 - y * y",
        doc="The hyperbolic tangent: squashes to (-1, 1), centred on zero; saturates.",
        source="CS231n, Neural Networks 1; LeCun et al. 1998, Efficient BackProp",
    ),
    Operation(
        name="relu",
        value="maximum(x, 0)",
        gradient="where(x > 0, 1, 0)",
        doc="max(0, x): cheap and does not saturate for x > 0; a unit that is never positive stays dead.",
        source="Nair & Hinton 2010; Krizhevsky et al. 2012",
        kinks=(0.0,),
    ),
    Operation(
        name="leaky_relu",
        value="where(x > 0, x, alpha * x)",
        gradient="where(x > 0, 1, alpha)",
        doc="x for x > 0, alpha x otherwise: a rectifier that cannot die.",
        source="Maas et al. 2013, Rectifier Nonlinearities Improve Neural Network Acoustic Models",
        parameters=_alpha(0.01, 0.0, 1.0, "slope for x <= 0"),
        kinks=(0.0,),
    ),
    Operation(
        name="elu",
        value="where(x > 0, x, alpha * expm1(minimum(x, 0)))",
        gradient="where(x > 0, 1, y + alpha)",
        doc="x for x > 0, alpha (exp(x) - 1) otherwise: saturates softly at -alpha.",
        source="Clevert et al. 2016, arXiv:1511.07289, eq. 15",
        parameters=_alpha(1.0, 0.0, 100.0, "the value approached for x -> -inf, negated"),
        kinks=(0.0,),
    ),
    Operation(
        name="gelu",
        value="0.5 * x * (1 + tanh(x * (sqrt(2/pi) + 0.044715*sqrt(2/pi) * x**2)))",
        gradient=(
            "0.5 * (1 + tanh(x * (sqrt(2/pi) + 0.044715*sqrt(2/pi) * x**2)))"
            " * (1 + (1 - tanh(x * (sqrt(2/pi) + 0.044715*sqrt(2/pi) * x**2)))"
            " * x * (sqrt(2/pi) + 3*0.044715*sqrt(2/pi) * x**2))"
        ),
        doc="0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): the usual fast form of x Phi(x).",
        source="Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2",
    ),
    Operation(
        name="gelu_erf",
        value="0.5 * x * (1 + erf(sqrt(0.5) * x))",
        gradient="0.5 * (1 + erf(sqrt(0.5) * x)) + 1/sqrt(2*pi) * x * exp(-0.5 * x**2)",
        doc="x Phi(x) with Phi the standard normal distribution function, exactly.",
        source="Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2",
    ),
    Operation(
        name="silu",
        value="x * sigmoid(x)",
        gradient="sigmoid(x) + y * (1 - sigmoid(x))",
        doc="x sigmoid(x), also called swish: smooth, with a small dip below zero.",
        source="Elfwing et al. 2018, arXiv:1702.03118; Ramachandran et al. 2017, arXiv:1710.05941",
    ),
    Operation(
        name="softplus",
        value="softplus(x)",
        gradient="sigmoid(x)",
        doc="ln(1 + exp(x)): a smooth rectifier.",
        source="Dugas et al. 2001; Glorot et al. 2011",
    ),
    Operation(
        name="selu",
        value="where(x > 0, 1.0507009873554805 * x, 1.7580993408473766 * expm1(minimum(x, 0)))",
        gradient="where(x > 0, 1.0507009873554805, y + 1.7580993408473766)",
        doc="lambda elu(x) with constants that keep the activations' mean and variance at 0 and 1.",
        source="Klambauer et al. 2017, arXiv:1706.02515, eq. 2 and 14",
        kinks=(0.0,),
    ),
)

ACTIVATIONS: Final[dict[str, Operation]] = {row.name: row for row in _ROWS}
