"""A user's own activation from the spec to the weights file, and refusals at the field."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from kernels.errors import InvalidInput
from nets.capabilities import capabilities
from nets.gradient_check import gradient_check
from nets.resolve import stack_key
from nets.spec import ResolvedSpec, TrainingSpec
from nets.weight_formats import EXPORTERS
from nets.weights import Predictor, pack
from tests.nets.support import assert_same_arrays, blobs, member_for, run, spec_for

SWISH = {"name": "custom", "expression": "x * sigmoid(beta*x)", "beta": 1.5}


def test_a_formula_trains_as_the_row_that_it_repeats():
    plain = {"optimizer": {"name": "sgd"}, "training": {"epochs": 4, "precision": "float64"}}
    ours = run(member_for(blobs(), net={"activation": {"name": "custom", "expression": "x * sigmoid(x)"}}, **plain))
    row = run(member_for(blobs(), net={"activation": "silu"}, **plain))
    np.testing.assert_allclose(
        [p["train_loss"] for p in ours.points[0]], [p["train_loss"] for p in row.points[0]], rtol=1e-10
    )


@pytest.mark.parametrize("loss", ["softmax", "svm", "squared_error"])
@pytest.mark.parametrize("expression", ["x * sigmoid(b*x)", "maximum(x, b*x)", "abs(x) - b", "b * x / (1 + abs(x))"])
def test_gradients_through_a_formula_are_right(expression, loss):
    net = {"hidden": [6, 5], "activation": {"name": "custom", "expression": expression, "b": 0.3}}
    check = gradient_check(spec_for(blobs(), net=net, loss=loss), blobs())
    assert check.ok, check.errors
    assert check.checked > 20


def test_a_formula_reaches_weights_and_predictions():
    table = blobs(rows=300)
    net = {"hidden": [12, 6], "activation": [SWISH, "relu"]}
    member = member_for(table, net=net, training={"epochs": 15})
    outcome = run(member).outcomes[0]
    arrays = pack(outcome.parameters, member.data.preprocessing, member.spec, table.info, outcome.metrics)
    w = np.load(io.BytesIO(EXPORTERS["npz"](arrays)), allow_pickle=False)
    assert json.loads(str(w["meta"]))["spec"]["net"]["activation"] == [SWISH, "relu"]
    z = (table.x - w["input_mean"]) / w["input_std"] @ w["W1"] + w["b1"]
    scores = np.maximum(z / (1 + np.exp(-1.5 * z)) @ w["W2"] + w["b2"], 0) @ w["W3"] + w["b3"]
    np.testing.assert_allclose(Predictor.from_arrays(arrays).scores(table.x), scores, atol=1e-4)
    assert outcome.metrics["val_accuracy"] > 0.8


def test_stacked_formulas_equal_solo_and_other_formulas_share_no_stack():
    stack = [
        member_for(blobs(seed=i), net={"activation": SWISH}, training={"epochs": 3 + i, "seed": i}) for i in range(3)
    ]
    together = run(*stack)
    for i, one in enumerate(stack):
        assert_same_arrays(together.outcomes[i].parameters, run(one).outcomes[0].parameters)
    keys = {
        stack_key(spec_for(blobs(), net={"activation": one}), 4, 3, "classification")
        for one in (SWISH, {**SWISH, "beta": 2}, {**SWISH, "expression": "beta * x"}, "silu")
    }
    assert len(keys) == 4


def test_a_resolved_formula_survives_json():
    spec = spec_for(blobs(), net={"activation": {**SWISH, "beta": 2}})
    assert ResolvedSpec.parse(json.loads(json.dumps(spec.to_json()))) == spec
    assert spec.to_json()["net"]["activation"] == [{**SWISH, "beta": 2.0}]


@pytest.mark.parametrize(
    ("activation", "pointer", "words"),
    [
        (
            {**SWISH, "expression": "x * sigmoi(beta*x)"},
            "/net/activation/expression",
            "column 5: unknown name 'sigmoi'",
        ),
        ({**SWISH, "expression": "x / beta - 1/x"}, "/net/activation/expression", "not finite at x = 0"),
        ({"name": "custom", "expression": "x.__class__"}, "/net/activation/expression", "column 2"),
        ({"name": "custom", "expression": "x" + "+x" * 300}, "/net/activation/expression", "at most 500"),
        ({**SWISH, "gamma": 1.0}, "/net/activation/gamma", "does not use it"),
        ({**SWISH, "beta": "1"}, "/net/activation/beta", "must be a number"),
        ({**SWISH, "beta": 1e7}, "/net/activation/beta", "<= 1e+06"),
        ({**SWISH, "beta": True}, "/net/activation/beta", "must be a number"),
        ("custom", "/net/activation/expression", "must be a formula"),
        ({"name": "custom", "expression": 3}, "/net/activation/expression", "is 3"),
        (["relu", {"name": "custom", "expression": "log(x)"}], "/net/activation/1/expression", "not finite"),
    ],
)
def test_a_wrong_formula_is_refused_at_its_field(activation, pointer, words):
    with pytest.raises(InvalidInput) as caught:
        TrainingSpec.parse({"net": {"activation": activation}})
    assert [error.pointer for error in caught.value.errors] == [pointer]
    assert words in caught.value.errors[0].detail


def test_capabilities_and_schema_tell_of_formulas():
    shown = capabilities()
    row = shown["activations"][-1]
    assert (row["name"], [p["name"] for p in row["parameters"]]) == ("custom", ["expression"])
    schema = json.dumps(shown["spec_schema"])
    assert '"additionalProperties": {"type": "number"}' in schema
    assert '"required": ["name", "expression"]' in schema
