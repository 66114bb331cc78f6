"""Orders drawn by the device's program, its exact source run on the host, are those that every engine uses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernels import order_source
from nets.batches import Pool, RowOrder
from nets.device_orders import DeviceOrders
from nets.device_rates import DeviceRates
from nets.member import Member
from nets.optimizers import OPTIMIZERS
from tests.kernels.block_support import BlockBackend, HostCompiler
from tests.kernels.cuda_support import ARCHITECTURES, compile_program
from tests.nets.persistent_parts import case
from tests.nets.support import blobs


def crowd() -> list[Member]:
    """Models with different numbers of rows; the third's batch is all of its rows, the fourth is not shuffled."""
    members = [
        case("float32", blobs(rows, seed=rows), [3], training={"seed": seed, "batch_size": 16, "epochs": 400})
        for seed, rows in ((2**53 - 1, 130), (7, 64), (3, 18), (5, 40))
    ]
    training = members[3].spec.training.model_copy(update={"shuffle": False})
    members[3] = replace(members[3], spec=members[3].spec.model_copy(update={"training": training}))
    return members


@pytest.mark.parametrize("order", [0, 1, 2])
def test_drawn_orders_are_those_of_the_host(order: int) -> None:
    members, backend = crowd(), BlockBackend(HostCompiler(order))
    pool = Pool.of(members, "train", backend)
    drawn, n_steps = DeviceOrders(members, pool, backend), 23
    assert drawn.drawn
    steps = np.array([3, 2**20 + 1, 5, 0])
    batches = drawn.next(steps, n_steps)
    for place, (member, offset, count) in enumerate(zip(members, pool.offsets, pool.counts, strict=True)):
        training = member.spec.training
        expected = RowOrder(training.seed, count, 16, offset, training.shuffle, None)
        per_epoch = expected.steps_per_epoch
        assert (drawn.per_epoch[place], drawn.last[place]) == (per_epoch, expected.epoch(0).valid[-1])
        for k in range(n_steps):
            epoch, at = divmod(int(steps[place]) + k, per_epoch)
            got = batches.rows[place, batches.first[place] + k]
            np.testing.assert_array_equal(got, expected.epoch(epoch).rows[at])


def test_large_orders_and_weighted_rows_come_from_the_host() -> None:
    backend = BlockBackend()
    weighted = case("float32", blobs(90), [3], training={"class_weight": "balanced", "batch_size": 16})
    plain = case("float32", blobs(90), [3], training={"batch_size": 16})
    for members in ([weighted, plain], [plain]):
        if members == [plain]:
            backend = BlockBackend(HostCompiler(shared_bytes=order_source.shared_bytes(order_source.MAX_ROWS) - 1))
        pool = Pool.of(members, "train", backend)
        orders = DeviceOrders(members, pool, backend)
        assert not orders.drawn
        batches = orders.next(np.array([7] * len(members)), 3)
        for place, member in enumerate(members):
            order = RowOrder(5, pool.counts[place], 16, pool.offsets[place], True, member.data.row_weight)
            epoch, at = divmod(7, order.steps_per_epoch)
            np.testing.assert_array_equal(batches.rows[place], order.epoch(epoch).rows[at : at + 3])
            if batches.weight is not None:
                np.testing.assert_array_equal(batches.weight[place], order.epoch(epoch).weight[at : at + 3])
        assert (batches.weight is None) == (members == [plain])


@pytest.mark.parametrize("rows", [2, 9, 600, order_source.MAX_ROWS])
def test_a_block_has_room_for_the_next_power_of_two_keys(rows: int) -> None:
    room, threads = order_source.shared_bytes(rows) // 8, order_source.threads(rows)
    assert rows <= room < 2 * rows
    assert threads % 32 == 0
    assert threads <= order_source.MAX_THREADS


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_program_compiles_without_spills(architecture: str) -> None:
    binary, used = compile_program(order_source.SOURCE, architecture)
    assert f".text.{order_source.SYMBOL}\0".encode() in binary
    assert used.spilled == used.stack == 0


def test_rates_on_the_device_are_those_of_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nets.device_rates.MAX_SPAN", 10)
    schedules = ("cosine", {"name": "linear", "warmup_steps": 5}, "constant")
    members = [
        case("float64", blobs(), [3], schedule=schedule, training={"epochs": 2 + k})
        for k, schedule in enumerate(schedules)
    ]
    optimizer, backend = OPTIMIZERS["sgd"], BlockBackend()
    rates, steps = DeviceRates(members, optimizer, backend), np.array([0, 3, 8])
    for n_steps, keep in ((4, None), (6, None), (3, [2, 0]), (5, None)):
        numbers, begun = rates.at(steps, n_steps)
        for place, (member, step, begin) in enumerate(zip(members, steps, begun, strict=True)):
            own = {id(one): k for k, one in enumerate(rates._members)}[id(member)]
            assert own == place
            expected = optimizer.rates_at(
                member.learning_rates(int(step), n_steps), np.arange(n_steps) + step, member.spec.optimizer.options
            ).T
            got = numbers[rates._places[place], begin : begin + n_steps]
            left = max(0, member.total_steps - int(step))
            np.testing.assert_array_equal(got[:left], expected[:left])
        steps = steps + n_steps
        if keep:
            members, steps = [members[k] for k in keep], steps[keep]
            rates.keep(keep)
