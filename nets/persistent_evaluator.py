"""Measures nets that fit one multiprocessor: blocks of one launch share the models and their rows.

Axis legend: M models of the stack, k models that are measured, P parameters, B batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from kernels.backend import Array, Backend
from kernels.persistent_source import MEASURE_SYMBOL, Hits, measure_source
from nets.batches import Pool
from nets.evaluate import Evaluator, Measured
from nets.losses import LOSSES
from nets.member import Member
from nets.persistent_program import Program

SHARES: Final = 64
"""Blocks that share the rows of one model, at most."""
LEAST_BATCHES: Final = 4
"""Batches of one block, at least."""


class PersistentEvaluator(Evaluator):
    """Measures models by the kernel that trains them; rows and figures are the evaluator's.

    How rows are shared out depends on their number alone, so a model's figures do not depend on its neighbours.
    """

    def __init__(self, members: Sequence[Member], backend: Backend, part: str, pool: Pool, program: Program) -> None:
        super().__init__(members, part, pool)
        self._backend, self._x = backend, pool.x
        first, self._plan = members[0], program.plan
        self._numbers = backend.to_device(np.concatenate([one.rows for one in self._samples]).astype(np.int32))
        self._first = np.cumsum([0, *(len(one.rows) for one in self._samples)])[:-1]
        codes = pool.y.dtype.kind == "i"
        self._targets = backend.to_device(pool.y.astype(np.int32) if codes else np.ascontiguousarray(pool.y))
        text = measure_source(self._plan, program.rules(first), _hits_of(first, codes=codes))
        self._launch = program.compiler.compile(text, MEASURE_SYMBOL, self._plan.shared_bytes)

    def measure(self, parameters: Array, models: Sequence[int]) -> list[Measured]:
        """See Evaluator: one launch."""
        looks = [look for place, model in enumerate(models) for look in self._looks(place, model)]
        tasks, xp, backend = np.array(looks, np.int32), self._backend.xp, self._backend
        found = xp.empty((len(looks), 2, self._plan.batch), np.float64)
        arguments = (backend.to_device(tasks), self._numbers, xp.ascontiguousarray(parameters), self._x, self._targets)
        self._launch(len(looks), self._plan.threads, (*arguments, found))
        sums = backend.to_host(found).sum(axis=2)
        totals = np.zeros((len(models), 2))
        np.add.at(totals, tasks[:, 0], sums)
        return [self._summary(model, *totals[place].tolist()) for place, model in enumerate(models)]

    def _looks(self, place: int, model: int) -> list[tuple[int, int, int]]:
        """What the kernel calls Look, of every block that measures a model: its place, first row, number of rows."""
        count, batch = len(self._samples[model].rows), self._plan.batch
        share = batch * max(LEAST_BATCHES, -(-count // (batch * SHARES)))
        begin = int(self._first[model])
        return [(place, begin + at, min(share, count - at)) for at in range(0, count, share)]


def _hits_of(member: Member, *, codes: bool) -> Hits:
    if member.data.task != "classification":
        return "SQUARES"
    if LOSSES[member.spec.loss.name].one_output:
        return "SIGN"
    return "CODE" if codes else "LARGEST"
