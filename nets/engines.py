"""Which engine runs a stack."""

from __future__ import annotations

from collections.abc import Sequence

from kernels.backend import Backend
from nets.batches import Pool
from nets.engine import Engine, LayeredEngine
from nets.member import Member
from nets.persistent_engine import PersistentEngine, program_for


def engine_for(members: Sequence[Member], backend: Backend, pool: Pool | None = None) -> Engine:
    """One kernel for whole chunks of steps where a device can compile it and the net fits; else layer by layer.

    The choice depends on the spec and the device alone, never on how many models there are.
    """
    program = program_for(members[0], backend)
    if program is None:
        return LayeredEngine(members, backend, pool)
    return PersistentEngine(members, backend, program, pool)
