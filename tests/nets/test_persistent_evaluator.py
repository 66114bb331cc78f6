"""The measuring kernel, its exact source run on the host, finds what the evaluator finds layer by layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernels.persistent_source import MEASURE_SYMBOL, measure_source
from nets.batches import Pool
from nets.engines import evaluator_for
from nets.evaluate import Evaluator, LayeredEvaluator
from nets.member import Member
from nets.persistent_evaluator import PersistentEvaluator
from nets.persistent_program import program_for
from tests.kernels.block_support import BlockBackend, HostCompiler
from tests.kernels.cuda_support import ARCHITECTURES, compile_program
from tests.nets.persistent_parts import case
from tests.nets.support import BACKEND, blobs, line
from tests.nets.test_persistent_engine import LOSS_CASES, crowd, trained


def both(members: list[Member], part: str, order: int = 0) -> tuple[Evaluator, Evaluator]:
    device = BlockBackend(HostCompiler(order))
    kernel = evaluator_for(members, device, part, Pool.of(members, part, device))
    assert isinstance(kernel, PersistentEvaluator)
    return kernel, LayeredEvaluator(members, BACKEND, part, Pool.of(members, part, BACKEND))


def assert_same_figures(members: list[Member], part: str, gate: float, order: int = 0) -> None:
    kernel, layers = both(members, part, order)
    rng, models = np.random.default_rng(0), [*range(len(members)), 0]
    parameters = np.stack([members[k].initial_parameters() for k in models])
    parameters += rng.normal(size=parameters.shape).astype(parameters.dtype)
    got, expected = kernel.measure(parameters, models), layers.measure(parameters, models)
    for one, other in zip(got, expected, strict=True):
        assert abs(one.loss - other.loss) <= gate * abs(other.loss)
        assert abs(one.score - other.score) <= gate * max(1.0, abs(other.score))


@pytest.mark.parametrize("name", LOSS_CASES)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_every_loss_and_score_of_classes(name: str, precision: str) -> None:
    loss, optimizer = LOSS_CASES[name]
    table = blobs(300, classes=2 if name == "binary_cross_entropy" else 4)
    member = case(precision, table, [10, 6], "silu", loss=loss, optimizer=optimizer)
    assert_same_figures([member], "val", 1e-5 if precision == "float32" else 1e-12)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_values_and_their_spread(order: int) -> None:
    member = case("float64", line(400, 4), [6], "gelu", loss="huber", training={"validation_fraction": 0.4})
    assert_same_figures([member], "val", 1e-12, order)
    assert_same_figures([member], "train", 1e-12, order)


def test_models_with_rows_of_their_own() -> None:
    assert_same_figures(crowd(), "val", 1e-5)
    assert_same_figures(crowd(), "train", 1e-5)


def test_a_model_s_figures_do_not_depend_on_its_neighbours() -> None:
    members = crowd()
    kernel, _ = both(members, "val")
    parameters = np.stack([member.initial_parameters() for member in members])
    together = kernel.measure(parameters, range(5))
    for k in range(5):
        assert kernel.measure(parameters[k : k + 1], [k]) == [together[k]]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_kernel_compiles_without_spills(architecture: str) -> None:
    member = case("float32", blobs(500, 64, 10), [128], "relu", training={"batch_size": 64})
    program = program_for(member, BlockBackend())
    assert program is not None
    binary, used = compile_program(measure_source(program.plan, program.rules(member), "CODE"), architecture)
    assert f".text.{MEASURE_SYMBOL}\0".encode() in binary
    assert used.spilled == used.stack == used.static_shared == 0


def test_points_inside_a_chunk_have_the_figures_of_points_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks that pass many metric points, and chunks that end at every one of them."""
    members = crowd(count=2)
    long: Any = trained(*members)
    monkeypatch.setattr("nets.persistent_engine.MAX_CHUNK_STEPS", 1)
    short = trained(*members)
    for k in range(2):
        assert [{**point, "samples_per_s": 0} for point in long.curve(k)] == [
            {**point, "samples_per_s": 0} for point in short.curve(k)
        ]
        assert long.curve(k)[0]["val_loss"] is not None
