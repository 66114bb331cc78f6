"""The persistent kernel, its exact source run on the host: no order of threads shows, no step leaves its arrays."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nets.batches import Pool
from nets.device_orders import DeviceOrders
from nets.engines import evaluator_for
from nets.member import Member
from tests.kernels.block_support import ORDERS, BarriersDiffer, BlockBackend, HostCompiler, build, guarded_run
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
            arrays = [losses, *engine.state(0).values()]
            if engine._passed is not None:
                arrays.append(engine._passed.snapshots)
            seen.add(b"".join(array.tobytes() for array in arrays))
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


@pytest.mark.parametrize("number", range(8))
def test_every_single_barrier_is_needed_and_its_absence_found(number):
    member = case("float32", **SMALL)
    assert barriers_of(member) == 8
    edit = without_barrier(number)
    whole = "a __syncthreads(); b __syncthreads(); c" + " __syncthreads(); d" * 7
    assert edit(whole).count("__syncthreads();") == 8
    assert races(member, edit)


def shows(figures: Callable[[HostCompiler], bytes], edit: Callable[[str], str]) -> bool:
    """True if the order of threads or the lateness of copies shows in what a kernel finds."""
    seen = set()
    for order in ORDERS:
        for late in (True, False):
            compiler = HostCompiler(order, late_copies=late)
            compiler.edit = edit
            seen.add(figures(compiler))
    return len(seen) > 1


def measured(compiler: HostCompiler) -> bytes:
    """The figures of a net on several batches of its rows."""
    member = case("float32", blobs(400, 12, 3), [20], "tanh")
    evaluator = evaluator_for(
        [member], BlockBackend(compiler), "train", Pool.of([member], "train", BlockBackend(compiler))
    )
    (found,) = evaluator.measure(member.initial_parameters()[None], [0])
    return np.array([found.loss, found.score]).tobytes()


def drawn(compiler: HostCompiler) -> bytes:
    """The orders of two epochs."""
    backend = BlockBackend(compiler)
    member = case("float32", blobs(150), [3])
    orders = DeviceOrders([member], Pool.of([member], "train", backend), backend)
    return bytes(orders.next(np.array([0]), 2 * int(orders.per_epoch[0])).rows.tobytes())


@pytest.mark.parametrize("figures", [measured, drawn], ids=["measure", "orders"])
def test_every_barrier_of_the_other_kernels_is_needed(figures):
    barriers = {measured: 4, drawn: 2}[figures]
    sources = []
    compiler = HostCompiler()
    compiler.edit = lambda source: [sources.append(source), source][1]  # type: ignore[func-returns-value]
    figures(compiler)
    assert max(source.count("__syncthreads();") for source in sources) == barriers
    assert not shows(figures, lambda source: source)
    for number in range(barriers):
        assert shows(figures, without_barrier(number)), number


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
    compiler.edit = lambda source: source.replace("  carry_net<true, IN_SHARED>(memory, own, stride);", "")
    engine = engine_of(case("float32", **SMALL), compiler=compiler)
    assert np.isnan(train(engine, 2)).all()


# ---- the discipline of memory

STATE, X, RECORDS, SNAPSHOTS, SHARED = (f"a step beyond array {number}\n" for number in (6, 7, 13, 15, 16))
"""The program's arguments by their numbers; its shared memory comes after them."""
STEPS_BEYOND = {
    "the pooled rows": ("(offset)rows[r] * Layer1::rows", "(offset)(rows[r] + 200) * Layer1::rows", X),
    "the parameters": ("L::flat + i];", "L::flat + i + 40];", STATE),
    "the parameters' beginning": ("L::flat + i];", "L::flat + i - 40];", STATE),
    "shared memory": ("(targets + 2 * BATCH * TARGETS)", "(targets + 2 * BATCH * TARGETS + 1)", SHARED),
    "the records": ("step.records[r * Loss::records", "step.records[(r + 1) * Loss::records", RECORDS),
    "the snapshots": (
        "carry_net<false, 1>(memory, snapshots,",
        "carry_net<false, 1>(memory, snapshots + 40,",
        SNAPSHOTS,
    ),
}


def guarded_training(folder: Path, before: str, after: str) -> list[tuple[int, str]]:
    engine = engine_of(case("float32", **SMALL))
    engine.advance(6)  # over the end of an epoch
    assert engine._passed is not None
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
    ended = guarded_training(tmp_path, "sum[i][j] += a[i].at[n]", "sum[i][j + 1] += a[i].at[n]")
    assert all(status in (-signal.SIGILL, -signal.SIGTRAP) for status, _ in ended), ended


def test_double_arithmetic_in_a_float_program_is_refused(tmp_path: Path):
    engine = engine_of(case("float32", blobs(), [4], "gelu"))
    engine.advance(1)
    source = engine._backend.compiler.launches[0][0]
    assert "0.5f" in source
    with pytest.raises(RuntimeError, match=r"double-promotion|float-conversion"):
        build(source.replace("0.5f", "0.5"), tmp_path / "program.so")
