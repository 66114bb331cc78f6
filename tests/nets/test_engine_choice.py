"""Which engine a device gets: the cheapest by predicted costs that it can run; the record says which, and why."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kernels.errors import RecordingFailed
from kernels.step_plan import Product, StepPlan
from kernels.step_source import ADVANCE_SYMBOL, TALLY_SYMBOL
from kernels.tail_source import MAX_OUTPUTS, SCORES_SYMBOL, TAIL_SYMBOL
from nets.engines import COMPILED_VARIABLE, engine_for, lanes_for
from nets.gpu_costs import nodes_of, persistent_s, recorded_s
from nets.parameters import Layout
from nets.plans import plan_of
from nets.step_shape import shape_of
from nets.trainer import Ending, fit
from tests.kernels.block_support import BlockBackend
from tests.kernels.recorder_support import RecordingBackend
from tests.nets.persistent_parts import case
from tests.nets.support import Recorder, blobs

TINY = {"hidden": [8]}
WORKLOADS = {
    "W1": (Layout((2, 16, 16, 3)), 32, "persistent"),
    "W3": (Layout((64, 128, 10)), 64, "persistent"),
    "W3 in large batches": (Layout((64, 128, 10)), 512, "recorded"),
    "W4": (Layout((784, 256, 128, 10)), 128, "recorded"),
    "W5": (Layout((3072, 1024, 1024, 10)), 256, "recorded"),
}


class Refusing(RecordingBackend):
    """A device that records nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.recorder = self  # type: ignore[assignment,misc]

    def load(self, plan: StepPlan) -> None:
        raise RecordingFailed(f"nothing of {len(plan.buffers)} buffers")


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_cost_rule_prefers_one_block_for_small_nets_and_the_whole_device_for_large_ones(name):
    layout, batch, expected = WORKLOADS[name]
    costs = {"persistent": persistent_s(layout, batch), "recorded": recorded_s(layout, batch)}
    assert min(costs, key=lambda one: costs[one]) == expected


@pytest.mark.parametrize("hidden", [[], [6], [6, 7, 5]], ids=len)
@pytest.mark.parametrize("classes", [3, MAX_OUTPUTS, MAX_OUTPUTS + 1])
def test_the_cost_rule_counts_the_nodes_of_a_step(hidden, classes):
    shape = shape_of([case("float32", blobs(4 * classes, 5, classes), hidden)])
    program, _ready = plan_of(shape, 1, 1, (1,)).programs
    step = [node for node in program if getattr(node, "symbol", "") not in {TALLY_SYMBOL, ADVANCE_SYMBOL}]
    multiplying = [node for node in step if isinstance(node, Product) or node.symbol in {SCORES_SYMBOL, TAIL_SYMBOL}]
    assert nodes_of(shape.layout) == (len(step) - len(multiplying), len(multiplying))


def test_costs_are_those_that_were_measured():
    """Microseconds: W1 3.2, W3 13.9 in one block; W4 113, W5 223 in recorded steps, before these became shorter."""
    assert 3e-6 < persistent_s(*WORKLOADS["W1"][:2]) < 3.5e-6
    assert 13e-6 < persistent_s(*WORKLOADS["W3"][:2]) < 15e-6
    assert 20e-6 < recorded_s(*WORKLOADS["W4"][:2]) < 75e-6
    assert 100e-6 < recorded_s(*WORKLOADS["W5"][:2]) < 300e-6


def test_an_engine_is_the_cheapest_that_the_device_can_run():
    small = case("float32", blobs(), **TINY)
    large = case("float32", blobs(900, 64), [128], training={"batch_size": 512})
    dropout = case("float32", blobs(), [8], net={"dropout": 0.5})
    normalised = case("float32", blobs(), [8], net={"batch_norm": True})
    chosen = [engine_for([one], RecordingBackend()).name for one in (small, large, dropout, normalised)]
    assert chosen == ["persistent", "recorded", "recorded", "layered"]
    without = [engine_for([one], BlockBackend()).name for one in (small, dropout)]
    assert without == ["persistent", "layered"]
    assert lanes_for(small, RecordingBackend()) > lanes_for(dropout, RecordingBackend()) > 1


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_rounded_products_are_recorded_even_where_one_block_would_do(precision):
    member = case(precision, blobs(), **TINY)
    engine = engine_for([member], RecordingBackend())
    assert (engine.name, engine.details["products"]) == ("recorded", precision)
    refused = engine_for([member], Refusing())
    assert (refused.name, refused.details["products"]) == ("layered", "float32")


def test_a_device_that_cannot_record_trains_in_another_way_and_says_why():
    member = case("float32", blobs(), [8], net={"dropout": 0.5}, training={"epochs": 2})
    recorder = Recorder()
    fit([member], Refusing(), recorder, recorder)
    assert recorder.outcomes[0].kind is Ending.COMPLETED
    assert recorder.info[0]["engine"] == "layered"
    assert recorder.info[0]["not_recorded"].startswith("nothing of ")


def test_what_compiles_nothing_does_not_load_the_compiler():
    code = "import sys, nets.warm; nets.warm.warm(); print('numba' in sys.modules)"
    environment = {**os.environ, COMPILED_VARIABLE: "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
