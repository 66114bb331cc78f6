"""What compiled code is given of a stack, and measuring by it.

Axis legend: n rows of a model, I inputs, C scores, M models.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels.compiled import layers, losses, measures
from kernels.compiled.panels import Panels
from kernels.compiled.workspace import Programmed, Workspace
from nets.batches import OwnRows
from nets.evaluate import Evaluator, Measured
from nets.losses import LOSSES
from nets.member import Member
from nets.network import activations_of
from nets.options import number
from nets.parameters import Layout
from nets.spec import ResolvedSpec
from nets.tape import Array
from nets.threads import available_threads

CLASS_LOSSES: Final = {"softmax": (losses.SOFTMAX, "label_smoothing"), "svm": (losses.SVM, "margin")}
"""Losses over classes that compiled code has, each with its option; it has all losses over values."""

LARGE_MEASURE: Final = 4_000_000
"""Multiply-adds of a measure from which on several threads share its blocks."""

Rows = tuple[NDArray[Any], NDArray[np.int64], NDArray[Any]]
"""Inputs (n, I), class codes (n,), target values (n, C); what the loss does not read is one zero."""


def rows_of_each(members: Sequence[Member], rows: OwnRows) -> list[Rows]:
    """Every model's rows as compiled code reads them."""
    known = {id(x): _rows(members[0], x, y) for x, y in zip(rows.x, rows.y, strict=True)}
    return [known[id(x)] for x in rows.x]


def _rows(member: Member, x: NDArray[Any], y: NDArray[Any]) -> Rows:
    if LOSSES[member.spec.loss.name].target == "class":
        return x, np.ascontiguousarray(y[:, 0]), np.zeros((1, 1), member.dtype)
    tells, codes = tells_of(member), np.zeros(1, np.int64)
    if tells != layers.NO_CLASS:
        codes = y.argmax(axis=1) if tells == layers.LARGEST else (y[:, 0] > 0).astype(np.int64)
    return x, codes, y


def workspace_for(
    spec: ResolvedSpec, layout: Layout, batch: int, threads: int = 1, block: int = 0, *, dropout: bool = False
) -> Workspace:
    """Buffers of a team of threads for such a net: for batches, and for blocks measured on the way."""
    loss = spec.loss
    programs: list[tuple[Programmed, Mapping[str, float]]] = [*activations_of(spec.net.activation)]
    one = LOSSES[loss.name].pointwise
    if one is not None:
        programs.append((one, {name: number(loss.options, name) for name in one.parameters}))
    return Workspace(layout.widths, layout.bias, programs, batch, spec.training.dtype, threads, block, dropout)


def knows_loss(member: Member) -> bool:
    """True if compiled code has the member's loss."""
    name = member.spec.loss.name
    return LOSSES[name].pointwise is not None or name in CLASS_LOSSES


def tells_of(member: Member) -> int:
    """How the member's scores tell a class."""
    if member.data.task != "classification":
        return layers.NO_CLASS
    return layers.SIGN if LOSSES[member.spec.loss.name].one_output else layers.LARGEST


def kind_of(member: Member) -> tuple[int, np.floating, int]:
    """The loss's number in compiled code, its option, and how scores tell a class."""
    loss = member.spec.loss
    code, option = CLASS_LOSSES.get(loss.name, (losses.POINTWISE, None))
    value = 0.0 if option is None else number(loss.options, option)
    return code, member.dtype.type(value), tells_of(member)


def each(threads: int, count: int, work: Callable[[int, int], None]) -> None:
    """work(item, thread) for every item, on up to `threads` threads, each taking what is next."""
    if min(threads, count) <= 1:
        for item in range(count):
            work(item, 0)
        return
    left, lock = iter(range(count)), threading.Lock()

    def take(thread: int) -> None:
        while True:
            with lock:
                item = next(left, None)
            if item is None:
                return
            work(item, thread)

    others = [_helpers().submit(take, thread) for thread in range(1, threads)]
    try:
        take(0)
    finally:
        begun = [other for other in others if not other.cancel()]  # nothing is left for one that has not begun
        wait(begun)
    for other in begun:
        other.result()


@lru_cache(maxsize=1)
def _helpers() -> ThreadPoolExecutor:
    """Threads that wait between chunks: to start one takes long where others keep the interpreter busy."""
    return ThreadPoolExecutor(max(1, available_threads() - 1), thread_name_prefix="models")


class CompiledEvaluator(Evaluator):
    """Measures models without Python between layers; rows, blocks and figures are the evaluator's."""

    def __init__(self, members: Sequence[Member], part: str, rows: OwnRows, threads: int = 1) -> None:
        super().__init__(members, part, rows)
        self._own = rows_of_each(members, rows)
        self._kind = kind_of(members[0])
        self._threads = threads
        self._spaces = dict[int, Workspace]()
        self._panels = Panels(self._layout.widths, self._layout.bias, members[0].dtype)

    def admit(self, stay: Sequence[int], members: Sequence[Member], rows: OwnRows) -> None:
        """See Evaluator."""
        self._samples = [*(self._samples[model] for model in stay), *self._samples_of(members, rows)]
        self._own = [*(self._own[model] for model in stay), *rows_of_each(members, rows)]

    @property
    def block(self) -> int:
        """Rows that are measured at a time."""
        return self._block

    def _space(self, thread: int) -> Workspace:
        """The buffers of one thread, made when it first measures: few stacks need those of all."""
        if thread not in self._spaces:
            self._spaces[thread] = workspace_for(self._spec, self._layout, self._block)
        return self._spaces[thread]

    def rows_of(self, model: int) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[Any], NDArray[np.int64]]:
        """The model's rows, and which of them it is measured on."""
        return (*self._own[model], self._samples[model].rows)

    def measured(self, model: int, loss: float, hits: float) -> Measured:
        """The figures behind the sums of losses and of hits."""
        return self._summary(model, loss, hits)

    def measure(self, parameters: Array, models: Sequence[int]) -> list[Measured]:
        """See Evaluator."""
        return self.measure_panels(self._panels.pack(parameters), models)

    def measure_panels(self, packed: Sequence[NDArray[Any]] | NDArray[Any], models: Sequence[int]) -> list[Measured]:
        """The same of parameters in panels."""
        counts = [len(self._samples[model].rows) for model in models]
        blocks = [-(-count // self._block) for count in counts]
        figures = [np.zeros((count, 2)) for count in blocks]
        threads = self._threads if sum(counts) * self._layout.count >= LARGE_MEASURE else 1
        shares = -(-threads // max(1, len(models)))  # of a model's blocks
        tasks = [(item, share) for item in range(len(models)) for share in range(shares)]

        def one(task: int, thread: int) -> None:
            item, share = tasks[task]
            *own, rows = self.rows_of(models[item])
            first, last = (blocks[item] * end // shares for end in (share, share + 1))
            chosen, out = rows[first * self._block : last * self._block], figures[item][first:last]
            head = self._space(thread).heads[0]
            arguments: tuple[Any, ...] = (*head, *self._kind, *own, chosen, self._block, packed[item], out)
            measures.evaluate(*arguments)

        each(threads, len(tasks), one)
        return [self.measured(model, *figures[item].sum(axis=0).tolist()) for item, model in enumerate(models)]
