"""Initial weights: one standard deviation per row of the table, drawn from counter-based normals.

Biases start at 0. The numbers of a layer depend on (seed, layer) alone: they are the same on every
device, and a wider net elsewhere in the stack changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nets.options import Option, Value, number


@dataclass(frozen=True)
class Initializer:
    """One initialiser: `deviation(fan_in, fan_out, options)` of the normal that weights are drawn from."""

    name: str
    doc: str
    source: str
    deviation: Callable[[int, int, Mapping[str, Value]], float]
    options: tuple[Option, ...] = ()


def _he(fan_in: int, _fan_out: int, _options: Mapping[str, Value]) -> float:
    return math.sqrt(2.0 / fan_in)


def _xavier(fan_in: int, fan_out: int, _options: Mapping[str, Value]) -> float:
    return math.sqrt(2.0 / (fan_in + fan_out))


def _normal(_fan_in: int, _fan_out: int, options: Mapping[str, Value]) -> float:
    return number(options, "std")


def _zeros(_fan_in: int, _fan_out: int, _options: Mapping[str, Value]) -> float:
    return 0.0


INITIALIZERS: Mapping[str, Initializer] = {
    row.name: row
    for row in (
        Initializer("he", "N(0, 2/fan_in): keeps the variance through ReLU layers.", "He et al. 2015, eq. 12", _he),
        Initializer("xavier", "N(0, 2/(fan_in+fan_out)).", "Glorot & Bengio 2010, eq. 12", _xavier),
        Initializer(
            "normal",
            "N(0, std²); also written `normal:0.01`.",
            "the lecture's small random weights",
            _normal,
            (Option("std", 0.01, "Standard deviation.", 0.0, 1000.0),),
        ),
        Initializer("zeros", "All weights 0: a hidden layer then never breaks its symmetry.", "for tests", _zeros),
    )
}
