"""What is done before a plan's programs are recorded stays within its buffers, however short its chunks are."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest

from kernels import cupy_recorder
from kernels.cupy_recorder import CudaRecorder
from kernels.step_plan import StepPlan, bind, rehearse
from nets.plans import plan_of
from nets.step_shape import shape_of
from tests.kernels.block_support import HostCompiler
from tests.kernels.recorder_support import HostProducts
from tests.nets.persistent_parts import case
from tests.nets.support import blobs


@pytest.mark.parametrize(("capacity", "recordings"), [(1, (1, 1)), (3, (3, 1)), (4, (2, 1))])
def test_a_rehearsal_writes_no_number_behind_a_buffer(capacity: int, recordings: tuple[int, int]) -> None:
    shape = shape_of([case("float32", blobs(), [5])])
    assert shape is not None
    plan = plan_of(shape, 2, capacity, recordings)
    whole = {one.name: np.zeros(2 * one.size + 64, one.dtype) for one in plan.buffers}
    for one in plan.buffers:
        whole[one.name][one.size :] = 77 if one.dtype == "float64" else 0
    buffers = {one.name: whole[one.name][: one.size] for one in plan.buffers}
    data = np.zeros(4096)
    buffers["sources"][:] = data.ctypes.data
    for program in plan.programs:
        rehearse(bind(program, buffers, HostCompiler(), HostProducts()), buffers)
    behind = {one.name: whole[one.name][one.size :] for one in plan.buffers}
    assert (behind.pop("losses") == 77).all()
    assert not any(array.any() for array in behind.values())
    assert buffers["cursor"].tolist() == [0]


def test_what_did_not_fit_is_gone_before_it_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The buffers of a failed attempt would leave no room for the second one."""
    taken: list[weakref.ref[Any]] = []

    class Graphs:
        in_use = False

        def __init__(self, plan: StepPlan, *_: Any) -> None:
            self.plan = plan
            if taken:
                assert taken[0]() is None
                return
            buffer = np.zeros(3)
            taken.append(weakref.ref(buffer))
            raise cupy_recorder.cupy.cuda.memory.OutOfMemoryError(1, 1, 1)

    class Pool:
        def free_all_blocks(self) -> None:
            assert taken[0]() is None

    monkeypatch.setattr(cupy_recorder, "_Graphs", Graphs)
    monkeypatch.setattr(cupy_recorder, "CudaProducts", lambda: None)
    monkeypatch.setattr(cupy_recorder.cupy, "get_default_memory_pool", Pool)
    plan = StepPlan((), ())
    made: Any = CudaRecorder(HostCompiler())._made(plan)
    assert made.plan is plan
