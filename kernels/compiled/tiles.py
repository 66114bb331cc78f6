"""The innermost loop of matrix products: a few rows of a panel of C stay in registers while k runs.

A panel is two vectors of neighbouring columns; of a panel of B every k is one row, and rows follow each other.

Numba leaves the choice of registers to LLVM's vectorisers, which do not find this blocking; here it is written in
LLVM's own instructions. Every element of C is one chain of multiply-adds in the order of k, whichever tile it is in:
no bit depends on how a product is cut into tiles, or on which thread computes one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
UNROLLED: Final = 4
"""Values of k in one turn of the loop."""
_INDEX: Final = ir.IntType(64)
_ONE: Final = ir.Constant(_INDEX, 1)
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
        """C = first + A B for `rows` rows and `vectors` vectors; a, b, first, c point to where they begin.

        There is a loop for each way in which A may lie, so that most addresses are known when it is compiled.
        """
        builder = self.builder
        row = [ir.Constant(_INDEX, r) for r in range(rows)]
        begun = [builder.gep(first, [builder.mul(first_row, row[r])]) for r in range(rows)]
        starts = [self.load_vector(begun[r], v) for r in range(rows) for v in range(vectors)]
        with builder.if_else(builder.icmp_signed("==", a_k, _ONE)) as (along, across):
            with along:
                steps = [self._opaque(builder.mul(a_row, row[r])) for r in range(rows)]
                rows_follow = self._sums(vectors, steps, a, _ONE, b, k, starts)
                from_along = builder.block
            with across:
                columns_follow = self._sums(vectors, row, a, a_k, b, k, starts)
                from_across = builder.block
        sums = []
        for one, other in zip(rows_follow, columns_follow, strict=True):
            sums.append(builder.phi(self.kind))
            sums[-1].add_incoming(one, from_along)
            sums[-1].add_incoming(other, from_across)
        for r in range(rows):
            place = builder.gep(c, [builder.mul(c_row, row[r])])
            for v in range(2):  # what a tile of one vector does not compute is 0
                value = sums[r * vectors + v] if v < vectors else self.constant(0)
                self.store_vector(value, place, v)

    def _sums(
        self, vectors: int, steps: Sequence[Any], a: Any, a_k: Any, b: Any, k: Any, starts: Sequence[Any]
    ) -> Sequence[Any]:
        """The rows' vectors, from `starts`, after k multiply-adds each; steps are the rows' places in A."""
        builder = self.builder
        together = builder.and_(k, ir.Constant(_INDEX, -UNROLLED))
        state = self._loop(UNROLLED, vectors, steps, a_k, builder.gep(b, [self._rows(together)]), [a, b, *starts])
        state = self._loop(1, vectors, steps, a_k, builder.gep(b, [self._rows(k)]), state)
        return state[2:]

    def _rows(self, count: Any) -> Any:
        """Numbers in so many rows of a panel."""
        return self.builder.mul(count, ir.Constant(_INDEX, 2 * self.lanes))

    def _loop(
        self, together: int, vectors: int, steps: Sequence[Any], a_k: Any, end: Any, state: Sequence[Any]
    ) -> list[Any]:
        """While B is before `end`: `together` values of k. State: where A is, where B is, sums."""
        builder = self.builder
        before, loop, after = builder.block, builder.append_basic_block("k"), builder.append_basic_block("after_k")
        builder.cbranch(builder.icmp_unsigned("<", state[1], end), loop, after)
        builder.position_at_end(loop)
        phis = [builder.phi(value.type) for value in state]
        at_a, at_b, *sums = phis
        for _ in range(together):
            loaded = [self.load_vector(at_b, v) for v in range(vectors)]
            for r, step in enumerate(steps):
                spread = self.broadcast(builder.load(builder.gep(at_a, [step])))
                for v in range(vectors):
                    sums[r * vectors + v] = self.multiply_add(spread, loaded[v], sums[r * vectors + v])
            at_a, at_b = builder.gep(at_a, [a_k]), builder.gep(at_b, [self._rows(_ONE)])
            self._barrier()
        further = [at_a, at_b, *sums]
        for phi, start, next_ in zip(phis, state, further, strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(next_, builder.block)
        builder.cbranch(builder.icmp_unsigned("<", at_b, end), loop, after)
        builder.position_at_end(after)
        result = []
        for start, next_ in zip(state, further, strict=True):
            result.append(builder.phi(start.type))
            result[-1].add_incoming(start, before)
            result[-1].add_incoming(next_, loop)
        return result

    def summed(self, rows: Any, target: Any, count: Any) -> None:
        """Write the sum of so many rows of a panel: it stays in registers meanwhile."""
        builder = self.builder
        before, loop = builder.block, builder.append_basic_block("row")
        body, after = builder.append_basic_block("add"), builder.append_basic_block("summed")
        builder.branch(loop)
        builder.position_at_end(loop)
        at, *sums = [builder.phi(kind) for kind in (rows.type, self.kind, self.kind)]
        builder.cbranch(builder.icmp_unsigned("<", at, builder.gep(rows, [self._rows(count)])), body, after)
        builder.position_at_end(body)
        further = [builder.gep(at, [self._rows(_ONE)])]
        further += [self.add(total, self.load_vector(at, v)) for v, total in enumerate(sums)]
        for phi, start, next_ in zip((at, *sums), (rows, self.constant(0), self.constant(0)), further, strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(next_, body)
        builder.branch(loop)
        builder.position_at_end(after)
        for v, total in enumerate(sums):
            self.store_vector(total, target, v)

    def _opaque(self, number: Any) -> Any:
        """The number, of which LLVM knows nothing: it stays in a register instead of being computed from others."""
        kind = ir.FunctionType(number.type, [number.type])
        return self.builder.asm(kind, "", "=r,0", [number], side_effect=False)

    def _barrier(self) -> None:
        """No instruction: loads stay on their side, so that no more is loaded ahead than registers hold."""
        self.builder.asm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", [], side_effect=True)

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
    numbers; one of A's steps is 1. k >= 1. A tile of one vector leaves zeros in the second of C.
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
def sum_rows(_typing: Any, a: Any, _a_at: Any, c: Any, _c_at: Any, _count: Any) -> Any:
    """Add up so many rows of a panel, in their order: f(a, a_at, c, c_at, count)."""
    i = types.intp

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        source, target = _pointers(context, builder, signature, given, 0, 2)
        _Emitter(context, builder, signature.args[0].dtype).summed(source, target, given[4])
        return context.get_dummy_value()

    return types.void(a, i, c, i, i), generate


@emitted
def transpose_square(_typing: Any, a: Any, _a_at: Any, _a_row: Any, c: Any, _c_at: Any, _c_row: Any) -> Any:
    """Transpose a square of a vector's lanes, whose rows begin `*_row` apart: f(a, a_at, a_row, c, c_at, c_row)."""
    i = types.intp

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        source, target = _pointers(context, builder, signature, given, 0, 3)
        emitter = _Emitter(context, builder, signature.args[0].dtype)
        lanes = [ir.Constant(_INDEX, lane) for lane in range(emitter.lanes)]
        loaded = [emitter.load_vector(builder.gep(source, [builder.mul(given[2], lane)]), 0) for lane in lanes]
        for value, lane in zip(emitter.transposed(loaded), lanes, strict=True):
            emitter.store_vector(value, builder.gep(target, [builder.mul(given[5], lane)]), 0)
        return context.get_dummy_value()

    return types.void(a, i, i, c, i, i), generate


def _fetching(level: int, writes: bool) -> Callable[..., Any]:
    """What has a cache line brought nearer meanwhile: f(array, place)."""

    def emit(_typing: Any, array: Any, _place: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, given[0]).data
            line = builder.bitcast(builder.gep(data, [given[1]]), ir.IntType(8).as_pointer())
            kinds = [line.type, _SHORT, _SHORT, _SHORT]
            access, nearness, data_cache = (ir.Constant(_SHORT, value) for value in (int(writes), 4 - level, 1))
            kind = ir.FunctionType(ir.VoidType(), kinds)
            builder.call(builder.module.declare_intrinsic("llvm.prefetch", [line.type], kind),
                         [line, access, nearness, data_cache])  # fmt: skip
            return context.get_dummy_value()

        return types.void(array, types.intp), generate

    return emitted(emit)


fetch = _fetching(2, writes=False)
"""Have the line of array[place] brought into the second-level cache; nothing is read."""
fetch_to_write = _fetching(1, writes=True)
"""The same into the first-level cache, to be written."""
