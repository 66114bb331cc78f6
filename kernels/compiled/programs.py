"""Compiles a tape to one loop over vectors of numbers: elementwise expressions at the speed of hand-written code.

LLVM compiles such a loop in milliseconds, so a new activation, a user's own included, needs neither numba nor a
cache. A parameter's value is an argument: one loop serves every slope of a leaky relu.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types

from kernels.compiled import elementary
from kernels.compiled.jit import call_address, emitted
from kernels.compiled.vectors import FEATURES, VECTOR_BYTES, Numbers
from kernels.tape import Expression, Step

INPUTS: Final = {"x": 0, "y": 1, "upstream": 2, "score": 0, "target": 1, "weight": 2}
"""Which of its three inputs a program means by a name; every other name is a parameter."""

_INDEX: Final = ir.IntType(64)
_REALS: Final = {"float32": ir.FloatType(), "float64": ir.DoubleType()}
_NAME: Final = "program"
_COMPARISONS: Final = {"greater": ">", "greater_equal": ">=", "less": "<", "less_equal": "<="}


@dataclass(frozen=True, eq=False)
class Program:
    """Where compiled code lies, and the values of the parameters that it takes; the code lives as long as `keeper`."""

    address: int
    parameters: tuple[float, ...]
    keeper: Any


def program(expression: Expression, parameters: Mapping[str, float], dtype: np.dtype[Any]) -> Program:
    """An expression in the names of INPUTS and in parameters, compiled for this precision."""
    address, names, engine = _found(expression, dtype.name)
    return Program(address, tuple(parameters[name] for name in names), engine)


@lru_cache(maxsize=256)
def _found(expression: Expression, precision: str) -> tuple[int, list[str], Any]:
    """Where a loop lies, the parameters that it takes, and what holds its code: expressions are quicker than steps."""
    engine = _compiled(expression.steps, precision)
    return int(engine.get_function_address(_NAME)), _parameters_of(expression.steps), engine


def _parameters_of(steps: tuple[Step, ...]) -> list[str]:
    return [step.name for step in steps if step.function == "name" and step.name not in INPUTS]


@lru_cache(maxsize=256)
def _compiled(steps: tuple[Step, ...], precision: str) -> Any:
    """What holds the machine code of a loop."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(str(_module(steps, precision)))
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=FEATURES.flatten(), opt=3, codemodel="jitdefault", jit=True
    )  # without passes over the module: it is vectors already, and they take longer than all else
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine


def _module(steps: tuple[Step, ...], precision: str) -> ir.Module:
    """program(parameters, x, y, upstream, out, count): whole vectors, then what is left under a mask."""
    module, pointer, real = ir.Module(), ir.PointerType(), _REALS[precision]
    kinds = [pointer, pointer, pointer, pointer, pointer, _INDEX]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), _NAME)
    *arrays, count = function.args
    for array in arrays:
        array.add_attribute("noalias")  # nothing is written that is read
    begin, loop, body, rest, tail, end = (function.append_basic_block(name) for name in _BLOCKS)
    builder = ir.IRBuilder(begin)
    numbers = Numbers(builder, real, VECTOR_BYTES // np.dtype(precision).itemsize)
    lanes = ir.Constant(_INDEX, numbers.lanes)
    names = {}
    for place, name in enumerate(_parameters_of(steps)):
        at = builder.gep(arrays[0], [ir.Constant(_INDEX, place)], source_etype=real)
        names[name] = numbers.broadcast(builder.load(at, typ=real))
    whole = builder.and_(count, ir.Constant(_INDEX, -numbers.lanes))
    builder.branch(loop)

    builder.position_at_end(loop)
    done = builder.phi(_INDEX)
    builder.cbranch(builder.icmp_signed("<", done, whole), body, rest)
    builder.position_at_end(body)
    places = [builder.gep(array, [done], source_etype=real) for array in arrays[1:]]
    vectors = _Vectors(numbers, places, names)
    vectors.store(vectors.result(steps))
    done.add_incoming(ir.Constant(_INDEX, 0), begin)
    done.add_incoming(builder.add(done, lanes), body)
    builder.branch(loop)

    builder.position_at_end(rest)
    left = builder.sub(count, whole)
    builder.cbranch(builder.icmp_signed(">", left, ir.Constant(_INDEX, 0)), tail, end)
    builder.position_at_end(tail)
    places = [builder.gep(array, [whole], source_etype=real) for array in arrays[1:]]
    vectors = _Vectors(numbers, places, names, numbers.first(left))
    vectors.store(vectors.result(steps))
    builder.branch(end)
    builder.position_at_end(end)
    builder.ret_void()
    return module


_BLOCKS: Final = ("begin", "loop", "body", "rest", "tail", "end")


class _Vectors:
    """Writes a tape for the vectors at `places` of x, y, upstream and out, where the mask is true."""

    def __init__(self, numbers: Numbers, places: list[Any], names: Mapping[str, Any], mask: Any = None) -> None:
        self._n, self._places, self._names, self._mask = numbers, places, names, mask

    def result(self, steps: tuple[Step, ...]) -> Any:
        """The last step's vector."""
        values: list[Any] = []
        for step in steps:
            values.append(self._step(step, [values[place] for place in step.arguments]))
        return values[-1]

    def store(self, vector: Any) -> None:
        """Write it to out."""
        self._n.store(vector, self._places[-1], self._mask)

    def _step(self, step: Step, given: list[Any]) -> Any:
        n, name = self._n, step.function
        if name == "constant":
            return n.constant(step.constant)
        if name == "name":
            known = self._names.get(step.name)
            return n.load(self._places[INPUTS[step.name]], self._mask) if known is None else known
        if name in elementary.FUNCTIONS:
            return elementary.write(name, n, given[0])
        if name in _COMPARISONS:
            return n.compare(_COMPARISONS[name], *given)
        return _WRITTEN[name](n, *given)


_WRITTEN: Final[dict[str, Callable[..., Any]]] = {
    "abs": lambda n, x: n.intrinsic("fabs", x),
    "add": Numbers.add,
    "divide": Numbers.divide,
    "indicator": lambda n, truth: n.select(truth, n.constant(1), n.constant(0)),
    "maximum": lambda n, x, y: n.select(n.builder.or_(n.compare(">=", x, y), n.is_nan(x)), x, y),
    "minimum": lambda n, x, y: n.select(n.builder.or_(n.compare("<=", x, y), n.is_nan(x)), x, y),
    "multiply": Numbers.multiply,
    "negative": Numbers.negative,
    "sqrt": lambda n, x: n.intrinsic("sqrt", x),
    "subtract": Numbers.subtract,
    "where": Numbers.select,
}


@emitted
def run(_typing: Any, _address: Any, parameters: Any, x: Any, y: Any, upstream: Any, out: Any, _count: Any) -> Any:
    """out = the program at `address` of x, y, upstream: `count` numbers.

    All are flat and begin with the first number; `out` overlaps none of the others.
    """
    i = types.intp
    return types.void(i, parameters, x, y, upstream, out, i), call_address
