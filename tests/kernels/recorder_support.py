"""Step plans run on the host: kernels are their own sources behind the fiber shim, products NumPy's, from the numbers
that descriptors get.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kernels.rounding import bfloat16_bits
from kernels.step_plan import Kernel, Matrix, Node, Product, StepPlan, bind, waits
from tests.kernels.block_support import BlockBackend, HostCompiler

Array = np.ndarray[Any, Any]


def rounded_to_tf32(numbers: Array) -> Array:
    """float32 rounded to 10 bits of mantissa, away from zero where two are equally near, as cvt.rna.tf32 does."""
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
    nearest = ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)
    return np.where(np.isfinite(numbers), nearest, numbers)


def rounded_to_bfloat16(numbers: Array) -> Array:
    return widened(bfloat16_bits(numbers))


def widened(bits: Array) -> Array:
    """float32 numbers of bfloat16 ones."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def view(flat: Array, matrix: Matrix, models: int) -> Array:
    """(M, rows, columns) of a flat array that begins where the matrix does."""
    strides = (matrix.stride, 1, matrix.leading)
    shape = (models, matrix.rows, matrix.columns)
    assert (models - 1) * matrix.stride + (matrix.columns - 1) * matrix.leading + matrix.rows <= flat.size
    found = np.lib.stride_tricks.as_strided(flat, shape, [one * flat.itemsize for one in strides])
    return found.transpose(0, 2, 1) if matrix.transposed else found


class HostProducts:
    """`kernels.step_plan.Products` by NumPy."""

    def bind(self, product: Product, a: Array, b: Array, d: Array) -> Callable[[], None]:
        left, right = (view(flat, one, product.models) for flat, one in ((a, product.a), (b, product.b)))
        out = view(d, product.d, product.models)
        assert (a.dtype == np.uint16) == (b.dtype == np.uint16) == (product.arithmetic == "bfloat16")

        def multiply() -> None:
            factors = [left, right]
            if product.arithmetic == "tf32":
                factors = [rounded_to_tf32(one) for one in factors]
            if product.arithmetic == "bfloat16":
                factors = [widened(one) for one in factors]
            out[...] = np.matmul(*factors)

        return multiply


class HostRecording:
    """A plan's programs as lists of calls; memory that nobody has written is NaN."""

    def __init__(self, plan: StepPlan, compiler: HostCompiler, turn: np.random.Generator | None = None) -> None:
        self.buffers: Mapping[str, Array] = {one.name: poisoned(one.size, one.dtype) for one in plan.buffers}
        self.details = {"recorded": "on the host"}
        self.played: list[int] = []
        compiler.prepare(node.source for program in plan.programs for node in program if isinstance(node, Kernel))
        self._programs = [bind(program, self.buffers, compiler, HostProducts()) for program in plan.programs]
        if turn is not None:
            orders = [linearized(program, turn) for program in plan.programs]
            self._programs = [[calls[k] for k in order] for calls, order in zip(self._programs, orders, strict=True)]

    def play(self, program: int) -> None:
        self.played.append(program)
        for call in self._programs[program]:
            call()


def predecessors(program: Sequence[Node]) -> list[set[int]]:
    """The nodes that each node directly follows: on its branch, and those that it waits for."""
    last: dict[int, int] = {}
    found = []
    for number, (node, awaited) in enumerate(zip(program, waits(program), strict=True)):
        found.append({*awaited, *([last[node.branch]] if node.branch in last else [])})
        last[node.branch] = number
    return found


def linearized(program: Sequence[Node], turn: np.random.Generator) -> list[int]:
    """Some order in which a device may run the nodes."""
    before, done, order = predecessors(program), set[int](), list[int]()
    while len(order) < len(program):
        ready = [k for k in range(len(program)) if k not in done and before[k] <= done]
        order.append(int(turn.choice(ready)))
        done.add(order[-1])
    return order


def poisoned(size: int, dtype: str) -> Array:
    if dtype in ("float32", "float64"):
        return np.full(size, np.nan, dtype)
    return np.full(size, 0x7FC0 if dtype == "uint16" else 0, dtype)


class HostRecorder:
    """`kernels.backend.Recorder` on the host; keeps what it was given."""

    def __init__(self, compiler: HostCompiler, turn: np.random.Generator | None = None) -> None:
        self._compiler, self._turn = compiler, turn
        self.plans: list[StepPlan] = []
        self.recordings: list[HostRecording] = []

    def load(self, plan: StepPlan) -> HostRecording:
        self.plans.append(plan)
        self.recordings.append(HostRecording(plan, self._compiler, self._turn))
        return self.recordings[-1]


class RecordingBackend(BlockBackend):
    """NumPy arrays, and a recorder of steps."""

    def __init__(self, compiler: HostCompiler | None = None, turn: np.random.Generator | None = None) -> None:
        super().__init__(compiler)
        self.recorder = HostRecorder(self.compiler, turn)  # type: ignore[misc]
