"""The persistent engine on a host that runs its kernel's own source: nets, engines, runs of many steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from nets.member import Member
from nets.persistent_engine import PersistentEngine
from nets.persistent_program import program_for
from nets.table import Table
from tests.kernels.block_support import BlockBackend, HostCompiler
from tests.nets.support import member_for

SGD = {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9, "l2": 1e-2}


def engine_of(*members: Member, compiler: HostCompiler | None = None) -> PersistentEngine:
    backend = BlockBackend(compiler)
    program = program_for(members[0], backend)
    assert program is not None
    return PersistentEngine(members, backend, program)


def train(engine: Any, steps: int) -> np.ndarray:
    """Loss sums (N, M) of `steps` steps in chunks of at most 7."""
    done = 0
    while done < steps:
        chunk = min(7, steps - done, engine.max_chunk())
        engine.advance(chunk)
        done += chunk
    return np.asarray(engine.drain())


def case(precision: str, table: Table, hidden: list[int], activation: Any = "tanh", **spec: Any) -> Member:
    training = {"batch_size": 16, "precision": precision, "seed": 5, **spec.pop("training", {})}
    net = {"hidden": hidden, "activation": activation, **spec.pop("net", {})}
    return member_for(table, net=net, training=training, **{"optimizer": SGD, **spec})
