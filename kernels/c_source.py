"""Writes a tape as C: one `const` per step, every literal and function in the asked precision.

The same text runs in a CUDA kernel and, compiled by a host compiler, in the tests. `sqrtf`, `1.0f` and their like
keep float32 code free of double arithmetic, which is 2 to 64 times slower on a GPU.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from kernels.tape import PRIMITIVES, Expression

Real = Literal["float", "double"]

_SUFFIX: Final[dict[Real, str]] = {"float": "f", "double": ""}


def literal(value: float, real: Real) -> str:
    """`value` rounded to the precision, as the shortest literal that reads back to the same bits."""
    text = repr(float(value)) if real == "double" else str(np.float32(value))
    if "." not in text and "e" not in text:
        text += ".0"
    text += _SUFFIX[real]
    return f"({text})" if text.startswith("-") else text


def assignments(expression: Expression, real: Real, result: str, prefix: str = "in_") -> str:
    """C statements that set `result` to the expression of the variables `<prefix><name>`."""
    lines: list[str] = []
    terms: list[str] = []
    for step in expression.steps:
        if step.function == "name":
            terms.append(prefix + step.name)
        elif step.function == "constant":
            terms.append(literal(step.constant, real))
        else:
            primitive = PRIMITIVES[step.function]
            given = [terms[index] for index in step.arguments]
            text = primitive.c.format(*given, f=_SUFFIX[real], one=literal(1.0, real), zero=literal(0.0, real))
            terms.append(f"t{len(lines)}")
            lines.append(f"const {real if primitive.result == 'number' else 'bool'} {terms[-1]} = {text};")
    return "\n".join([*lines, f"{result} = {terms[-1]};"])
