"""The persistent kernel without a GPU: it compiles for the device within its resources, and its plan is sound."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.fused_source import LossProgram
from kernels.operations import ACTIVATIONS
from kernels.persistent import MAX_LAYERS, SHARED_BYTES, PersistentPlan, fits
from kernels.persistent_source import SYMBOL, Rules, source
from kernels.updates import UpdateRule
from nets.fused import program_of
from nets.losses import LOSSES
from nets.optimizers import OPTIMIZERS
from tests.kernels.cuda_support import ARCHITECTURES, compile_program, compile_ptx

REGISTERS_OF_A_MULTIPROCESSOR = 65536


class Shape(NamedTuple):
    widths: tuple[int, ...]
    bias: bool = True


class Case(NamedTuple):
    """A net, and what it took when it was written: (registers, shared bytes) on sm_80 and sm_90."""

    shape: Shape
    batch: int
    activation: str
    loss: str
    rule: str
    dtype: str
    limits: tuple[tuple[int, int], tuple[int, int]]


CASES = {
    "W1": Case(Shape((2, 16, 16, 3)), 32, "tanh", "softmax", "sgd", "float32", ((112, 16_032), (112, 16_032))),
    "W3": Case(Shape((64, 128, 10)), 64, "relu", "softmax", "sgd", "float32", ((128, 147_008), (128, 187_520))),
    "W3 Adam": Case(Shape((64, 128, 10)), 64, "relu", "softmax", "adam", "float32", ((160, 147_008), (136, 228_032))),
    "linear": Case(Shape((13, 1), False), 16, "relu", "squared_error", "sgd", "float64", ((88, 4_640), (96, 4_640))),
    "svm": Case(Shape((30, 50, 40, 7)), 50, "gelu", "svm", "sgd_nesterov", "float32", ((136, 90_784), (152, 90_784))),
}


def rule_of(case: Case) -> UpdateRule:
    name, _, nesterov = case.rule.partition("_")
    row = OPTIMIZERS[name]
    return row.rule.given(dict.fromkeys(row.switches, float(bool(nesterov))))


def loss_of(case: Case) -> LossProgram:
    row = LOSSES[case.loss]
    program = program_of(row, {option.name: option.default for option in row.options})
    assert program is not None
    return program


def plan_of(case: Case, architecture: str) -> PersistentPlan:
    n_targets = 1 if loss_of(case).by_class else case.shape.widths[-1]
    plan = fits(
        case.shape,
        case.batch,
        np.dtype(case.dtype),
        n_slots=len(rule_of(case).slots),
        n_targets=n_targets,
        shared_bytes=SHARED_BYTES[architecture],
    )
    assert plan is not None
    return plan


def program(case: Case, architecture: str = "90", *, row_weights: bool = False) -> str:
    row = ACTIVATIONS[case.activation]
    activations = [(row, row.defaults)] * (len(case.shape.widths) - 2)
    rules = Rules(activations, loss_of(case), True, rule_of(case), row_weights)
    return source(plan_of(case, architecture), rules)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", CASES)
def test_the_kernel_compiles_within_its_resources(name: str, architecture: str) -> None:
    case, plan = CASES[name], plan_of(CASES[name], architecture)
    binary, used = compile_program(program(case, architecture), architecture)
    registers, shared = case.limits[ARCHITECTURES.index(architecture)]
    assert f".text.{SYMBOL}\0".encode() in binary
    assert used.spilled == used.stack == used.static_shared == 0, used
    assert used.barriers == 1
    assert used.registers <= registers
    assert plan.shared_bytes == shared <= SHARED_BYTES[architecture]
    assert plan.threads * (-(-used.registers // 8) * 8) <= REGISTERS_OF_A_MULTIPROCESSOR


def test_the_report_of_resources_sees_spilled_registers() -> None:
    """A kernel that may not have the registers it needs: what the test above must never see."""
    starved = program(CASES["W3"]).replace("__launch_bounds__(THREADS, 1)", "__launch_bounds__(THREADS, 4)")
    _, used = compile_program(starved, "90")
    assert used.spilled > 0
    assert used.stack > 0


@pytest.mark.parametrize("loss", LOSSES)
def test_a_float_program_computes_nothing_in_double_but_the_sum_of_losses(loss: str) -> None:
    case = CASES["W1"]._replace(loss=loss, activation="gelu_erf", rule="adam", shape=Shape((2, 4, 2)))
    found = re.findall(r"^\s*(?:@\S+ )?([a-z]+)\S*\.f64\S* ", compile_ptx(program(case, row_weights=True), "90"), re.M)
    kinds = Counter(found)
    assert set(kinds) - {"mov"} == {"add", "cvt", "st"}
    assert kinds["add"] == kinds["cvt"]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_compiles_in_the_kernel(name: str) -> None:
    binary, used = compile_program(program(CASES["W1"]._replace(activation=name, shape=Shape((3, 4, 2)))), "90")
    assert binary.startswith(b"\x7fELF")
    assert used.spilled == 0


def regions(plan: PersistentPlan) -> list[tuple[int, int]]:
    """(start, stop) in numbers of everything that a block keeps beside targets and rows."""
    found = [(layer.weights, layer.weights + layer.rows * layer.weights_stride) for layer in plan.layers]
    found += [(plan.inputs_at + k * plan.inputs, plan.inputs_at + (k + 1) * plan.inputs) for k in range(2)]
    found += [(layer.delta, layer.delta + plan.batch * layer.delta_stride) for layer in plan.layers]
    hidden = [layer for layer in plan.layers if layer.above is not None]
    return found + [(layer.above, layer.above + plan.batch * layer.above_stride) for layer in hidden if layer.above]


shapes = st.builds(Shape, st.lists(st.integers(1, 90), min_size=2, max_size=7).map(tuple), st.booleans())


@settings(max_examples=200)
@given(shapes, st.integers(1, 200), st.sampled_from(["float32", "float64"]), st.integers(0, 2), st.integers(1, 9))
def test_places_never_overlap_and_end_within_the_shared_memory(
    shape: Shape, batch: int, dtype: str, n_slots: int, n_targets: int
) -> None:
    size = np.dtype(dtype).itemsize
    plan = fits(shape, batch, np.dtype(dtype), n_slots=n_slots, n_targets=n_targets, shared_bytes=1 << 30)
    assert plan is not None
    places = sorted(regions(plan))
    assert all(stop <= start for (_, stop), (start, _) in pairwise(places))
    assert places[-1][1] <= plan.targets_at
    assert plan.inputs_at >= plan.weights * (1 + n_slots)
    assert plan.shared_bytes >= plan.targets_at * size + 2 * batch * n_targets * size + 2 * batch * 4
    assert plan.parameters == sum((i + shape.bias) * o for i, o in pairwise(shape.widths))
    assert plan.threads % 32 == 0
    assert 32 <= plan.threads <= 512
    for below, layer in pairwise(plan.layers):
        assert (layer.below, layer.below_stride, layer.below_delta) == (below.above, below.above_stride, below.delta)
        assert layer.flat == below.flat + below.rows * below.outputs


def test_a_net_fits_to_the_byte_and_gives_up_its_slots_first() -> None:
    shape = Shape((64, 128, 10))
    needed = {n: fits(shape, 64, np.dtype("float32"), n_slots=n, shared_bytes=1 << 30) for n in (0, 2)}
    with_slots, without = needed[2], needed[0]
    assert with_slots is not None
    assert without is not None
    assert fits(shape, 64, np.dtype("float32"), n_slots=2, shared_bytes=with_slots.shared_bytes) == with_slots
    assert fits(shape, 64, np.dtype("float32"), n_slots=2, shared_bytes=with_slots.shared_bytes - 1) == without
    assert fits(shape, 64, np.dtype("float32"), n_slots=2, shared_bytes=without.shared_bytes - 1) is None


def test_nets_that_are_too_large_or_too_deep_do_not_fit() -> None:
    assert fits(Shape((784, 256, 128, 10)), 128, np.dtype("float32")) is None
    assert fits(Shape((2,) * (MAX_LAYERS + 2)), 1, np.dtype("float32")) is None
    assert fits(Shape((2,) * (MAX_LAYERS + 1)), 1, np.dtype("float32")) is not None
