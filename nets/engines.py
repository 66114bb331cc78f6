"""Which engine runs a stack, and what measures it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from types import ModuleType
from typing import Final

from kernels.backend import Backend
from kernels.errors import RecordingFailed
from kernels.precisions import needs_gpu
from nets.batches import OwnRows, Pool
from nets.engine import Engine, LayeredEngine
from nets.evaluate import Evaluator, LayeredEvaluator
from nets.gpu_costs import persistent_s, recorded_s
from nets.member import Member
from nets.persistent_engine import PersistentEngine
from nets.persistent_evaluator import PersistentEvaluator
from nets.persistent_program import program_for
from nets.recorded_engine import RecordedEngine
from nets.stacking import LARGE_STEP, LAYERED_GAIN
from nets.step_shape import shape_of
from nets.threads import available_threads, threads_for

PERSISTENT_LANES: Final = 128.0
"""Blocks of the persistent kernel that a GPU runs at once, one for each multiprocessor (132 on an H200)."""
RECORDED_LANES: Final = 32.0
"""Small models whose recorded steps a GPU plays in the time of one: their products are batched; predicted."""
LAUNCH_BOUND_LANES: Final = 8.0
"""Small models that a GPU trains layer by layer in the time of one, which is that of its launches; predicted."""

COMPILED_VARIABLE: Final = "MLPQ_COMPILED"
"""Set to 0, nothing is compiled for the CPU: NumPy does all work."""


def engine_for(
    members: Sequence[Member],
    backend: Backend,
    rows: Pool | OwnRows | None = None,
    val: Evaluator | None = None,
    threads: int = 1,
) -> Engine:
    """One kernel, recorded steps, or one compiled function where the net fits; else layer by layer.

    The choice depends on the spec, the device and what is installed, never on how many models there are.
    An engine that passes the ends of epochs measures by `val`, from `evaluator_for`, on the way; `threads` are those
    on which it may run several models at once.
    """
    compiled = _compiled_for(members[0], backend)
    if compiled is not None:
        engine: Engine = compiled.CompiledEngine(members, rows, val, threads)
        return engine
    pool = rows if isinstance(rows, Pool) else None
    return (
        LayeredEngine(members, backend, pool) if backend.compiler is None else _on_device(members, backend, pool, val)
    )


def _on_device(members: Sequence[Member], backend: Backend, pool: Pool | None, val: Evaluator | None) -> Engine:
    """The engine with the least predicted cost that the device can run; else layer by layer."""
    first, refused = members[0], ""
    for name in _ranked(first):
        if name == PersistentEngine.name:
            program = program_for(first, backend)
            if program is not None:
                return _explained(PersistentEngine(members, backend, program, pool, val), refused)
            continue
        try:
            recorded = _recorded(members, backend, pool)
        except RecordingFailed as error:
            refused = str(error)
            continue
        if recorded is not None:
            return recorded
    engine = _explained(LayeredEngine(members, backend, pool), refused)
    engine.details["products"] = first.dtype.name
    return engine


def _ranked(member: Member) -> list[str]:
    """Engines for a device, the cheapest first. Only recorded steps round the factors of products."""
    if needs_gpu(member.spec.training.precision):
        return [RecordedEngine.name]
    layout, batch = member.layout, member.spec.training.batch_size
    costs = {PersistentEngine.name: persistent_s(layout, batch), RecordedEngine.name: recorded_s(layout, batch)}
    return sorted(costs, key=lambda name: costs[name])


def _recorded(members: Sequence[Member], backend: Backend, pool: Pool | None) -> Engine | None:
    """The engine of recorded steps; None where nothing records, or a plan lacks something. Raises RecordingFailed."""
    shape = shape_of(members)
    if backend.recorder is None or shape is None:
        return None
    return RecordedEngine(members, backend, backend.recorder, shape, pool)


def _explained(engine: Engine, refused: str) -> Engine:
    if refused:
        engine.details["not_recorded"] = refused
    return engine


def rows_for(members: Sequence[Member], part: str, backend: Backend) -> Pool | OwnRows:
    """The models' "train" or "val" rows as the engine and the evaluator of these members read them."""
    compiled = _compiled_for(members[0], backend) is not None
    return OwnRows.of(members, part) if compiled else Pool.of(members, part, backend)


def evaluator_for(
    members: Sequence[Member], backend: Backend, part: str, rows: Pool | OwnRows, threads: int = 1
) -> Evaluator:
    """What measures models on their "train" or "val" rows; by a kernel or compiled where the training is."""
    compiled = _compiled_for(members[0], backend)
    if compiled is not None:
        evaluator: Evaluator = compiled.CompiledEvaluator(members, part, rows, threads)
        return evaluator
    pool = rows if isinstance(rows, Pool) else Pool.of(members, part, backend)
    if backend.compiler is not None and _ranked(members[0])[0] == PersistentEngine.name:
        program = program_for(members[0], backend)
        if program is not None:
            return PersistentEvaluator(members, backend, part, pool, program)
    return LayeredEvaluator(members, backend, part, pool)


def lanes_for(member: Member, backend: Backend) -> float:
    """How many models like this one train side by side as quickly as one alone; 1: a stack gains nothing."""
    widths, batch = member.layout.widths, member.spec.training.batch_size
    names = _ranked(member) if backend.compiler is not None else []
    if names[:1] == [PersistentEngine.name] and program_for(member, backend) is not None:
        return PERSISTENT_LANES
    if batch * sum(i * o for i, o in pairwise(widths)) >= LARGE_STEP:
        return 1.0
    if backend.device == "cpu" and _compiled_for(member, backend) is None:
        return LAYERED_GAIN if threads_for(widths, batch) == 1 else 1.0
    if backend.device == "cpu":
        return float(available_threads())
    recorded = backend.recorder is not None and shape_of([member]) is not None
    return RECORDED_LANES if recorded else LAUNCH_BOUND_LANES


def may_compile() -> bool:
    """False where the environment says that nothing is compiled for the CPU."""
    return os.environ.get(COMPILED_VARIABLE) != "0"


def _compiled_for(member: Member, backend: Backend) -> ModuleType | None:
    if backend.device != "cpu" or backend.compiler is not None or not may_compile():
        return None
    compiled = _compiled_engine()
    return compiled if compiled is not None and compiled.compiles(member) else None


@lru_cache(maxsize=1)
def _compiled_engine() -> ModuleType | None:
    """The module of the compiled engine; None without numba, which plain NumPy does not need."""
    try:
        import nets.compiled_engine as compiled
    except ImportError:
        return None
    return compiled
