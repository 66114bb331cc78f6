"""How several threads share one model's step: numbered tasks, taken one after the other, done in phases.

Two counters suffice: of tasks that were taken and of tasks that are done. A task may begin when all tasks of the
phases before it are done. Who takes which task changes no bit, so a thread that the system holds up is not waited
for unless it has a task in hand.
"""

from __future__ import annotations

from typing import Any, Final

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types

from kernels.compiled.jit import emitted, exact

TAKEN: Final = 0
DONE: Final = 16
"""Places of the counters, in cache lines of their own."""
COUNTERS: Final = 32

_SPINS: Final = 4000
"""Looks at the counter before the processor is offered to others."""
_IS_X86: Final = llvm.get_default_triple().startswith(("x86", "i686", "amd64"))


def _counter(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, given[0])
    return builder.gep(array.data, [given[1]])


@emitted
def count(_typing: Any, counters: Any, _place: Any) -> Any:
    """counters[place] += 1 as one indivisible step; the value before it."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        one = ir.Constant(ir.IntType(64), 1)
        return builder.atomic_rmw("add", _counter(context, builder, signature, given), one, "seq_cst")

    return types.intp(counters, types.intp), generate


@emitted
def seen(_typing: Any, counters: Any, _place: Any) -> Any:
    """counters[place], and everything that other threads wrote before they counted."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.load_atomic(_counter(context, builder, signature, given), "acquire", 8)

    return types.intp(counters, types.intp), generate


@emitted
def breathe(_typing: Any) -> Any:
    """Tell the processor that this thread spins."""

    def generate(context: Any, builder: Any, _signature: Any, _given: Any) -> Any:
        if _IS_X86:
            builder.call(
                builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), ir.FunctionType(ir.VoidType(), [])), []
            )
        return context.get_dummy_value()

    return types.void(), generate


@emitted
def offer(_typing: Any) -> Any:
    """Let other threads have the processor (POSIX sched_yield)."""

    def generate(context: Any, builder: Any, _signature: Any, _given: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [])
        known = builder.module.globals.get("sched_yield")
        builder.call(known or ir.Function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), generate


@exact
def wait_for(counters: Any, done: int) -> None:
    """Return when that many tasks are done."""
    spins = 0
    while seen(counters, DONE) < done:
        spins += 1
        if spins < _SPINS:
            breathe()
        else:
            offer()
