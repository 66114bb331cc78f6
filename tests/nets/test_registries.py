"""Whatever follows from the registries follows from all of their rows, and from a row that nobody has seen before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nets.capabilities import capabilities
from nets.reference import page
from nets.spec import TrainingSpec
from tests.nets.support import blobs, spec_for

ROOT = Path(__file__).parent.parent.parent
ALWAYS_SHOWN = ("activations", "losses", "optimizers", "schedules", "initializers", "features")


def test_the_reference_is_current() -> None:
    assert (ROOT / "docs" / "reference.md").read_text("utf-8") == page(), "run `make docs`"


@pytest.mark.parametrize("registry", ALWAYS_SHOWN)
def test_every_row_and_setting_is_in_capabilities_schema_and_reference(registry: str) -> None:
    text, schema = page(), json.dumps(TrainingSpec.model_json_schema(), ensure_ascii=False)
    for row in capabilities()[registry]:
        assert f"| `{row['name']}` |" in text
        assert row["doc"].replace("|", "\\|") in text
        assert json.dumps(row["doc"], ensure_ascii=False) in schema
        for parameter in row["parameters"]:
            assert f"| `{parameter['name']}` |" in text
            assert json.dumps(parameter["doc"], ensure_ascii=False) in schema


def test_every_default_that_a_spec_resolves_to_is_accepted_again() -> None:
    spec = spec_for(blobs())
    assert TrainingSpec.parse(spec.to_json()).to_json() == spec.to_json()


NEW_ROWS = """
from kernels.operations import ACTIVATIONS, Operation, Parameter
ACTIVATIONS["mish"] = Operation(
    "mish", "x * tanh(softplus(beta*x))",
    "tanh(softplus(beta*x)) + beta*x * sigmoid(beta*x) * (1 - tanh(softplus(beta*x)) * tanh(softplus(beta*x)))",
    "Self-gated.", "Misra 2019", (Parameter("beta", 1.0, 0.1, 5.0, "steepness"),))

import numpy as np
from nets.initializers import INITIALIZERS, Initializer
from nets.schedules import SCHEDULES, Schedule
SCHEDULES["root"] = Schedule("root", "1/sqrt(step + 1).", "Robbins & Monro 1951", lambda t, *_: 1 / np.sqrt(t + 1))
INITIALIZERS["lecun"] = Initializer("lecun", "N(0, 1/fan_in).", "LeCun 1998", lambda i, o, _: i ** -0.5)

import json
from kernels.cupy_backend import elementwise_kernel
from nets.capabilities import capabilities
from nets.gradient_check import gradient_check
from nets.reference import page
from nets.spec import TrainingSpec
from nets.weights import Predictor, pack
from tests.nets.support import blobs, member_for, run, spec_for

new = {"net": {"activation": {"name": "mish", "beta": 1.5}, "init": "lecun", "hidden": [8]}, "schedule": "root"}
member = member_for(blobs(), **new, training={"epochs": 30})
outcome = run(member).outcomes[0]
arrays = pack(outcome.parameters, member.data.preprocessing, member.spec, blobs().info, outcome.metrics)
Predictor.from_arrays(arrays).verify(arrays["golden_inputs"], arrays["golden_outputs"])
kernel = elementwise_kernel("mish", ACTIVATIONS["mish"].pullback_expression, np.dtype("float32"))
known = {row["name"] for rows in ("activations", "schedules", "initializers") for row in capabilities()[rows]}
schema = json.dumps(TrainingSpec.model_json_schema())
print(json.dumps({
    "accuracy": outcome.metrics["val_accuracy"],
    "gradient": gradient_check(spec_for(blobs(), **new), blobs()).ok,
    "shown": [n in known and f"| `{n}` |" in page() and f'"{n}"' in schema for n in ("mish", "root", "lecun")],
    "kernel": "in_beta" in kernel.operation and "tanhf" in kernel.operation,
}))
"""


def test_a_new_row_is_trained_checked_shown_compiled_and_exported_by_being_in_its_table() -> None:
    done = subprocess.run([sys.executable, "-c", NEW_ROWS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found.pop("accuracy") > 0.7
    assert found == {"gradient": True, "shown": [True] * 3, "kernel": True}
