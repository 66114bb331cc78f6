"""Arithmetic written in LLVM's instructions, on single numbers or on vectors of them.

Loops that numba writes are vectorised by LLVM where it finds out how; what must be, or what is generated, is written
with this. Nothing is reordered, and multiply-adds are fused exactly where `multiply_add` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import llvmlite.binding as llvm
from llvmlite import ir

FEATURES: Final = llvm.get_host_cpu_features()
VECTOR_BYTES: Final = 64 if FEATURES.get("avx512f") else 32
FUSED: Final = FEATURES.get("fma", True)
"""Every processor that is not x86 has multiply-add; old x86 ones compute product and sum by themselves."""

_INT: Final = ir.IntType(32)


class Numbers:
    """Writes what is computed with numbers of type `real`: one at a time, or `lanes` of them."""

    def __init__(self, builder: Any, real: Any, lanes: int = 0) -> None:
        self.builder, self.real, self.lanes = builder, real, lanes
        self.kind = ir.VectorType(real, lanes) if lanes else real
        self.single = isinstance(real, ir.FloatType)
        self.bytes = 4 if self.single else 8
        self._suffix = f"{f'v{lanes}' if lanes else ''}f{8 * self.bytes}"
        self._integers = ir.VectorType(_INT, lanes) if lanes else _INT

    def constant(self, value: float) -> Any:
        """A number that is known, in every lane."""
        return ir.Constant(self.kind, [value] * self.lanes if self.lanes else value)

    def broadcast(self, number: Any) -> Any:
        """A single number in every lane."""
        return self._spread(number, self.kind)

    def _spread(self, value: Any, kind: Any) -> Any:
        nothing = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(nothing, value, ir.Constant(_INT, 0))
        zeros = ir.Constant(ir.VectorType(_INT, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, nothing, zeros)

    def add(self, x: Any, y: Any) -> Any:
        """x + y."""
        return self.builder.fadd(x, y)

    def subtract(self, x: Any, y: Any) -> Any:
        """x - y."""
        return self.builder.fsub(x, y)

    def multiply(self, x: Any, y: Any) -> Any:
        """x · y."""
        return self.builder.fmul(x, y)

    def divide(self, x: Any, y: Any) -> Any:
        """x / y."""
        return self.builder.fdiv(x, y)

    def negative(self, x: Any) -> Any:
        """-x."""
        return self.builder.fneg(x)

    def multiply_add(self, x: Any, y: Any, total: Any) -> Any:
        """x · y + total, rounded once where the processor can."""
        if not FUSED:
            return self.builder.fadd(self.builder.fmul(x, y), total)
        return self.intrinsic("fma", x, y, total)

    def polynomial(self, x: Any, coefficients: Sequence[float]) -> Any:
        """Σ c x^n by Horner's rule, the coefficient of the highest power first."""
        total = self.constant(coefficients[0])
        for coefficient in coefficients[1:]:
            total = self.multiply_add(total, x, self.constant(coefficient))
        return total

    def compare(self, sign: str, x: Any, y: Any) -> Any:
        """A truth in every lane; false where one of them is not a number."""
        return self.builder.fcmp_ordered(sign, x, y)

    def is_nan(self, x: Any) -> Any:
        """Where x is not a number."""
        return self.builder.fcmp_unordered("uno", x, x)

    def select(self, truth: Any, x: Any, y: Any) -> Any:
        """X where it is true, y elsewhere."""
        return self.builder.select(truth, x, y)

    def at_most(self, x: Any, limit: float) -> Any:
        """X, but `limit` where x is above it."""
        return self.select(self.compare(">", x, self.constant(limit)), self.constant(limit), x)

    def at_least(self, x: Any, limit: float) -> Any:
        """X, but `limit` where x is below it or not a number."""
        return self.select(self.compare(">", x, self.constant(limit)), x, self.constant(limit))

    def intrinsic(self, name: str, *arguments: Any) -> Any:
        """What LLVM has an instruction for: fma, floor, sqrt, fabs."""
        return self._call(f"llvm.{name}.{self._suffix}", self.kind, arguments)

    def by_library(self, name: str, x: Any) -> Any:
        """The C library's function, lane by lane."""
        if not self.lanes:
            return self._call(name, self.real, [x])
        result = ir.Constant(self.kind, ir.Undefined)
        for lane in range(self.lanes):
            place = ir.Constant(_INT, lane)
            number = self._call(name, self.real, [self.builder.extract_element(x, place)])
            result = self.builder.insert_element(result, number, place)
        return result

    def _call(self, name: str, kind: Any, arguments: Sequence[Any]) -> Any:
        known = self.builder.module.globals.get(name)
        signature = ir.FunctionType(kind, [argument.type for argument in arguments])
        declared = known or ir.Function(self.builder.module, signature, name)
        return self.builder.call(declared, arguments)

    # ---- memory

    def first(self, count: Any) -> Any:
        """True in the first `count` lanes."""
        kind = ir.VectorType(ir.IntType(64), self.lanes)
        return self.builder.icmp_signed("<", ir.Constant(kind, list(range(self.lanes))), self._spread(count, kind))

    def load(self, pointer: Any, mask: Any = None) -> Any:
        """The numbers at `pointer`; 0 where the mask is false."""
        if mask is None:
            return self.builder.load(pointer, typ=self.kind, align=self.bytes)
        size = ir.Constant(_INT, self.bytes)
        return self._call(f"llvm.masked.load.{self._suffix}.p0", self.kind, [pointer, size, mask, self.constant(0)])

    def store(self, numbers: Any, pointer: Any, mask: Any = None) -> None:
        """Write numbers where the mask is true."""
        if mask is None:
            self.builder.store(numbers, pointer, align=self.bytes)
            return
        size = ir.Constant(_INT, self.bytes)
        self._call(f"llvm.masked.store.{self._suffix}.p0", ir.VoidType(), [numbers, pointer, size, mask])

    # ---- single precision, as bits

    def integer(self, value: int) -> Any:
        """An integer of 32 bits in every lane."""
        return ir.Constant(self._integers, [value] * self.lanes if self.lanes else value)

    def as_integer(self, x: Any) -> Any:
        """A whole number as an integer."""
        return self.builder.fptosi(x, self._integers)

    def as_number(self, integer: Any) -> Any:
        """An integer as a number."""
        return self.builder.sitofp(integer, self.kind)

    def bits_of(self, x: Any) -> Any:
        """The bits of a number."""
        return self.builder.bitcast(x, self._integers)

    def from_bits(self, bits: Any) -> Any:
        """The number with these bits."""
        return self.builder.bitcast(bits, self.kind)
