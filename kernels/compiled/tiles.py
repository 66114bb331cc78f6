"""The innermost loop of matrix products: a few rows of a panel of C stay in registers while k runs.

A panel is two vectors of neighbouring columns; of a panel of B every k is one row, and rows follow each other.

Numba leaves the choice of registers to LLVM's vectorisers, which do not find this blocking; here it is written in
LLVM's own instructions. Every element of C is one chain of multiply-adds in the order of k, whichever tile it is in:
no bit depends on how a product is cut into tiles, or on which thread computes one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types

from kernels.compiled.jit import emitted
from kernels.compiled.vectors import VECTOR_BYTES, Numbers

ROWS: Final = (6, 4, 2, 1)
"""Heights of tiles: 6 rows of 2 vectors leave 4 of AVX2's 16 registers for what is loaded."""
TALL: Final = 12
"""Height of the tallest tile of one vector."""
_INDEX: Final = ir.IntType(64)
_SHORT: Final = ir.IntType(32)


def width_of(dtype: np.dtype[Any]) -> int:
    """Columns of a panel."""
    return 2 * VECTOR_BYTES // dtype.itemsize


class _Emitter(Numbers):
    """Writes one tile's instructions."""

    def __init__(self, context: Any, builder: Any, real: Any) -> None:
        kind = context.get_data_type(real)
        super().__init__(builder, kind, VECTOR_BYTES // context.get_abi_sizeof(kind))

    def _place(self, pointer: Any, v: int) -> Any:
        at = self.builder.gep(pointer, [ir.Constant(_INDEX, v * self.lanes)])
        return self.builder.bitcast(at, self.kind.as_pointer())

    def load_vector(self, pointer: Any, v: int) -> Any:
        """Vector v of the row at `pointer`."""
        return self.load(self._place(pointer, v))

    def store_vector(self, value: Any, pointer: Any, v: int) -> None:
        """Vector v of the row at `pointer`."""
        self.store(value, self._place(pointer, v))

    def tile(self, rows: int, vectors: int, a: Any, a_row: Any, a_k: Any, b: Any, k: Any,
             first: Any, first_row: Any, c: Any, c_row: Any) -> None:  # fmt: skip
        """C = first + A B for `rows` rows and `vectors` vectors; a, b, first, c point to where they begin."""
        builder = self.builder
        places = [(r, v) for r in range(rows) for v in range(vectors)]
        row = [ir.Constant(_INDEX, r) for r in range(rows)]
        begun = [builder.gep(first, [builder.mul(first_row, row[r])]) for r in range(rows)]
        starts = [self.load_vector(begun[r], v) for r, v in places]
        steps = [builder.mul(a_row, row[r]) for r in range(rows)]
        before, loop, after = builder.block, builder.append_basic_block("k"), builder.append_basic_block("after_k")
        builder.branch(loop)
        builder.position_at_end(loop)
        done, at_a, at_b = builder.phi(_INDEX), builder.phi(a.type), builder.phi(b.type)
        sums = [builder.phi(self.kind) for _ in places]
        loaded = [self.load_vector(at_b, v) for v in range(vectors)]
        spread = [self.broadcast(builder.load(builder.gep(at_a, [steps[r]]))) for r in range(rows)]
        added = [self.multiply_add(spread[r], loaded[v], sums[i]) for i, (r, v) in enumerate(places)]
        further = builder.add(done, ir.Constant(_INDEX, 1))
        next_b = builder.gep(at_b, [ir.Constant(_INDEX, 2 * self.lanes)])
        moved = [further, builder.gep(at_a, [a_k]), next_b, *added]
        begin = [ir.Constant(_INDEX, 0), a, b, *starts]
        for phi, start, next_ in zip([done, at_a, at_b, *sums], begin, moved, strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(next_, loop)
        builder.cbranch(builder.icmp_signed("<", further, k), loop, after)
        builder.position_at_end(after)
        for r in range(rows):
            place = builder.gep(c, [builder.mul(c_row, row[r])])
            for v in range(2):  # what a tile of one vector does not compute is 0
                value = added[r * vectors + v] if v < vectors else self.constant(0)
                self.store_vector(value, place, v)

    def transposed(self, rows: list[Any]) -> list[Any]:
        """Square blocks' columns: in each of log2(lanes) stages, rows `half` apart exchange halves of every block."""
        half = self.lanes // 2
        while half:
            first = [lane if not lane & half else self.lanes + lane - half for lane in range(self.lanes)]
            second = [lane + half if not lane & half else self.lanes + lane for lane in range(self.lanes)]
            for r in range(self.lanes):
                if not r & half:
                    upper, lower = rows[r], rows[r + half]
                    rows[r] = self.builder.shuffle_vector(upper, lower, _order(first))
                    rows[r + half] = self.builder.shuffle_vector(upper, lower, _order(second))
            half //= 2
        return rows


def _order(lanes: list[int]) -> Any:
    return ir.Constant(ir.VectorType(_SHORT, len(lanes)), lanes)


def _pointers(context: Any, builder: Any, signature: Any, given: Any, *indices: int) -> list[Any]:
    """Addresses of places in flat arrays: arguments at the indices, each before its place."""
    arrays = [context.make_array(signature.args[index])(context, builder, given[index]) for index in indices]
    return [builder.gep(array.data, [given[index + 1]]) for array, index in zip(arrays, indices, strict=True)]


def _tile(rows: int, vectors: int) -> Callable[..., Any]:
    """A tile: f(a, a_at, a_row, a_k, b, b_at, k, first, first_at, first_row, c, c_at, c_row).

    a, b, first, c are flat arrays with the places where the tile begins, and steps from row to row and along k, in
    numbers. k >= 1. A tile of one vector leaves zeros in the second of C.
    """

    def emit(_typing: Any, a: Any, _a_at: Any, _a_row: Any, _a_k: Any, b: Any, _b_at: Any, _k: Any,
             first: Any, _first_at: Any, _first_row: Any, c: Any, _c_at: Any, _c_row: Any) -> Any:  # fmt: skip
        i = types.intp
        signature = types.void(a, i, i, i, b, i, i, first, i, i, c, i, i)

        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            at_a, at_b, at_first, at_c = _pointers(context, builder, signature, given, 0, 4, 7, 10)
            _Emitter(context, builder, signature.args[0].dtype).tile(
                rows, vectors, at_a, given[2], given[3], at_b, given[6], at_first, given[9], at_c, given[12]
            )
            return context.get_dummy_value()

        return signature, generate

    return emitted(emit)


full_6, full_4, full_2, full_1 = (_tile(rows, 2) for rows in ROWS)
half_12, half_6, half_4, half_2, half_1 = (_tile(rows, 1) for rows in (TALL, *ROWS))


@emitted
def copy_row(_typing: Any, a: Any, _a_at: Any, c: Any, _c_at: Any) -> Any:
    """Copy a panel's width of numbers: f(a, a_at, c, c_at)."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        source, target = _pointers(context, builder, signature, given, 0, 2)
        emitter = _Emitter(context, builder, signature.args[0].dtype)
        for v in range(2):
            emitter.store_vector(emitter.load_vector(source, v), target, v)
        return context.get_dummy_value()

    return types.void(a, types.intp, c, types.intp), generate


@emitted
def transpose_square(_typing: Any, a: Any, _a_at: Any, c: Any, _c_at: Any) -> Any:
    """Transpose a square of a vector's lanes; in both arrays rows lie a panel's width apart: f(a, a_at, c, c_at)."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        source, target = _pointers(context, builder, signature, given, 0, 2)
        emitter = _Emitter(context, builder, signature.args[0].dtype)
        rows = [ir.Constant(_INDEX, 2 * emitter.lanes * lane) for lane in range(emitter.lanes)]
        loaded = [emitter.load_vector(builder.gep(source, [row]), 0) for row in rows]
        for value, row in zip(emitter.transposed(loaded), rows, strict=True):
            emitter.store_vector(value, builder.gep(target, [row]), 0)
        return context.get_dummy_value()

    return types.void(a, types.intp, c, types.intp), generate


@emitted
def fetch(_typing: Any, array: Any, _place: Any) -> Any:
    """Have the cache line of array[place] brought into the second-level cache meanwhile; nothing is read."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, given[0]).data
        line = builder.bitcast(builder.gep(data, [given[1]]), ir.IntType(8).as_pointer())
        kinds = [line.type, _SHORT, _SHORT, _SHORT]
        to_read, second_level, data_cache = (ir.Constant(_SHORT, value) for value in (0, 2, 1))
        kind = ir.FunctionType(ir.VoidType(), kinds)
        builder.call(builder.module.declare_intrinsic("llvm.prefetch", [line.type], kind),
                     [line, to_read, second_level, data_cache])  # fmt: skip
        return context.get_dummy_value()

    return types.void(array, types.intp), generate
