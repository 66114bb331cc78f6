"""Runs a tape on blocks of numbers that stay in the first-level cache: a small machine of vector instructions.

One compiled loop per primitive serves every expression, so a new activation, a user's own included, needs no
compiler: its tape becomes rows of integers. Registers hold BLOCK numbers; constants are registers filled once.
An instruction is (primitive, first, second, third, target); operands 0.. are registers, negative ones INPUTS.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numba import carray, types  # type: ignore[attr-defined]
from numpy.typing import NDArray

from kernels.compiled.elementary import exp, expm1, log, log1p, tanh
from kernels.compiled.jit import call_address, emitted, exact, machine_function, pointer_to
from kernels.tape import PRIMITIVES, Expression

BLOCK: Final = 512
"""Numbers of one register."""

INPUTS: Final = {"x": -1, "y": -2, "upstream": -3, "score": -1, "target": -2, "weight": -3}
OUTPUT: Final = -4

COPY: Final = 0
_NUMBERS: Final = {name: place for place, name in enumerate(sorted(PRIMITIVES), start=1)}
_ABS, _ADD, _DIVIDE, _ERF, _EXP, _EXPM1 = (_NUMBERS[n] for n in ("abs", "add", "divide", "erf", "exp", "expm1"))
_GREATER, _GREATER_EQUAL, _LESS = (_NUMBERS[n] for n in ("greater", "greater_equal", "less"))
_LESS_EQUAL, _LOG, _LOG1P, _MAXIMUM = (_NUMBERS[n] for n in ("less_equal", "log", "log1p", "maximum"))
_MINIMUM, _MULTIPLY, _NEGATIVE, _SQRT = (_NUMBERS[n] for n in ("minimum", "multiply", "negative", "sqrt"))
_SUBTRACT, _TANH, _WHERE = (_NUMBERS[n] for n in ("subtract", "tanh", "where"))

Floats = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Program:
    """Instructions (n, 5) int64 and the registers (r · BLOCK,) that they use, constants filled in."""

    instructions: NDArray[np.int64]
    registers: Floats


def program(expression: Expression, parameters: Mapping[str, float], dtype: np.dtype[Any]) -> Program:
    """An expression in the names of INPUTS and in parameters, as instructions."""
    constants: list[float] = []
    places: list[int] = []
    rows: list[list[int]] = []
    for step in expression.steps:
        if step.function == "name" and step.name in INPUTS:
            places.append(INPUTS[step.name])
        elif step.function in {"name", "constant"}:
            constants.append(parameters[step.name] if step.function == "name" else step.constant)
            places.append(len(constants) - 1)
        elif step.function == "indicator":
            places.append(places[step.arguments[0]])  # comparisons give 1 and 0
        else:
            arguments = [places[index] for index in step.arguments]
            rows.append([_NUMBERS[step.function], *arguments, *[0] * (3 - len(arguments)), len(rows)])
            places.append(_later(len(rows) - 1))
    if not rows or places[-1] != _later(len(rows) - 1):
        rows.append([COPY, places[-1], 0, 0, len(rows)])
    first = len(constants)
    code = np.array([[row[0], *(_settled(a, first) for a in row[1:4]), first + row[4]] for row in rows], np.int64)
    code[-1, 4] = OUTPUT
    registers = np.zeros((first + len(rows)) * BLOCK, dtype)
    registers.reshape(-1, BLOCK)[:first] = np.array(constants, np.float64).astype(dtype)[:, None]
    return Program(code, registers)


_FAR: Final = 1 << 20


def _later(row: int) -> int:
    """The result of a row, before it is known how many constants come first."""
    return _FAR + row


def _settled(place: int, first: int) -> int:
    return place - _FAR + first if place >= _FAR else place


@exact
def _operand(place: int, at: int, count: int, registers: Floats, x: Floats, y: Floats, upstream: Floats) -> Floats:
    if place >= 0:
        return registers[place * BLOCK : place * BLOCK + count]
    if place == -1:
        return x[at : at + count]
    if place == -2:
        return y[at : at + count]
    return upstream[at : at + count]


@exact
def _run(
    instructions: NDArray[np.int64], registers: Floats, x: Floats, y: Floats, upstream: Floats, out: Floats
) -> None:
    """See `run`."""
    for at in range(0, out.size, BLOCK):
        count = min(BLOCK, out.size - at)
        for k in range(instructions.shape[0]):
            a = _operand(instructions[k, 1], at, count, registers, x, y, upstream)
            b = _operand(instructions[k, 2], at, count, registers, x, y, upstream)
            target = instructions[k, 4]
            r = out[at : at + count]
            if target >= 0:
                r = registers[target * BLOCK : target * BLOCK + count]
            if instructions[k, 0] == _WHERE:
                c = _operand(instructions[k, 3], at, count, registers, x, y, upstream)
                for i in range(count):
                    r[i] = b[i] if a[i] != 0 else c[i]
            else:
                _apply(instructions[k, 0], a, b, r)


@exact
def _apply(primitive: int, a: Floats, b: Floats, r: Floats) -> None:
    """One primitive of one or two arguments; the cheap ones first."""
    if primitive == _MULTIPLY:
        for i in range(r.size):
            r[i] = a[i] * b[i]
    elif primitive == _ADD:
        for i in range(r.size):
            r[i] = a[i] + b[i]
    elif primitive == _SUBTRACT:
        for i in range(r.size):
            r[i] = a[i] - b[i]
    elif primitive == _DIVIDE:
        for i in range(r.size):
            r[i] = a[i] / b[i]
    elif primitive == _MAXIMUM:
        for i in range(r.size):
            r[i] = a[i] if a[i] >= b[i] or a[i] != a[i] else b[i]
    elif primitive == _MINIMUM:
        for i in range(r.size):
            r[i] = a[i] if a[i] <= b[i] or a[i] != a[i] else b[i]
    elif primitive <= COPY:
        for i in range(r.size):
            r[i] = a[i]
    else:
        _compare(primitive, a, b, r)
        _transform(primitive, a, r)


@exact
def _compare(primitive: int, a: Floats, b: Floats, r: Floats) -> None:
    """1 where a comparison holds, 0 elsewhere."""
    if primitive == _GREATER:
        for i in range(r.size):
            r[i] = a[i] > b[i]
    elif primitive == _GREATER_EQUAL:
        for i in range(r.size):
            r[i] = a[i] >= b[i]
    elif primitive == _LESS:
        for i in range(r.size):
            r[i] = a[i] < b[i]
    elif primitive == _LESS_EQUAL:
        for i in range(r.size):
            r[i] = a[i] <= b[i]


@exact
def _transform(primitive: int, a: Floats, r: Floats) -> None:
    """Functions of one number."""
    if primitive == _TANH:
        for i in range(r.size):
            r[i] = tanh(a[i])
    elif primitive == _EXP:
        for i in range(r.size):
            r[i] = exp(a[i])
    elif primitive == _NEGATIVE:
        for i in range(r.size):
            r[i] = -a[i]
    elif primitive == _ABS:
        for i in range(r.size):
            r[i] = abs(a[i])
    elif primitive == _SQRT:
        for i in range(r.size):
            r[i] = math.sqrt(a[i])
    elif primitive == _EXPM1:
        for i in range(r.size):
            r[i] = expm1(a[i])
    elif primitive == _LOG:
        for i in range(r.size):
            r[i] = log(a[i])
    elif primitive == _LOG1P:
        for i in range(r.size):
            r[i] = log1p(a[i])
    elif primitive == _ERF:
        for i in range(r.size):
            r[i] = math.erf(a[i])


@lru_cache(maxsize=2)
def address_of(dtype: np.dtype[Any]) -> int:
    """Where the machine for programs of this precision lies in this process; see `machine_function`."""

    def runner(code: Any, rows: int, registers: Any, x: Any, y: Any, upstream: Any, out: Any, count: int) -> None:
        size = (count,)
        _run(
            carray(code, (rows, 5)), carray(registers, (1 << 60,)),
            carray(x, size), carray(y, size), carray(upstream, size), carray(out, size),
        )  # fmt: skip

    i, real = types.intp, pointer_to(dtype)
    return machine_function([pointer_to(np.dtype(np.int64)), i, real, real, real, real, real, i], runner)


@emitted
def run(
    _typing: Any, _address: Any, instructions: Any, _rows: Any, registers: Any,
    x: Any, y: Any, upstream: Any, out: Any, _count: Any,
) -> Any:  # fmt: skip
    """out = the program of x, y, upstream, by the machine at `address`: `rows` instructions on `count` numbers.

    All are flat and begin with the first number; `out` overlaps none of the others.
    """
    i = types.intp
    return types.void(i, instructions, i, registers, x, y, upstream, out, i), call_address
