"""Optimizers: one pass over a model's flat buffers, written from the optimizer's rule and compiled when it is needed.

`decay` is the optimizer's own for weights, e.g. 2·l2: the caller hands over the weights and the biases of each layer by
themselves. The machine function of a rule is called by its address, so that no other compiled code depends on it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
from numba import types
from numpy.typing import NDArray

from kernels.compiled.jit import alone, call_address, emitted, exact, loose, machine_function, pointer_to, written
from kernels.tape import Expression
from kernels.updates import UpdateRule

Floats = NDArray[Any]

_PYTHON: Final = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "divide": "{} / {}",
    "negative": "-{}",
    "less": "{} < {}",
    "less_equal": "{} <= {}",
    "greater": "{} > {}",
    "greater_equal": "{} >= {}",
    "maximum": "{0} if {0} >= {1} or {0} != {0} else {1}",
    "minimum": "{0} if {0} <= {1} or {0} != {0} else {1}",
    "where": "{1} if {0} else {2}",
    "indicator": "real(1) if {} else real(0)",
    "sqrt": "math.sqrt({})",
    "erf": "math.erf({})",
}
"""Primitives of the tape as numba reads them; the others are called by their names."""

_MODULE: Final = """import math

from numba import carray
from numpy import {real} as real

from kernels.compiled.elementary import exp, expm1, log, log1p, tanh


def update(parameters, gradients, slots, stride, rates, numbers, decay, count):
    size = (count,)
    all_parameter, all_gradient = carray(parameters, size), carray(gradients, size)
    {heads}
    for i in range(count):
        {body}
"""


@lru_cache(maxsize=256)
def address_of(rule: UpdateRule, dtype: np.dtype[Any]) -> int:
    """Where the update of a rule lies in this process; compiled where no process has done so before."""
    i, real = types.intp, pointer_to(dtype)
    number = real.dtype
    with alone():
        update = written("update", source(rule, dtype))
        return machine_function([real, real, real, i, real, real, number, i], update)


def source(rule: UpdateRule, dtype: np.dtype[Any]) -> str:
    """The module of a rule's update: slot k lies `stride` numbers after slot k - 1, `numbers` are the rule's hyper."""
    read = {name for _, expression in rule.steps for name in expression.names}
    heads, body = [], []
    for places, names in (("rates", rule.rates), ("numbers", rule.hyper)):
        heads.append(f"given_{places} = carray({places}, ({max(1, len(names))},))")
        heads += [f"in_{name} = given_{places}[{k}]" for k, name in enumerate(names) if name in read]
    heads += ["in_decay = decay", f"given_slots = carray(slots, (stride * {len(rule.slots)},))"]
    assigned = {target for target, _ in rule.steps}
    kept = [slot for slot in rule.slots if slot in read | assigned]
    heads += [f"all_{slot} = given_slots[stride * {rule.slots.index(slot)} :][:count]" for slot in kept]
    body += [f"in_{name} = all_{name}[i]" for name in ("parameter", "gradient", *kept)]
    for number, (target, expression) in enumerate(rule.steps):
        body += _statements(expression, f"in_{target}", f"t{number}_")
    body += [f"all_{name}[i] = in_{name}" for name in ("parameter", *kept) if name in assigned]
    return _MODULE.format(real=dtype.name, heads="\n    ".join(heads), body="\n        ".join(body))


def _statements(expression: Expression, result: str, prefix: str) -> list[str]:
    """Python that sets `result` to an expression of the variables in_<name>."""
    lines: list[str] = []
    terms: list[str] = []
    for place, step in enumerate(expression.steps):
        if step.function == "name":
            terms.append(f"in_{step.name}")
        elif step.function == "constant":
            terms.append(f"real({step.constant!r})")
        else:
            form = _PYTHON.get(step.function, f"{step.function}({{}})")
            lines.append(f"{prefix}{place} = {form.format(*(terms[index] for index in step.arguments))}")
            terms.append(f"{prefix}{place}")
    return [*lines, f"{result} = {terms[-1]}"]


@emitted
def descend(
    _typing: Any, _address: Any, parameters: Any, gradient: Any, slots: Any, _stride: Any,
    rates: Any, numbers: Any, _decay: Any, _count: Any,
) -> Any:  # fmt: skip
    """Update `count` parameters by the machine function at the address; arrays begin with the first number."""
    i = types.intp
    return types.void(i, parameters, gradient, slots, i, rates, numbers, parameters.dtype, i), call_address


@loose
def norm(g: Floats) -> float:
    """‖g‖ as largest · ‖g / largest‖, in float64: the squares neither overflow nor vanish."""
    largest = g[0] * 0
    for i in range(g.size):
        largest = abs(g[i]) if abs(g[i]) > largest else largest
    unit, total = 1 / np.float64(largest) if largest > 1e-300 else 1.0, 0.0
    for i in range(g.size):
        total += (np.float64(g[i]) * unit) * (np.float64(g[i]) * unit)
    return float(np.sqrt(total) / unit)


@exact
def scale(g: Floats, factor: Any) -> None:
    """g *= factor."""
    for i in range(g.size):
        g[i] *= factor
