"""Plans are refused where a number of theirs leads out of a buffer, and every program of theirs is one for a device."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from kernels.errors import RecordingFailed
from kernels.fused_source import UPDATE_SYMBOL
from kernels.layer_source import (
    ACTIVATE_SYMBOL,
    BACKPROPAGATE_SYMBOL,
    Elementwise,
    activate_source,
    backpropagate_source,
)
from kernels.operations import ACTIVATIONS
from kernels.step_plan import Buffer, Kernel, Node, Place, Product, StepPlan, product, row_major
from kernels.tail_source import SCORES_SYMBOL, TAIL_SYMBOL
from nets import plans
from nets.member import Member
from nets.plans import plan_of
from nets.step_shape import shape_of
from tests.kernels.cuda_support import ARCHITECTURES, compile_program, compile_ptx
from tests.kernels.recorder_support import HostProducts
from tests.nets.persistent_parts import case
from tests.nets.support import blobs, line

BUFFERS = (Buffer("a", "float64", 60), Buffer("b", "float64", 60), Buffer("d", "float64", 60))


def fitting() -> Product:
    """(2, 3) @ (3, 4) of two models, with room between rows and models."""
    return product(
        row_major("a", 5, 2, 3, 4, 11), row_major("b", 1, 3, 4, 5, 16), row_major("d", 3, 2, 4, 6, 15), 2, "float64"
    )


def plan(node: Node) -> StepPlan:
    return StepPlan(BUFFERS, ((node,),))


def test_a_product_is_that_of_the_rows_and_columns_it_names() -> None:
    rng = np.random.default_rng(0)
    flat = {one.name: rng.normal(size=one.size) for one in plan(fitting()).buffers}
    before = {name: array.copy() for name, array in flat.items()}
    node = fitting()
    assert node.sizes == (4, 2, 3)
    HostProducts().bind(node, *(flat[m.buffer][m.offset : m.end(2)] for m in (node.a, node.b, node.d)))()
    written = np.zeros(60, bool)
    for model in range(2):
        left = [[before["a"][5 + 11 * model + 4 * r + k] for k in range(3)] for r in range(2)]
        right = [[before["b"][1 + 16 * model + 5 * k + c] for c in range(4)] for k in range(3)]
        for r in range(2):
            for c in range(4):
                place = 3 + 15 * model + 6 * r + c
                assert flat["d"][place] == pytest.approx(sum(left[r][k] * right[k][c] for k in range(3)))
                written[place] = True
    assert np.array_equal(flat["d"][~written], before["d"][~written])


@pytest.mark.parametrize(
    ("which", "change", "said"),
    [
        ("a", {"offset": 50}, "is not within"),
        ("b", {"stride": 50}, "is not within"),
        ("d", {"leading": 3}, "is not within"),
        ("a", {"rows": 2}, "make no product"),
        ("d", {"columns": 3}, "make no product"),
        ("d", {"stride": 7}, "models overlap"),
    ],
)
def test_a_product_out_of_its_buffers_is_refused(which: str, change: dict[str, Any], said: str) -> None:
    plan(fitting())
    with pytest.raises(ValueError, match=said):
        plan(replace(fitting(), **{which: replace(getattr(fitting(), which), **change)}))


def test_a_kernel_out_of_its_buffers_is_refused() -> None:
    plan(Kernel("", "k", 1, 1, (Place("a", 50, 10), np.int32(3))))
    for place in (Place("a", 50, 11), Place("a", -1, 3), Place("a", 3, 0)):
        with pytest.raises(ValueError, match="not within"):
            plan(Kernel("", "k", 1, 1, (place,)))


def test_rows_of_inputs_begin_where_the_fastest_products_want_them() -> None:
    for precision, itemsize in (("float32", 4), ("bfloat16", 2)):
        shape = shape_of([case(precision, blobs(features=13), [7])])
        assert shape is not None
        first = next(node for node in plan_of(shape, 3, 4, (1,)).programs[0] if isinstance(node, Product))
        (inputs,) = (one for one in (first.a, first.b) if one.buffer == "inputs 0")
        assert inputs.rows == 14
        assert inputs.leading * itemsize % 16 == 0
        assert inputs.alignment(itemsize, 3) >= 16


WIDE = ("softmax", "svm", "huber")
SUMS_IN_REGISTERS = {SCORES_SYMBOL, TAIL_SYMBOL}
"""Programs with a sum for every score in each of 256 threads: 32 of them in float64 take most registers."""


def various() -> list[Member]:
    adam = {"name": "adam", "l2": 0.01}
    everything = {"net": {"dropout": 0.3}, "training": {"clip_norm": 1.0}, "optimizer": adam}
    return [
        case("float32", blobs(), [8, 6], "gelu", **everything),
        case("float64", blobs(), [8, 6], "tanh", **everything),
        case("bfloat16", blobs(), [8], "relu", loss="svm"),
        case("bfloat16", blobs(400, 8, 4), [6, 4], "gelu", **everything),
        case("tf32", line(60, 4), [5], "silu", loss="huber", training={"clip_norm": 1.0}),
        case("float64", line(60, 4), [], net={"bias": False, "activation": []}),
        case("float64", blobs(400, 6, 32), [5], "gelu"),
        case("bfloat16", blobs(400, 6, 32), [5], "gelu"),
        *(case(precision, blobs(400, 6, 70), [5], loss=loss) for loss in WIDE for precision in ("float32", "float64")),
    ]


def programs_of(member: Member) -> dict[str, str]:
    """Every different source of a plan, with its symbol."""
    shape = shape_of([member])
    assert shape is not None
    nodes = [node for program in plan_of(shape, 2, 20, (16, 1)).programs for node in program]
    return {node.source: node.symbol for node in nodes if isinstance(node, Kernel)}


def test_every_program_of_various_plans_compiles_for_devices_without_spilling() -> None:
    programs = {source: symbol for member in various() for source, symbol in programs_of(member).items()}
    assert len(programs) > 25
    for source, symbol in programs.items():
        for architecture in ARCHITECTURES:
            binary, used = compile_program(source, architecture)
            assert f".text.{symbol}\0".encode() in binary
            assert used.spilled == used.stack == used.static_shared == 0, (symbol, used)
            assert used.registers <= (168 if symbol in SUMS_IN_REGISTERS else 64), (symbol, used)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_compiles_in_steps(name: str) -> None:
    row = ACTIVATIONS[name]
    how = Elementwise("float", "bfloat16", masked=True, group=4)
    for source in (
        activate_source(row, row.defaults, how, biased=True),
        backpropagate_source(row, row.defaults, how),
    ):
        for architecture in ARCHITECTURES:
            _, used = compile_program(source, architecture)
            assert used.spilled == used.stack == 0
            assert used.registers <= 64


def test_groups_are_moved_by_one_access() -> None:
    row, how = ACTIVATIONS["gelu"], Elementwise("float", "bfloat16", masked=True, group=4)
    forward = compile_ptx(activate_source(row, row.defaults, how, biased=True), "90")
    assert forward.count("ld.global.v4.f32") == 2  # sums, masks
    assert forward.count("st.global.v4.f32") == 1  # sums with biases
    backward = compile_ptx(backpropagate_source(row, row.defaults, how), "90")
    assert backward.count("ld.global.v4.f32") == 3
    for text in (forward, backward):
        assert "st.global.v4.u16" in text


def test_a_model_of_more_numbers_than_programs_count_is_not_planned() -> None:
    for hidden in ([50_000, 50_000], [50_000, 50_000, 40]):
        shape = shape_of([case("float32", blobs(), hidden)])
        assert shape is not None
        assert shape.layout.count > 2**31
        with pytest.raises(RecordingFailed, match="layer by layer"):
            plan_of(shape, 1, 1, (1,))


def test_a_recording_holds_every_step_and_its_losses_once() -> None:
    shape = shape_of(various()[:1])
    assert shape is not None
    sixteen, one, ready = plan_of(shape, 2, 20, (16, 1)).programs
    closing = 2  # losses, cursor
    assert len(sixteen) - closing == 16 * (len(one) - closing)
    assert not ready
    products = [node for node in one if isinstance(node, Product)]
    assert [node.symbol for node in one if isinstance(node, Kernel)].count(SCORES_SYMBOL) == 1
    assert len(products) == 2 * 3 - 1  # the last layer has programs of our own
    pairs = list(pairwise(shape.layout.widths[:-1]))
    dense = 2 * sum((i + 1) * o for i, o in pairs) + sum(i * o for i, o in pairs[1:])
    assert sum(node.flops for node in products) == 2 * 2 * shape.batch * dense


@pytest.mark.parametrize("models", [1, 3])
def test_what_is_moved_in_groups_begins_where_groups_may(models: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device refuses an access of 16 bytes anywhere else, which a host allows."""
    monkeypatch.setattr(plans, "SPLIT_PARAMETERS", 1)
    checked = set()
    for member in various():
        shape = shape_of([member])
        assert shape is not None
        for node in plan_of(shape, models, 4, (1,)).programs[0]:
            if not isinstance(node, Kernel) or "GROUP = " not in node.source:
                continue
            group = int(node.source.split("GROUP = ")[1].split(";")[0])
            (signature,) = re.findall(rf"void {node.symbol}\(([^)]*)\)", node.source)
            names = [one.split()[-1] for one in signature.split(",")]
            given = dict(zip(names, node.arguments, strict=True))
            moved = set(re.findall(r"(?:grouped|put)\((\w+) \+", node.source.split("__global__")[1]))
            assert moved
            places = [given[name] for name in moved]
            assert all(isinstance(place, Place) and place.offset % group == 0 for place in places)
            if node.symbol == ACTIVATE_SYMBOL:  # where the numbers of a model end the ones begin, then the next model's
                assert given["size"] % group == given["stride"] % group == 0
            checked.add((node.symbol, group))
    assert {symbol for symbol, group in checked if group == 4} == {
        ACTIVATE_SYMBOL,
        BACKPROPAGATE_SYMBOL,
        UPDATE_SYMBOL,
    } - ({UPDATE_SYMBOL} if models > 1 else set())


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("models", [1, 2])
@pytest.mark.parametrize("hidden", [8, 6, 7])
def test_groups_of_an_update_begin_at_multiples_of_their_size_and_belong_to_one_model(
    hidden: int, models: int, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "SPLIT_PARAMETERS", 1)
    shape = shape_of([case(precision, blobs(features=6), [hidden])])
    assert shape is not None
    updates = [
        one for one in plan_of(shape, models, 4, (1,)).programs[0] if getattr(one, "symbol", "") == UPDATE_SYMBOL
    ]
    assert len(updates) == (2 if models == 1 else 1)
    for node in updates:
        assert isinstance(node, Kernel)
        group = int(node.source.split("GROUP = ")[1].split(";")[0])
        starts = [one.offset for one in node.arguments if isinstance(one, Place) and one.buffer in node.writes]
        assert starts
        assert not any(start % group for start in starts)
        assert models == 1 or shape.layout.count % group == 0
        if hidden == 8 and models == 1:
            assert group == 16 // shape.dtype.itemsize
