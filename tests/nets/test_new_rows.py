"""An optimizer and losses that nobody has seen before train on every engine by being in their tables alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

ROWS = """
from nets.options import Option, number
from nets.optimizers import OPTIMIZERS, Optimizer
OPTIMIZERS["bounded"] = Optimizer(
    "bounded", "Steps whose size the hyperbolic tangent bounds.", "made up",
    (Option("learning_rate", 0.01, "Step size.", 0.0, 1.0), Option("memory", 0.9, "Of the mean.", 0.0, 1.0),
     Option("sharpness", 30.0, "Of the bound.", 0.0, 1e3), Option("ahead", False, "Looks ahead."),
     Option("l2", 1e-4, "Penalty.", 0.0, 1.0)),
    ("mean", "largest", "last"),
    (("gradient", "gradient + decay * parameter"),
     ("last", "where(ahead > 0, mean, gradient) - last"),
     ("mean", "memory * mean + rest * gradient"),
     ("largest", "maximum(abs(gradient), 0.99 * largest)"),
     ("parameter", "parameter - rate * tanh(sharpness * mean) * sqrt(largest / (largest + 0.01)) + 0.001 * last")),
    hyper={"memory": lambda o: number(o, "memory"), "rest": lambda o: 1 - number(o, "memory"),
           "sharpness": lambda o: number(o, "sharpness")})
OPTIMIZERS["restless"] = Optimizer(
    "restless", "Moves what has no gradient.", "made up",
    (Option("learning_rate", 0.01, "Step size.", 0.0, 1.0), Option("l2", 1e-4, "Penalty.", 0.0, 1.0)),
    (), (("gradient", "gradient + decay * parameter"), ("parameter", "parameter - rate * (gradient + 0.01)")))

from kernels.pointwise import Pointwise
from nets.losses import LOSSES, Loss, over_values
LOSSES["log_cosh"] = over_values(
    "log_cosh", "width ln cosh((score - target)/width).", "made up",
    Pointwise("width * (softplus(2/width * (score - target)) - (score - target)/width - 0.6931471805599453)",
              parameters=("width",)),
    options=(Option("width", 1.0, "Where it turns linear.", 0.0, 10.0, low_open=True),))

import numpy as np
from nets.tape import call
def bind(backend, at, options):
    xp, scores, labels, loss, tape = backend.xp, at.scores, at.targets[..., 0], at.records[0], []
    best, own, classes = xp.empty_like(scores[:, :1]), xp.empty_like(loss), xp.arange(scores.shape[1])[:, None]
    def slope():
        own_class = labels // scores.shape[2] % scores.shape[1]
        leads = (scores == best).astype(scores.dtype) - (classes == own_class[:, None, :])
        xp.multiply(leads, at.weights[:, None, :], out=scores)
    call(tape, scores.max, axis=1, out=best, keepdims=True)
    call(tape, backend.take_rows, scores.reshape(-1, 1), labels, own[..., None])
    call(tape, xp.subtract, best[:, 0], own, out=loss)
    return [*tape, slope]
LOSSES["perceptron"] = Loss("perceptron", "The largest score's lead over the right one.", "made up",
                            ("classification",), "class", 1, bind, lambda records: np.asarray(records[0]))
"""

TRAINING = """
import json
from nets import engines
from nets.capabilities import capabilities
from nets.compiled_engine import compiles
from nets.engine import LayeredEngine
from nets.gradient_check import gradient_check
from nets.persistent_engine import PersistentEngine
from nets.reference import page
from nets.spec import TrainingSpec
from tests.kernels.block_support import BlockBackend
from tests.nets.support import BACKEND, blobs, line, member_for, run, spec_for

def trained(member, backend, steps=23):
    engine, done = engines.engine_for([member], backend), 0
    while done < steps:
        chunk = min(steps - done, engine.max_chunk())
        engine.advance(chunk)
        done += chunk
    return engine, engine.drain(), engine.state(0)

def differ(left, right):
    return max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)) for a, b in zip(left, right, strict=True))

def compared(table, engines_wanted, **spec):
    member = member_for(table, training={"precision": "float64", "batch_size": 32}, **spec)
    layered = LayeredEngine([member], BACKEND)
    for _ in range(23):
        layered.advance(1)
    expected = layered.drain(), layered.state(0)
    errors = []
    for backend, name in zip((BACKEND, BlockBackend()), engines_wanted):
        engine, sums, state = trained(member, backend)
        assert engine.name == name, (engine.name, name)
        assert state.keys() == expected[1].keys()
        errors.append(differ([sums, *(state[k] for k in state)], [expected[0], *(expected[1][k] for k in state)]))
    return errors

net = {"hidden": [7], "activation": "tanh"}
fast = ("compiled", "persistent")
found = {"shown": []}
found["bounded"] = compared(blobs(), fast, net=net, optimizer={"name": "bounded", "l2": 0.01})
found["switched"] = compared(blobs(), fast, net=net, optimizer={"name": "bounded", "ahead": True, "memory": 0.0})
found["log_cosh"] = compared(line(), fast, net=net, loss={"name": "log_cosh", "width": 0.5})
found["one-hot"] = compared(blobs(), fast, net=net, loss="log_cosh", optimizer="bounded")
found["restless"] = compared(blobs(), ("layered",), net=net, optimizer="restless")
found["perceptron"] = compared(blobs(), ("layered", "layered"), net=net, loss="perceptron", optimizer="bounded")
found["gradients"] = [gradient_check(spec_for(table, net=net, loss=loss), table).ok
                      for table, loss in ((line(), "log_cosh"), (blobs(), "log_cosh"), (blobs(), "perceptron"))]
outcome = run(member_for(blobs(), net=net, loss="perceptron", optimizer="bounded", training={"epochs": 20})).outcomes[0]
found["accuracy"] = outcome.metrics["val_accuracy"]
known = {row["name"] for rows in ("optimizers", "losses") for row in capabilities()[rows]}
schema = json.dumps(TrainingSpec.model_json_schema())
names = ("bounded", "log_cosh", "perceptron")
found["shown"] = [n in known and f"| `{n}` |" in page() and f'"{n}"' in schema for n in names]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, list[float]]:
    done = subprocess.run(
        [sys.executable, "-c", ROWS + TRAINING], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, list[float]] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("case", ["bounded", "switched", "log_cosh", "one-hot"])
def test_a_new_optimizer_or_loss_over_values_trains_equally_on_every_engine(found, case):
    assert len(found[case]) == 2
    assert max(found[case]) < 1e-12


def test_an_update_that_moves_zeros_is_left_to_the_engine_without_padding(found):
    assert found["restless"] == [0.0]


def test_a_new_loss_over_classes_is_trained_layer_by_layer_wherever_there_is_no_faster_form(found):
    assert len(found["perceptron"]) == 2
    assert max(found["perceptron"]) < 1e-12
    assert found["accuracy"] > 0.7


def test_new_rows_have_their_gradients_checked_and_are_shown(found):
    assert found["gradients"] == [True] * 3
    assert found["shown"] == [True] * 3
