"""Nodes of a plan that run side by side never touch what one of them writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pytest

from kernels.backend import Array, Compiler
from kernels.layer_source import BIAS_SYMBOL
from kernels.step_plan import Kernel, Node, Place, Product, Products, Touch, bind, product, row_major, touches, waits
from nets.member import Member, State
from nets.plans import GRADIENTS, plan_of
from nets.recorded_engine import RecordedEngine
from nets.step_shape import shape_of
from tests.kernels.recorder_support import RecordingBackend, predecessors
from tests.kernels.test_step_plan import various
from tests.nets.persistent_parts import train
from tests.nets.recorded_parts import engine_of
from tests.nets.support import assert_same_arrays
from tests.nets.test_persistent_engine import crowd


def numbers(touch: Touch) -> set[int]:
    """The places of everything that is touched."""
    return {touch.offset + model * touch.stride + k for model in range(touch.models) for k in range(touch.size)}


def clash(one: Node, other: Node) -> bool:
    """Whether one writes a number that the other touches, found number by number."""
    return any(
        (a.writes or b.writes) and a.buffer == b.buffer and bool(numbers(a) & numbers(b))
        for a in touches(one)
        for b in touches(other)
    )


def all_before(program: tuple[Node, ...]) -> list[set[int]]:
    """All nodes that are done before each node begins."""
    found: list[set[int]] = []
    for direct in predecessors(program):
        found.append(direct.union(*(found[k] for k in direct)))
    return found


@pytest.mark.parametrize("models", [1, 3])
def test_a_kernel_writes_the_parts_that_it_names_and_no_others(models: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is ordered follows from what nodes say that they write."""
    monkeypatch.setattr("tests.kernels.recorder_support.bind", bind_checked)
    monkeypatch.setattr("nets.plans.SPLIT_PARAMETERS", 1)
    nets = various()
    for member in (*nets[:4], nets[-2]):
        train(engine_of(*[member] * models), 2)


def bind_checked(
    program: Sequence[Node], buffers: Mapping[str, Array], compiler: Compiler, products: Products
) -> list[Callable[[], None]]:
    """As step_plan.bind; every launch is looked after."""
    calls = bind(program, buffers, compiler, products)
    return [partial(run_checked, node, call, buffers) for node, call in zip(program, calls, strict=True)]


def run_checked(node: Node, call: Callable[[], None], buffers: Mapping[str, Array]) -> None:
    before = {name: array.copy() for name, array in buffers.items()}
    call()
    for touch in touches(node):
        if touch.writes:
            before[touch.buffer][touch.offset : touch.end] = buffers[touch.buffer][touch.offset : touch.end]
    for name, array in buffers.items():
        assert before[name].tobytes() == array.tobytes(), (node, name)


@pytest.mark.parametrize("models", [1, 3])
def test_nodes_that_clash_are_ordered(models: int) -> None:
    for member in various():
        shape = shape_of([member])
        assert shape is not None
        program = plan_of(shape, models, 5, (3,)).programs[0]
        before = all_before(program)
        for k, node in enumerate(program):
            for j in range(k):
                assert j in before[k] or not clash(program[j], node), (program[j], node)


def test_biases_that_stay_out_of_products_are_summed_beside_the_first_layer_s_product() -> None:
    shape = shape_of([various()[3]])
    assert shape is not None
    assert shape.bias_apart
    program = plan_of(shape, 1, 5, (3,)).programs[0]
    before = all_before(program)
    sums = [k for k, node in enumerate(program) if isinstance(node, Kernel) and node.symbol == BIAS_SYMBOL]
    assert len(sums) == 3
    (gradient,) = (
        k
        for k, node in enumerate(program[: sums[1]])
        if isinstance(node, Product) and node.d.buffer == "gradient" and node.d.offset == 0
    )
    assert isinstance(program[gradient], Product)
    assert sums[0] not in before[gradient]
    assert gradient not in before[sums[0]]


def test_batches_and_gradients_run_beside_the_chain() -> None:
    """Otherwise the branches would be for nothing."""
    shape = shape_of(various()[:1])
    assert shape is not None
    program = plan_of(shape, 1, 5, (3,)).programs[0]
    before = all_before(program)
    loads = [k for k, node in enumerate(program) if isinstance(node, Kernel) and node.symbol == "load_step"]
    scores = [k for k, node in enumerate(program) if isinstance(node, Kernel) and node.symbol == "scores_step"]
    assert scores[0] not in before[loads[1]]
    assert scores[0] in before[loads[2]]
    gradient = next(k for k, node in enumerate(program) if isinstance(node, Product) and node.branch == GRADIENTS)
    beside = [
        k for k in range(len(program)) if k not in before[gradient] and gradient not in before[k] and k != gradient
    ]
    assert any(isinstance(program[k], Product) for k in beside)


@pytest.mark.parametrize("seed", range(3))
def test_any_order_that_a_device_may_choose_gives_the_same_bits(seed: int) -> None:
    for members in ([various()[0]], [various()[2]], [various()[3]], crowd("adam")[:3]):
        engines = []
        for backend in (RecordingBackend(), RecordingBackend(turn=np.random.default_rng(seed))):
            shape = shape_of(members)
            assert shape is not None
            assert backend.recorder is not None
            engines.append(RecordedEngine(members, backend, backend.recorder, shape))
        first, second = (train(engine, 20) for engine in engines)
        assert np.array_equal(first, second)
        for position in range(len(members)):
            assert_same_arrays(engines[0].state(position), engines[1].state(position))


def test_layers_above_the_first_are_updated_while_its_gradient_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [various()[2], various()[0]]
    plain = [trained(member, RecordingBackend()) for member in members]
    monkeypatch.setattr("nets.plans.SPLIT_PARAMETERS", 1)
    for member, expected in zip(members, plain, strict=True):
        shape = shape_of([member])
        assert shape is not None
        program = plan_of(shape, 1, 5, (3,)).programs[0]
        updates = [k for k, node in enumerate(program) if isinstance(node, Kernel) and node.symbol == "update_step"]
        assert len(updates) == (3 if shape.clips else 6)
        for node in (program[k] for k in updates):
            assert isinstance(node, Kernel)
            group = int(re.findall(r"int GROUP = (\d+);", node.source)[0])
            moved = [
                one for one in node.arguments if isinstance(one, Place) and one.buffer in {*node.writes, "gradient"}
            ]
            assert all(one.offset % group == 0 for one in moved), "a device reads whole groups at multiples of them"
        if not shape.clips:
            before = all_before(program)
            (first,) = (k for k in range(updates[0], updates[1]) if isinstance(program[k], Product))
            assert updates[0] not in before[first]
            assert updates[0] in before[updates[2]]
        got = trained(member, RecordingBackend(turn=np.random.default_rng(1)))
        assert np.array_equal(got[0], expected[0])
        assert_same_arrays(got[1], expected[1])


def trained(member: Member, backend: RecordingBackend) -> tuple[np.ndarray, State]:
    shape = shape_of([member])
    assert shape is not None
    assert backend.recorder is not None
    engine = RecordedEngine([member], backend, backend.recorder, shape)
    return train(engine, 9), engine.state(0)


def test_what_one_writes_and_the_other_needs_is_waited_for() -> None:
    make = Kernel("", "a", 1, 1, (Place("x", 0, 10), Place("y", 0, 5)), writes=frozenset({"y"}))
    use = product(
        row_major("y", 2, 1, 1, 1, 1), row_major("z", 0, 1, 1, 1, 1), row_major("d", 0, 1, 1, 1, 1), 1, "float32", 1
    )
    beside = Kernel("", "b", 1, 1, (Place("x", 3, 4), Place("y", 5, 2)), writes=frozenset({"y"}), branch=2)
    again = Kernel("", "a", 1, 1, (Place("y", 0, 3),), writes=frozenset({"y"}))
    assert waits([make, use, beside, again]) == [[], [0], [], [1]]


def test_models_parts_between_those_of_other_models_do_not_meet() -> None:
    even, odd = Touch("x", 0, 3, 10, 4, True), Touch("x", 3, 7, 10, 4, False)
    assert not even.meets(odd)
    assert even.meets(Touch("x", 2, 3, 10, 4, False))
    assert even.meets(Touch("x", 0, 40, 0, 1, False))
    assert not even.covers(odd)
    assert Touch("x", 0, 40, 0, 1, True).covers(even)
