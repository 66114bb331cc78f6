"""The persistent kernel, its exact source run on the host: no order of threads shows, no step leaves its arrays."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nets.member import Member
from tests.kernels.block_support import ORDERS, BarriersDiffer, HostCompiler, build, guarded_run
from tests.nets.persistent_parts import case, engine_of, train
from tests.nets.support import blobs

# ---- the discipline of threads


def races(member: Member, edit: Callable[[str], str] = lambda source: source) -> bool:
    """True if the order of threads or the lateness of copies shows, NaN comes up, or some threads miss a barrier."""
    seen = set()
    for order in ORDERS:
        for late in (True, False):
            compiler = HostCompiler(order, late_copies=late)
            compiler.edit = edit
            engine = engine_of(member, compiler=compiler)
            try:
                losses = train(engine, 6)
            except BarriersDiffer:
                return True
            if not np.isfinite(losses).all():
                return True
            seen.add(b"".join([losses.tobytes(), *(array.tobytes() for array in engine.state(0).values())]))
    return len(seen) > 1


@pytest.mark.parametrize("name", ["W1", "W3"])
def test_the_order_of_threads_never_shows(name):
    table, hidden = (blobs(100, 2, 3), [16, 16]) if name == "W1" else (blobs(200, 64, 10), [128])
    assert not races(case("float32", table, hidden, "relu", training={"batch_size": 32 if name == "W1" else 64}))


SMALL = {"table": blobs(90, 12, 3), "hidden": [20], "activation": "tanh"}


def barriers_of(member: Member) -> int:
    engine = engine_of(member)
    engine.advance(1)
    return int(engine._backend.compiler.launches[0][0].count("__syncthreads();"))


def without_barrier(number: int) -> Callable[[str], str]:
    def edit(source: str) -> str:
        pieces = source.split("__syncthreads();")
        return "__syncthreads();".join(pieces[: number + 1]) + "__syncthreads();".join(["", *pieces[number + 1 :]])[16:]

    return edit


@pytest.mark.parametrize("number", range(7))
def test_every_single_barrier_is_needed_and_its_absence_found(number):
    member = case("float32", **SMALL)
    assert barriers_of(member) == 7
    edit = without_barrier(number)
    whole = "a __syncthreads(); b __syncthreads(); c" + " __syncthreads(); d" * 6
    assert edit(whole).count("__syncthreads();") == 7
    assert races(member, edit)


def test_a_barrier_that_only_some_threads_meet_is_found():
    def edit(source: str) -> str:
        return source.replace("wait_for_copies();\n    __syncthreads();", "if (threadIdx.x) __syncthreads();", 1)

    compiler = HostCompiler()
    compiler.edit = edit
    with pytest.raises(BarriersDiffer):
        engine_of(case("float32", **SMALL), compiler=compiler).advance(2)


def test_a_copy_that_is_not_waited_for_is_found():
    def edit(source: str) -> str:
        return source.replace("    wait_for_copies();\n    __syncthreads();", "    __syncthreads();")

    assert races(case("float32", **SMALL), edit)


def test_memory_that_was_never_written_is_not_a_number():
    compiler = HostCompiler()
    compiler.edit = lambda source: source.replace("  append_all_ones(memory);", "")
    engine = engine_of(case("float32", **SMALL), compiler=compiler)
    assert np.isnan(train(engine, 2)).all()


# ---- the discipline of memory

STATE, X, RECORDS, SHARED = (f"a step beyond array {number}\n" for number in (3, 4, 10, 12))
"""The program's arguments by their numbers; its shared memory comes after them."""
STEPS_BEYOND = {
    "the pooled rows": ("(offset)rows[r] * Layer1::rows", "(offset)(rows[r] + 200) * Layer1::rows", X),
    "the parameters": ("L::flat + i];", "L::flat + i + 40];", STATE),
    "the parameters' beginning": ("L::flat + i];", "L::flat + i - 40];", STATE),
    "shared memory": ("(targets + 2 * BATCH * TARGETS)", "(targets + 2 * BATCH * TARGETS + 1)", SHARED),
    "the records": ("step.records[r] =", "step.records[r + 1] =", RECORDS),
}


def guarded_training(folder: Path, before: str, after: str) -> list[tuple[int, str]]:
    engine = engine_of(case("float32", **SMALL))
    engine._records = engine._records[: 16 * 3]
    engine._losses = engine._losses[:3]
    engine.advance(3)
    source, *launch = engine._backend.compiler.launches[0]
    assert before in source
    return guarded_run(folder, source.replace(before, after), *launch)


def test_the_program_keeps_to_its_arrays(tmp_path: Path):
    assert guarded_training(tmp_path, "real", "real") == [(0, ""), (0, "")]


@pytest.mark.parametrize("what", STEPS_BEYOND)
def test_a_step_beyond_an_array_is_found(tmp_path: Path, what: str):
    before, after, said = STEPS_BEYOND[what]
    assert (9, said) in guarded_training(tmp_path, before, after)


def test_a_step_beyond_a_thread_s_own_sums_is_found(tmp_path: Path):
    ended = guarded_training(tmp_path, "sum[i][j] += a[i] * b[j];", "sum[i][j + 1] += a[i] * b[j];")
    assert all(status in (-signal.SIGILL, -signal.SIGTRAP) for status, _ in ended), ended


def test_double_arithmetic_in_a_float_program_is_refused(tmp_path: Path):
    engine = engine_of(case("float32", blobs(), [4], "gelu"))
    engine.advance(1)
    source = engine._backend.compiler.launches[0][0]
    assert "0.5f" in source
    with pytest.raises(RuntimeError, match=r"double-promotion|float-conversion"):
        build(source.replace("0.5f", "0.5"), tmp_path / "program.so")
