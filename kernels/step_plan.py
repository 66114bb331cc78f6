"""A training step as data: launches of kernels and matrix products over named flat buffers, and nothing that runs.

Nodes stand in an order in which they may run one by one. Each is on a branch: those of one branch follow each other,
those of different ones may run side by side unless `waits` says that one touches what the other writes.

Buffers are one-dimensional. Matrices are described as cuBLAS describes them: column-major, with a leading dimension
and a stride from model to model, so that what a test computes from these numbers is what a descriptor is given.

Axis legend: M models, B batch, I in, O out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from math import gcd
from typing import Final, Protocol

import numpy as np

from kernels.backend import Array, Compiler
from kernels.precisions import Arithmetic

ALIGNMENT: Final = 256
"""Bytes at whose multiples every buffer begins; CuPy's pool gives 512."""


@dataclass(frozen=True)
class Buffer:
    """A flat array of `size` numbers; bfloat16 numbers are kept as uint16."""

    name: str
    dtype: str
    size: int

    @property
    def bytes(self) -> int:
        """What it takes."""
        return self.size * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Place:
    """A part of a buffer: what a kernel gets as an argument."""

    buffer: str
    offset: int
    size: int


@dataclass(frozen=True)
class Matrix:
    """A column-major matrix of every model: (r, c) of model m lies at offset + m·stride + c·leading + r.

    `transposed` says that a product reads it so.
    """

    buffer: str
    offset: int
    rows: int
    columns: int
    leading: int
    stride: int
    transposed: bool = False

    @property
    def T(self) -> Matrix:  # noqa: N802 - as NumPy calls it
        """The same numbers, read transposed."""
        return replace(self, transposed=not self.transposed)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) as a product reads it."""
        return (self.columns, self.rows) if self.transposed else (self.rows, self.columns)

    def end(self, models: int) -> int:
        """The place behind its last number."""
        return self.offset + (models - 1) * self.stride + (self.columns - 1) * self.leading + self.rows

    def alignment(self, itemsize: int, models: int) -> int:
        """Bytes at whose multiples the matrices of all models begin."""
        return gcd(ALIGNMENT, self.offset * itemsize, self.stride * itemsize * (models > 1))


def row_major(buffer: str, offset: int, rows: int, columns: int, leading: int, stride: int) -> Matrix:
    """A row-major (rows, columns) matrix, with `leading` numbers from row to row: read transposed, column-major."""
    return Matrix(buffer, offset, columns, rows, leading, stride, transposed=True)


@dataclass(frozen=True)
class Product:
    """`d = a b` for each of `models`; factors are rounded to `arithmetic`, which says how `a` and `b` are kept too."""

    a: Matrix
    b: Matrix
    d: Matrix
    models: int
    arithmetic: Arithmetic
    branch: int = 0

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(m, n, k)."""
        return *self.d.shape, self.a.shape[1]

    @property
    def flops(self) -> int:
        """A multiply-add counts 2."""
        m, n, k = self.sizes
        return 2 * m * n * k * self.models


def product(left: Matrix, right: Matrix, out: Matrix, models: int, arithmetic: Arithmetic, branch: int = 0) -> Product:
    """`out = left right` of row-major matrices: column-major it is outᵀ = rightᵀ leftᵀ."""
    return Product(right.T, left.T, out.T, models, arithmetic, branch)


@dataclass(frozen=True)
class Kernel:
    """One launch: the kernel `symbol` of a program, with parts of buffers and numbers as its arguments.

    It writes the buffers named in `writes`, and no others.
    """

    source: str = field(repr=False)
    symbol: str
    blocks: int
    threads: int
    arguments: tuple[Place | np.generic, ...]
    shared_bytes: int = 0
    writes: frozenset[str] = frozenset()
    branch: int = 0


Node = Kernel | Product


@dataclass(frozen=True)
class StepPlan:
    """Buffers, and programs over them: lists of nodes that run in order. Raises ValueError for what does not fit."""

    buffers: tuple[Buffer, ...]
    programs: tuple[tuple[Node, ...], ...]

    def __post_init__(self) -> None:
        for node in {node for program in self.programs for node in program}:
            _check(node, self.by_name)

    @cached_property
    def by_name(self) -> Mapping[str, Buffer]:
        """The buffers."""
        return {one.name: one for one in self.buffers}

    @property
    def bytes(self) -> int:
        """What all buffers take."""
        return sum(one.bytes for one in self.buffers)


def _check(node: Node, buffers: Mapping[str, Buffer]) -> None:
    if isinstance(node, Kernel):
        for place in node.arguments:
            if isinstance(place, Place) and not (
                place.offset >= 0 and place.size > 0 and place.offset + place.size <= buffers[place.buffer].size
            ):
                raise ValueError(f"{node.symbol} gets {place}, which is not within {buffers[place.buffer]}")
        return
    (m, k), (other, n) = node.a.shape, node.b.shape
    if other != k or node.d.shape != (m, n):
        raise ValueError(f"a {node.a.shape}, b {node.b.shape} and d {node.d.shape} make no product")
    for matrix in (node.a, node.b, node.d):
        if matrix.leading < matrix.rows or matrix.end(node.models) > buffers[matrix.buffer].size:
            raise ValueError(f"{matrix} of {node.models} models is not within {buffers[matrix.buffer]}")
    if node.d.transposed:
        raise ValueError("d is written transposed, which no product does")
    if node.models > 1 and node.d.stride < node.d.end(1) - node.d.offset:
        raise ValueError(f"{node.d}: models overlap")


@dataclass(frozen=True)
class Touch:
    """A part of a buffer that a node reads or writes: `size` numbers of each of `models`, `stride` apart."""

    buffer: str
    offset: int
    size: int
    stride: int
    models: int
    writes: bool

    @property
    def end(self) -> int:
        """The place behind its last number."""
        return self.offset + (self.models - 1) * self.stride + self.size

    def meets(self, other: Touch) -> bool:
        """Whether the two may have a number in common, told from parts that do not lie between each other's."""
        if self.buffer != other.buffer or self.end <= other.offset or other.end <= self.offset:
            return False
        alike = self.stride == other.stride and self.models == other.models > 1
        if not alike or max(self.end, other.end) - min(self.offset, other.offset) > self.stride * self.models:
            return True
        return self.offset < other.offset + other.size and other.offset < self.offset + self.size

    def covers(self, other: Touch) -> bool:
        """Whether it has every number of the other; only one without gaps is known to."""
        whole = self.models == 1 or self.stride == self.size
        return whole and self.offset <= other.offset and other.end <= self.end


def touches(node: Node) -> list[Touch]:
    """Everything that a node reads or writes."""
    if isinstance(node, Kernel):
        places = [one for one in node.arguments if isinstance(one, Place)]
        return [Touch(one.buffer, one.offset, one.size, 0, 1, one.buffer in node.writes) for one in places]
    found = []
    for matrix in (node.a, node.b, node.d):
        size = matrix.end(1) - matrix.offset
        found.append(Touch(matrix.buffer, matrix.offset, size, matrix.stride, node.models, matrix is node.d))
    return found


def waits(program: Sequence[Node]) -> list[list[int]]:
    """For every node the earlier ones that it waits for, but for those of its own branch: the last of every branch."""
    seen: dict[str, list[tuple[int, Touch]]] = {}
    found = []
    for number, node in enumerate(program):
        last: dict[int, int] = {}
        for touch in touches(node):
            before = seen.setdefault(touch.buffer, [])
            for earlier, other in before:
                if (touch.writes or other.writes) and touch.meets(other):
                    branch = program[earlier].branch
                    last[branch] = max(last.get(branch, -1), earlier)
            if touch.writes:  # whoever waits for this one has waited for what it covers
                before[:] = [(earlier, other) for earlier, other in before if not touch.covers(other)]
        for touch in touches(node):
            seen[touch.buffer].append((number, touch))
        last.pop(node.branch, None)
        found.append(sorted(last.values()))
    return found


class Products(Protocol):
    """What computes matrix products on a device."""

    def bind(self, product: Product, a: Array, b: Array, d: Array) -> Callable[[], None]:
        """A call that enqueues the product of flat arrays, each from where its matrix begins."""


def bind(
    program: Sequence[Node], buffers: Mapping[str, Array], compiler: Compiler, products: Products
) -> list[Callable[[], None]]:
    """The calls of a program, with nothing left to look up, choose or compile."""
    calls: list[Callable[[], None]] = []
    for node in program:
        if isinstance(node, Product):
            parts = [buffers[one.buffer][one.offset : one.end(node.models)] for one in (node.a, node.b, node.d)]
            calls.append(products.bind(node, *parts))
        else:
            launch = compiler.compile(node.source, node.symbol, node.shared_bytes)
            arguments = [
                buffers[one.buffer][one.offset : one.offset + one.size] if isinstance(one, Place) else one
                for one in node.arguments
            ]
            calls.append(partial(launch, node.blocks, node.threads, arguments))
    return calls


def rehearse(calls: Sequence[Callable[[], None]], buffers: Mapping[str, Array]) -> None:
    """Run a program once on numbers that nobody needs, from the begin of a chunk: a plan may have room for no more."""
    buffers["cursor"].fill(0)
    for call in calls:
        call()
    buffers["cursor"].fill(0)
