"""SciPy's BLAS called from compiled code through a function's address: `gemm` with strides, without the interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401 - its functions are looked up by name below
from llvmlite import ir
from numba import types
from numba.extending import get_cython_function_address

from kernels.compiled.jit import emitted

ADDRESSES = {
    np.dtype(np.float32): get_cython_function_address("scipy.linalg.cython_blas", "sgemm"),
    np.dtype(np.float64): get_cython_function_address("scipy.linalg.cython_blas", "dgemm"),
}
"""Where the Fortran routine lies in this process: an argument of compiled code, never part of it."""


@emitted
def gemm(
    _typing: Any, _address: Any, _ta: Any, _tb: Any, _m: Any, _n: Any, _k: Any,
    a: Any, _lda: Any, b: Any, _ldb: Any, c: Any, _ldc: Any,
) -> Any:  # fmt: skip
    """C (m, n) = op(A) op(B), column-major with leading dimensions; `ta`, `tb` are 1 to transpose, else 0.

    a, b, c are flat arrays that begin where the matrices do.
    """
    whole = types.intp
    signature = types.void(whole, whole, whole, whole, whole, whole, a, whole, b, whole, c, whole)

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        address, ta, tb, m, n, k, a, lda, b, ldb, c, ldc = given
        real = context.get_data_type(signature.args[6].dtype)
        letter, integer = ir.IntType(8), ir.IntType(32)

        def place(value: Any) -> Any:
            with builder.goto_entry_block():  # once for each call of the function, however often this runs
                slot = builder.alloca(value.type)
            builder.store(value, slot)
            return slot

        def number(value: Any) -> Any:
            return place(builder.trunc(value, integer))

        def transposed(flag: Any) -> Any:
            yes = builder.icmp_signed("!=", flag, ir.Constant(flag.type, 0))
            return place(builder.select(yes, ir.Constant(letter, ord("T")), ir.Constant(letter, ord("N"))))

        def data(index: int, value: Any) -> Any:
            return context.make_array(signature.args[index])(context, builder, value).data

        arguments = [
            transposed(ta), transposed(tb), number(m), number(n), number(k), place(ir.Constant(real, 1.0)),
            data(6, a), number(lda), data(8, b), number(ldb), place(ir.Constant(real, 0.0)), data(10, c), number(ldc),
        ]  # fmt: skip
        function = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
        builder.call(builder.inttoptr(address, function.as_pointer()), arguments)
        return context.get_dummy_value()

    return signature, generate
