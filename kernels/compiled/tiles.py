"""The innermost loop of matrix products: a few rows by two vectors of C stay in registers while k runs.

Numba leaves the choice of registers to LLVM's vectorisers, which do not find this blocking; here it is written in
LLVM's own instructions. Every element of C is one chain of multiply-adds in the order of k, whichever tile it is in:
no bit depends on how a product is cut into tiles, or on which thread computes one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types

from kernels.compiled.jit import emitted

_FEATURES: Final = llvm.get_host_cpu_features()
VECTOR_BYTES: Final = 64 if _FEATURES.get("avx512f") else 32
FUSED: Final = _FEATURES.get("fma", True)
"""Every processor that is not x86 has multiply-add; old x86 ones compute product and sum by themselves."""

ROWS: Final = (6, 4, 2, 1)
"""Heights of tiles: 6 rows of 2 vectors leave 4 of AVX2's 16 registers for what is loaded."""
_INDEX: Final = ir.IntType(64)
_SHORT: Final = ir.IntType(32)


def width_of(dtype: np.dtype[Any]) -> int:
    """Columns of a tile: two vectors."""
    return 2 * VECTOR_BYTES // dtype.itemsize


class _Emitter:
    """Writes one tile's instructions; `columns` is None where both vectors are full."""

    def __init__(self, context: Any, builder: Any, real: Any, columns: Any) -> None:
        self.context, self.builder, self.real = context, builder, real
        self.size = context.get_abi_sizeof(context.get_data_type(real))
        self.lanes = VECTOR_BYTES // self.size
        self.vector = ir.VectorType(context.get_data_type(real), self.lanes)
        self.flags = ir.VectorType(ir.IntType(1), self.lanes)
        self.masks = None if columns is None else [self._mask(columns, v) for v in range(2)]

    def _mask(self, columns: Any, v: int) -> Any:
        """Which lanes of vector v are columns of C."""
        order = ir.Constant(ir.VectorType(_INDEX, self.lanes), [v * self.lanes + lane for lane in range(self.lanes)])
        return self.builder.icmp_signed("<", order, self._spread(columns, _INDEX))

    def _spread(self, value: Any, kind: Any) -> Any:
        """A number in every lane."""
        vector = ir.VectorType(kind, self.lanes)
        first = self.builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(_SHORT, 0))
        zeros = ir.Constant(ir.VectorType(_SHORT, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)

    def broadcast(self, pointer: Any) -> Any:
        """The number at `pointer` in every lane."""
        return self._spread(self.builder.load(pointer), self.context.get_data_type(self.real))

    def _routine(self, name: str, result: Any, arguments: list[Any]) -> Any:
        known = self.builder.module.globals.get(name)
        return known or ir.Function(self.builder.module, ir.FunctionType(result, arguments), name)

    def _place(self, pointer: Any, v: int) -> Any:
        at = self.builder.gep(pointer, [ir.Constant(_INDEX, v * self.lanes)])
        return self.builder.bitcast(at, self.vector.as_pointer())

    def load(self, pointer: Any, v: int) -> Any:
        """Vector v of the row at `pointer`."""
        return self.builder.load(self._place(pointer, v), align=self.size)

    def load_columns(self, pointer: Any, v: int) -> Any:
        """The same up to the columns; 0 beyond them."""
        place = self._place(pointer, v)
        if self.masks is None:
            return self.builder.load(place, align=self.size)
        name = f"llvm.masked.load.v{self.lanes}f{8 * self.size}.p0"
        routine = self._routine(name, self.vector, [place.type, _SHORT, self.flags, self.vector])
        zero = ir.Constant(self.vector, [0.0] * self.lanes)
        return self.builder.call(routine, [place, ir.Constant(_SHORT, self.size), self.masks[v], zero])

    def store(self, value: Any, pointer: Any, v: int) -> None:
        """Vector v of the row at `pointer`, up to the columns."""
        place = self._place(pointer, v)
        if self.masks is None:
            self.builder.store(value, place, align=self.size)
            return
        name = f"llvm.masked.store.v{self.lanes}f{8 * self.size}.p0"
        routine = self._routine(name, ir.VoidType(), [self.vector, place.type, _SHORT, self.flags])
        self.builder.call(routine, [value, place, ir.Constant(_SHORT, self.size), self.masks[v]])

    def multiply_add(self, x: Any, y: Any, total: Any) -> Any:
        """x · y + total in every lane."""
        if not FUSED:
            return self.builder.fadd(self.builder.fmul(x, y), total)
        routine = self._routine(f"llvm.fma.v{self.lanes}f{8 * self.size}", self.vector, [self.vector] * 3)
        return self.builder.call(routine, [x, y, total])

    def tile(self, rows: int, vectors: int, a: Any, a_row: Any, a_k: Any, b: Any, b_k: Any, k: Any,
             first: Any, first_row: Any, c: Any, c_row: Any) -> None:  # fmt: skip
        """C = first + A B for `rows` rows and `vectors` vectors; a, b, first, c point to where they begin."""
        builder = self.builder
        places = [(r, v) for r in range(rows) for v in range(vectors)]
        row = [ir.Constant(_INDEX, r) for r in range(rows)]
        begun = [builder.gep(first, [builder.mul(first_row, row[r])]) for r in range(rows)]
        starts = [self.load_columns(begun[r], v) for r, v in places]
        steps = [builder.mul(a_row, row[r]) for r in range(rows)]
        before, loop, after = builder.block, builder.append_basic_block("k"), builder.append_basic_block("after_k")
        builder.branch(loop)
        builder.position_at_end(loop)
        done, at_a, at_b = builder.phi(_INDEX), builder.phi(a.type), builder.phi(b.type)
        sums = [builder.phi(self.vector) for _ in places]
        loaded = [self.load(at_b, v) for v in range(vectors)]
        spread = [self.broadcast(builder.gep(at_a, [steps[r]])) for r in range(rows)]
        added = [self.multiply_add(spread[r], loaded[v], sums[i]) for i, (r, v) in enumerate(places)]
        further = builder.add(done, ir.Constant(_INDEX, 1))
        moved = [further, builder.gep(at_a, [a_k]), builder.gep(at_b, [b_k]), *added]
        begin = [ir.Constant(_INDEX, 0), a, b, *starts]
        for phi, start, next_ in zip([done, at_a, at_b, *sums], begin, moved, strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(next_, loop)
        builder.cbranch(builder.icmp_signed("<", further, k), loop, after)
        builder.position_at_end(after)
        for i, (r, v) in enumerate(places):
            self.store(added[i], builder.gep(c, [builder.mul(c_row, row[r])]), v)


def _tile(rows: int, vectors: int, full: bool) -> Callable[..., Any]:
    """The tile of `rows` rows: f(a, a_at, a_row, a_k, b, b_at, b_k, k, first, first_at, first_row, c, c_at, c_row, n).

    a, b, first, c are flat arrays with the places where the tile begins, and steps from row to row and along k, in
    numbers. k >= 1. C and `first` have n columns, which a full tile does not read; B has all of the tile's.
    """

    def emit(_typing: Any, a: Any, _a_at: Any, _a_row: Any, _a_k: Any, b: Any, _b_at: Any, _b_k: Any, _k: Any,
             first: Any, _first_at: Any, _first_row: Any, c: Any, _c_at: Any, _c_row: Any, _n: Any) -> Any:  # fmt: skip
        i = types.intp
        signature = types.void(a, i, i, i, b, i, i, i, first, i, i, c, i, i, i)

        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            def pointer(index: int) -> Any:
                made = context.make_array(signature.args[index])(context, builder, given[index])
                return builder.gep(made.data, [given[index + 1]])

            emitter = _Emitter(context, builder, signature.args[0].dtype, None if full else given[14])
            emitter.tile(rows, vectors, pointer(0), given[2], given[3], pointer(4), given[6], given[7],
                         pointer(8), given[10], pointer(11), given[13])  # fmt: skip
            return context.get_dummy_value()

        return signature, generate

    return emitted(emit)


full_6, full_4, full_2, full_1 = (_tile(rows, 2, full=True) for rows in ROWS)
edge_6, edge_4, edge_2, edge_1 = (_tile(rows, 2, full=False) for rows in ROWS)
half_6, half_4, half_2, half_1 = (_tile(rows, 1, full=False) for rows in ROWS)
