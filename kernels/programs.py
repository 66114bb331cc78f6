"""Runs a tape as NumPy ufuncs: every intermediate lands in a cached scratch buffer through `out=`.

A plan is a tape bound to a dtype, a tile shape and parameter values. Three NumPy facts shape it (each
measured; the alternatives cost 2 to 5 times as much on 32 768 float32 numbers):
- `maximum` and `minimum` with a scalar take a scalar loop, with a filled array a vector loop;
- masked copies are slow and `np.where` allocates: a selection is three bitwise ufuncs, `b ^ ((a ^ b) & mask)`,
  exact for every value, NaN and infinities included;
- arrays beyond the cache are cheaper tile by tile, which also bounds the scratch.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np

from kernels.tape import Expression, Step

Array = np.ndarray[Any, Any]
Ufunc = Callable[..., Any]

TILE: Final = 131_072
"""Numbers per tile: large enough that a tile's few microseconds of Python do not show, small enough for the cache."""

_MAX_PLANS: Final = 512
_INTEGER: Final[dict[str, np.dtype[Any]]] = {"f": np.dtype(np.int32), "d": np.dtype(np.int64)}


def _ufunc(function: str) -> Ufunc:
    """The ufunc of a primitive; SciPy is imported only by a net that needs it."""
    if function == "erf":
        from scipy.special import erf

        return erf  # type: ignore[no-any-return]
    return getattr(np, function)  # type: ignore[no-any-return]


def _copy(source: Array, *, out: Array) -> None:
    np.copyto(out, source)  # a quarter of the time of np.positive


@dataclass(eq=False)
class _Register:
    """A place for one tile: an input, the output, a constant or a scratch buffer; `integer` reads its bits."""

    role: str
    constant: Array | None = None
    integer_of: _Register | None = None
    slot: int = -1


@dataclass
class _Instruction:
    ufunc: Ufunc
    arguments: tuple[_Register, ...]
    out: _Register


@dataclass
class _Lowering:
    """Turns steps into instructions over registers, before scratch buffers are shared."""

    dtype: np.dtype[Any]
    filled: Callable[[float], Array]
    parameters: Mapping[str, float]
    inputs: dict[str, _Register]
    instructions: list[_Instruction] = field(default_factory=list)
    _masks: dict[int, _Register] = field(default_factory=dict)
    _bits: dict[_Register, _Register] = field(default_factory=dict)

    def lower(self, expression: Expression) -> None:
        """Fill `instructions`; the last one alone writes the output."""
        steps = expression.steps
        registers: list[_Register] = []
        for step in steps:
            registers.append(self._step(step, steps, registers))
        output = _Register("output")
        last = registers[-1]
        if last.role != "scratch":
            self._emit(_copy, (last,), output)
            return
        final = self.instructions[-1]
        final.out = self.bits(output) if final.out.integer_of is last else output

    def _emit(self, ufunc: Ufunc, arguments: tuple[_Register, ...], out: _Register) -> _Register:
        self.instructions.append(_Instruction(ufunc, arguments, out))
        return out

    def _step(self, step: Step, steps: Sequence[Step], registers: list[_Register]) -> _Register:
        if step.function == "name":
            known = step.name in self.inputs
            return self.inputs[step.name] if known else self._constant(self.parameters[step.name])
        if step.function == "constant":
            return self._constant(step.constant)
        arguments = tuple(registers[i] for i in step.arguments)
        if step.function in ("less", "less_equal", "greater", "greater_equal"):
            return _Register("truth")  # computed by whoever needs it, as a number or as a mask
        if step.function == "indicator":
            truth = steps[step.arguments[0]]
            return self._emit(
                _ufunc(truth.function), tuple(registers[i] for i in truth.arguments), _Register("scratch")
            )
        if step.function == "where":
            return self._select(self._mask(step.arguments[0], steps, registers), arguments[1], arguments[2])
        if step.function in ("maximum", "minimum"):
            arguments = tuple(self._filled(a) for a in arguments)
        return self._emit(_ufunc(step.function), arguments, _Register("scratch"))

    def _constant(self, value: float) -> _Register:
        return _Register("constant", np.asarray(value, self.dtype))

    def _filled(self, register: _Register) -> _Register:
        if register.constant is None:
            return register
        return _Register("constant", self.filled(float(register.constant)))

    def _mask(self, index: int, steps: Sequence[Step], registers: list[_Register]) -> _Register:
        """All bits set where comparison `index` holds, none elsewhere."""
        if index not in self._masks:
            truth = steps[index]
            bits = self.bits(_Register("scratch"))
            self._emit(_ufunc(truth.function), tuple(registers[i] for i in truth.arguments), bits)
            self._masks[index] = self._emit(np.negative, (bits,), bits)
        return self._masks[index]

    def _select(self, mask: _Register, chosen: _Register, otherwise: _Register) -> _Register:
        out = _Register("scratch")
        bits, a, b = self.bits(out), self.bits(chosen), self.bits(otherwise)
        if b.constant is not None and not b.constant.any():
            self._emit(np.bitwise_and, (a, mask), bits)
            return out
        self._emit(np.bitwise_xor, (a, b), bits)
        self._emit(np.bitwise_and, (bits, mask), bits)
        self._emit(np.bitwise_xor, (bits, b), bits)
        return out

    def bits(self, register: _Register) -> _Register:
        """The same place read as integers."""
        if register.constant is not None:
            return _Register("constant", register.constant.view(_INTEGER[self.dtype.char]))
        return self._bits.setdefault(register, _Register("bits", integer_of=register))


def _storage(register: _Register) -> _Register:
    return register.integer_of or register


_OUTPUT: Final = -2
"""The slot of scratch that lies in the output, once the input that lies there is read no more."""


def _assign_scratch(instructions: Sequence[_Instruction], in_place: _Register | None = None) -> int:
    """Give every scratch register a buffer; a buffer is free again after the last read. Returns the count.

    `in_place` is an input that lies where the output does.
    """
    last_use: dict[_Register, int] = {}
    for position, instruction in enumerate(instructions):
        for register in (*instruction.arguments, instruction.out):
            last_use[_storage(register)] = position
    free: list[int] = []
    count = 0
    for position, instruction in enumerate(instructions):
        done = {register for register in map(_storage, instruction.arguments) if last_use[register] == position}
        free.extend(register.slot for register in done if register.slot != -1)
        free.extend(_OUTPUT for register in done if register is in_place)
        target = _storage(instruction.out)
        if target.role == "scratch" and target.slot == -1:
            if not free:
                free.append(count)
                count += 1
            target.slot = free.pop()
    return count


class Pool:
    """Buffers of one thread and dtype: scratch that plans share, and arrays filled with one number."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self._scratch: list[Array] = []
        self._filled: dict[float, Array] = {}

    def scratch(self, count: int, shape: tuple[int, ...]) -> list[Array]:
        """`count` buffers of `shape`, of undefined content."""
        size = math.prod(shape)
        for slot in range(count):
            if slot == len(self._scratch):
                self._scratch.append(np.empty(max(TILE, size), self.dtype))
            elif self._scratch[slot].size < size:
                self._scratch[slot] = np.empty(size, self.dtype)
        return [buffer[:size].reshape(shape) for buffer in self._scratch[:count]]

    def filled(self, value: float, shape: tuple[int, ...]) -> Array:
        """An array of `shape` full of `value`, to be read only."""
        size = math.prod(shape)
        if value not in self._filled or self._filled[value].size < size:
            self._filled[value] = np.full(max(TILE, size), value, self.dtype)
        return self._filled[value][:size].reshape(shape)


class Plan:
    """A tape bound to dtype, tile shape and parameter values; owned by one thread."""

    def __init__(
        self, instructions: Sequence[_Instruction], inputs: Sequence[_Register], scratch: Sequence[Array], bits: Any
    ) -> None:
        self._registers: list[Any] = [None] * (len(inputs) + 1)  # the inputs, then the output
        self._output = len(inputs)
        self._places = {register: place for place, register in enumerate(inputs)}
        self._views: list[tuple[int, int]] = []
        self._scratch, self._bits = scratch, bits
        self._calls: list[tuple[Ufunc, int, int, int]] = []
        for instruction in instructions:
            first, *second = (self._place(register) for register in instruction.arguments)
            out = self._place(instruction.out)
            self._calls.append((instruction.ufunc, first, second[0] if second else -1, out))

    def _place(self, register: _Register) -> int:
        """The index of a register among this plan's; what can be bound for good is bound here."""
        if register.role == "output" or register.slot == _OUTPUT:
            return self._output
        if register not in self._places:
            place = self._places[register] = len(self._registers)
            self._registers.append(register.constant)
            storage = _storage(register)
            if storage.role == "scratch" and storage.slot != _OUTPUT:
                buffer = self._scratch[storage.slot]
                self._registers[place] = buffer.view(self._bits) if register.integer_of else buffer
            elif register.integer_of:
                self._views.append((self._place(storage), place))
        return self._places[register]

    def run(self, inputs: Sequence[Array], out: Array) -> None:
        """Evaluate one tile. The output is written last, so `out` may be one of the inputs."""
        registers = self._filled(inputs, out)
        for ufunc, first, second, target in self._calls:
            if second < 0:
                ufunc(registers[first], out=registers[target])
            else:
                ufunc(registers[first], registers[second], out=registers[target])

    def _filled(self, inputs: Sequence[Array], out: Array) -> list[Any]:
        registers = self._registers.copy()
        registers[: len(inputs)] = inputs
        registers[self._output] = out
        for source, target in self._views:
            registers[target] = registers[source].view(self._bits)
        return registers

    def bound(self, inputs: Sequence[Array], out: Array) -> list[Callable[[], object]]:
        """The calls of one `run`, with nothing left to look up."""
        registers = self._filled(inputs, out)
        return [
            partial(ufunc, *(registers[place] for place in (first, second) if place >= 0), out=registers[target])
            for ufunc, first, second, target in self._calls
        ]


def bound_calls(
    expression: Expression, arrays: Mapping[str, Array], parameters: Mapping[str, float], out: Array, pool: Pool
) -> list[Callable[[], object]]:
    """The calls that set `out` to the expression of arrays that `out`'s shape can be broadcast from.

    `out` may be one of the arrays, the very same view; it then serves as scratch once that is read no more.
    """
    registers = {name: _Register("input") for name in arrays}
    lowering = _Lowering(out.dtype, lambda value: pool.filled(value, out.shape), parameters, registers)
    lowering.lower(expression)
    here = next((registers[name] for name, array in arrays.items() if array is out), None)
    scratch = pool.scratch(_assign_scratch(lowering.instructions, here), out.shape)
    plan = Plan(lowering.instructions, list(registers.values()), scratch, _INTEGER[out.dtype.char])
    return plan.bound(list(arrays.values()), out)


class Evaluator(threading.local):
    """Plans and scratch buffers of one thread, reused from call to call."""

    def __init__(self) -> None:
        self._plans: dict[tuple[Any, ...], Plan] = {}
        self._pools: dict[str, Pool] = {}

    def evaluate(
        self,
        expression: Expression,
        names: tuple[str, ...],
        arrays: tuple[Array, ...],
        parameters: tuple[tuple[str, float], ...],
        out: Array,
    ) -> None:
        """`out[...] = expression` of `names` bound to `arrays`, elementwise.

        All arrays have `out`'s shape and dtype (float32 or float64). `out` may be one of them (the very same
        view), not a shifted view of one. `names` are the same at every call with `expression`.
        """
        if out.size <= TILE:
            self._plan(expression, names, parameters, out).run(arrays, out)
            return
        for *pieces, piece in _tiles([*arrays, out]):
            self._plan(expression, names, parameters, piece).run(pieces, piece)

    def _plan(
        self, expression: Expression, names: tuple[str, ...], parameters: tuple[tuple[str, float], ...], out: Array
    ) -> Plan:
        key = (expression, out.dtype.char, out.shape, parameters)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
                self._pools.clear()
            plan = self._plans[key] = self._build(expression, names, dict(parameters), out)
        return plan

    def _build(
        self, expression: Expression, names: tuple[str, ...], parameters: Mapping[str, float], out: Array
    ) -> Plan:
        if out.dtype.char not in _INTEGER:
            raise TypeError(f"activations are float32 or float64, not {out.dtype}")
        pool = self._pools.setdefault(out.dtype.char, Pool(out.dtype))
        registers = {name: _Register("input") for name in names}
        lowering = _Lowering(out.dtype, lambda value: pool.filled(value, out.shape), parameters, registers)
        lowering.lower(expression)
        scratch = pool.scratch(_assign_scratch(lowering.instructions), out.shape)
        return Plan(lowering.instructions, list(registers.values()), scratch, _INTEGER[out.dtype.char])


def _tiles(arrays: Sequence[Array]) -> list[list[Array]]:
    """Equal pieces of all arrays, at most TILE numbers each (or one row, where a row is longer)."""
    shape = arrays[0].shape
    if all(a.flags.c_contiguous for a in arrays):
        flat = [a.reshape(-1) for a in arrays]
        return [[a[i : i + TILE] for a in flat] for i in range(0, arrays[0].size, TILE)]
    width = math.prod(shape[1:])
    if width > TILE and len(shape) > 1:
        return [tile for i in range(shape[0]) for tile in _tiles([a[i] for a in arrays])]
    rows = max(1, TILE // max(1, width))
    return [[a[i : i + rows] for a in arrays] for i in range(0, shape[0], rows)]
