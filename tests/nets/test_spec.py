"""What may be asked for, and that every refusal names field, value and allowed range."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.errors import InvalidInput
from kernels.operations import ACTIVATIONS
from nets.capabilities import capabilities
from nets.initializers import INITIALIZERS
from nets.losses import LOSSES
from nets.optimizers import OPTIMIZERS
from nets.parts import split_sizes
from nets.resolve import (
    default_epochs,
    memory_estimate_bytes,
    parameter_count,
    resolve,
    stack_key,
)
from nets.schedules import SCHEDULES
from nets.spec import ResolvedSpec, TrainingSpec
from nets.table import Column, TableInfo
from tests.nets.support import blobs, line

DIGITS = TableInfo(1797, tuple(Column(f"p{i}") for i in range(64)), "classification", tuple("0123456789"), False)
NUMBERS = TableInfo(100, (Column("x"),), "regression")

REFUSED = [
    ({"net": {"hidden": [4, 0]}}, "/net/hidden/1", "is 0; must be 1..65536"),
    ({"net": {"hidden": [70000]}}, "/net/hidden/0", "is 70000; must be 1..65536"),
    ({"net": {"hidden": [1] * 65}}, "/net/hidden", "at most 64"),
    ({"net": {"hidden": "64"}}, "/net/hidden", "must be a list"),
    ({"net": {"activation": "rellu"}}, "/net/activation/name", "must be one of identity, sigmoid, tanh, relu,"),
    ({"net": {"activation": "rellu"}}, "/net/activation/name", 'custom; did you mean "relu"?'),
    ({"net": {"activation": ["relu", {"name": "elu", "alpha": -1}]}}, "/net/activation/1/alpha", "is -1"),
    ({"net": {"activation": {"name": "relu", "alpha": 1}}}, "/net/activation/alpha", "not a setting of relu"),
    ({"net": {"init": "normal:x"}}, "/net/init", "normal:<std>"),
    ({"net": {"init": "normal:-1"}}, "/net/init/std", "is -1.0"),
    ({"net": {"dropout": 1.0}}, "/net/dropout", "is 1.0; must be 0..0.99"),
    ({"net": {"batch_norm": 1}}, "/net/batch_norm", "true or false"),
    ({"net": {"bias": 1}}, "/net/bias", "true or false"),
    ({"net": {"layers": 3}}, "/net/layers", "is not a known field; must be one of hidden, activation, init, dropout,"),
    ({"net": {"hiden": [3]}}, "/net/hiden", 'is not a known field; did you mean "hidden"?'),
    ({"epochs": 3}, "/epochs", "is not a known field here; did you mean /training/epochs?"),
    ({"training": {"learning_rate": 1}}, "/training/learning_rate", "did you mean /optimizer/learning_rate?"),
    (
        {"training": {"early_stopping": {"patiense": 3}}},
        "/training/early_stopping/patiense",
        'did you mean "patience"?',
    ),
    ({"optimizer": {"name": "sgd", "momentun": 0.9}}, "/optimizer/momentun", 'nesterov, l2; did you mean "momentum"?'),
    ({"loss": "hinge"}, "/loss/name", "svm"),
    ({"loss": {"name": "squared_error", "reduction": "max"}}, "/loss/reduction", "mean, sum"),
    ({"loss": {"name": "softmax", "label_smoothing": 1.0}}, "/loss/label_smoothing", "<= 0.99"),
    ({"loss": {"name": "huber", "delta": 0}}, "/loss/delta", "> 0"),
    ({"optimizer": {"name": "sgd", "learning_rate": 0}}, "/optimizer/learning_rate", "> 0"),
    ({"optimizer": {"name": "sgd", "learning_rate": True}}, "/optimizer/learning_rate", "is true"),
    ({"optimizer": {"name": "sgd", "learning_rate": "0.1"}}, "/optimizer/learning_rate", 'is "0.1"'),
    ({"optimizer": {"name": "sgd", "learning_rate": float("nan")}}, "/optimizer/learning_rate", "is nan"),
    ({"optimizer": {"name": "sgd", "learning_rate": 10**400}}, "/optimizer/learning_rate", "must be a number"),
    ({"optimizer": {"name": "sgd", "momentum": 1.0}}, "/optimizer/momentum", "<= 0.9999"),
    ({"optimizer": {"name": "adamw", "l2": 0.1}}, "/optimizer/l2", "weight_decay"),
    ({"optimizer": {"name": "rmsprop", "decay": 1.0}}, "/optimizer/decay", "<= 0.999999"),
    ({"optimizer": {"name": "random_search", "scale": 0.0}}, "/optimizer/scale", "> 0"),
    ({"optimizer": {"learning_rate": 0.1}}, "/optimizer/name", "required"),
    ({"schedule": {"name": "cosine", "warmup_steps": 1.5}}, "/schedule/warmup_steps", "integer"),
    ({"training": {"epochs": 0}}, "/training/epochs", "is 0; must be 1..1000000"),
    ({"training": {"epochs": True}}, "/training/epochs", "an integer"),
    ({"training": {"epochs": 1e30}}, "/training/epochs", "an integer"),
    ({"training": {"batch_size": "32"}}, "/training/batch_size", 'is "32"'),
    ({"training": {"seed": -1}}, "/training/seed", "is -1; must be 0..9007199254740991"),
    ({"training": {"validation_fraction": float("inf")}}, "/training/validation_fraction", "finite"),
    ({"training": {"device": "gpu"}}, "/training/device", 'is "gpu"; must be auto, cpu or cuda:N'),
    ({"training": {"device": "cuda:01"}}, "/training/device", 'is "cuda:01"; must be auto, cpu or cuda:N'),
    ({"training": {"shuffle": None}}, "/training/shuffle", "is null; must be true or false"),
    ({"training": {"precision": None}}, "/training/precision", 'is null; must be "float32", "float64", "tf32"'),
    ({"optimizer": {"name": "sgd", "momentum": None}}, "/optimizer/momentum", "is null; must be a number >= 0"),
    ({"net": {"hidden": [True]}}, "/net/hidden/0", "is true; must be an integer"),
    ({"net": {"hidden": [8] * 65}}, "/net/hidden", "; must hold at most 64"),
    (
        {"net": {"activation": {"name": "leaky_relu", "alpha": [True, None]}}},
        "/net/activation/alpha",
        "is [true, null];",
    ),
    ({"training": {"class_weight": {"a": -1}}}, "/training/class_weight/a", "is -1"),
    ({"training": {"class_weight": "even"}}, "/training/class_weight", "balanced"),
    ({"training": {"early_stopping": {"patience": 0}}}, "/training/early_stopping/patience", "is 0"),
    ({"training": {"precision": "float16"}}, "/training/precision", '"tf32" or "bfloat16"'),
    ([], "", "an object"),
]


@pytest.mark.parametrize(("spec", "pointer", "words"), REFUSED, ids=[pointer for _, pointer, _ in REFUSED])
def test_a_refusal_names_field_value_and_range(spec, pointer, words):
    with pytest.raises(InvalidInput) as caught:
        TrainingSpec.parse(spec)
    assert [error.pointer for error in caught.value.errors] == [pointer]
    assert words in caught.value.errors[0].detail


def test_all_wrong_fields_are_named_at_once():
    with pytest.raises(InvalidInput) as caught:
        TrainingSpec.parse({"net": {"hidden": [0]}, "training": {"epochs": 0, "seed": -1}})
    assert {e.pointer for e in caught.value.errors} == {"/net/hidden/0", "/training/epochs", "/training/seed"}


IMPOSSIBLE = [
    ({"loss": "softmax"}, NUMBERS, "/loss"),
    ({"loss": "svm"}, NUMBERS, "/loss"),
    ({"loss": "binary_cross_entropy"}, NUMBERS, "/loss"),
    ({"loss": "binary_cross_entropy"}, DIGITS, "/loss"),
    ({"optimizer": {"name": "random_search"}, "training": {"batch_size": 32}}, DIGITS, "/training/batch_size"),
    ({"optimizer": {"name": "random_search"}, "training": {"clip_norm": 1.0}}, DIGITS, "/training/clip_norm"),
    ({"net": {"hidden": [4, 4], "activation": ["relu"]}}, DIGITS, "/net/activation"),
    ({"training": {"validation_fraction": 0.0, "early_stopping": {}}}, DIGITS, "/training/early_stopping/metric"),
    ({"training": {"early_stopping": {"metric": "val_r2"}}}, DIGITS, "/training/early_stopping/metric"),
    ({"training": {"early_stopping": {"metric": "val_accuracy"}}}, NUMBERS, "/training/early_stopping/metric"),
    ({"training": {"class_weight": {"11": 2.0}}}, DIGITS, "/training/class_weight/11"),
    ({"training": {"class_weight": {str(c): 0.0 for c in range(10)}}}, DIGITS, "/training/class_weight"),
    (
        {"training": {"early_stopping": {"metric": "val_r2"}}},
        TableInfo(5, (Column("x"),), "regression"),
        "/training/early_stopping/metric",
    ),
    ({"training": {"class_weight": "balanced"}}, NUMBERS, "/training/class_weight"),
    ({"net": {"hidden": [65536] * 64}}, DIGITS, "/net/hidden"),
    ({}, TableInfo(5, (Column("x"),), "classification", ("only",)), "/dataset"),
    ({}, TableInfo(0, (Column("x"),), "regression"), "/dataset"),
    ({}, TableInfo(1, (Column("x"),), "regression"), "/training/validation_fraction"),
]


@pytest.mark.parametrize(("spec", "about", "pointer"), IMPOSSIBLE, ids=[p for _, _, p in IMPOSSIBLE])
def test_impossible_combinations_are_refused_at_the_field(spec, about, pointer):
    with pytest.raises(InvalidInput) as caught:
        resolve(TrainingSpec.parse(spec), about)
    assert caught.value.errors[0].pointer == pointer


def test_the_example_of_the_contract_is_kept_as_given():
    example = {
        "net": {"hidden": [128, 64], "activation": "relu", "init": "he", "dropout": 0.0, "bias": True},
        "loss": "softmax",
        "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": False, "l2": 0.0001},
        "schedule": {"name": "constant"},
        "training": {
            "epochs": 20, "batch_size": 64, "shuffle": True, "validation_fraction": 0.2,
            "early_stopping": {"metric": "val_loss", "patience": 10, "min_delta": 0.0, "restore_best": True},
            "clip_norm": None, "class_weight": None, "seed": 0, "precision": "float32", "device": "auto",
            "checkpoint_every_s": 10, "max_runtime_s": None,
        },
    }  # fmt: skip
    shown = resolve(TrainingSpec.parse(example), DIGITS).to_json()
    assert shown["net"] == {**example["net"], "activation": ["relu", "relu"]}
    assert shown["loss"] == "softmax"
    assert shown["optimizer"] == example["optimizer"]
    assert shown["training"] == example["training"]


NETS = st.fixed_dictionaries(
    {},
    optional={
        "hidden": st.lists(st.integers(1, 99), max_size=3),
        "activation": st.sampled_from(sorted(ACTIVATIONS)),
        "init": st.sampled_from(["he", "zeros", "normal:0.5"]),
        "bias": st.booleans(),
    },
)
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "net": NETS,
        "optimizer": st.sampled_from([{"name": name} for name, row in OPTIMIZERS.items() if not row.searches]),
        "schedule": st.sampled_from([*SCHEDULES]),
        "training": st.fixed_dictionaries(
            {}, optional={"batch_size": st.integers(1, 9999), "epochs": st.integers(1, 999)}
        ),
    },
)


@given(SPECS)
def test_resolving_is_idempotent_and_survives_json(spec):
    resolved = resolve(TrainingSpec.parse(spec), DIGITS)
    assert resolve(resolved, DIGITS) == resolved
    assert ResolvedSpec.parse(json.loads(json.dumps(resolved.to_json()))) == resolved
    assert resolved.training.batch_size <= split_sizes(1797, 0.2)[0]
    assert len(resolved.net.activation) == len(resolved.net.hidden)


def test_defaults_give_small_sets_more_epochs():
    assert [default_epochs(n, 32) for n in (10, 1438, 6400, 1_000_000)] == [200, 89, 20, 20]
    assert resolve(TrainingSpec(), NUMBERS).loss.name == "squared_error"
    assert resolve(TrainingSpec(), DIGITS).loss.name == "softmax"


def test_sizes_are_counted():
    spec = resolve(TrainingSpec.parse({"net": {"hidden": [100]}}), DIGITS)
    assert parameter_count(spec, 3072, 10) == 308_310
    bare = resolve(TrainingSpec.parse({"net": {"hidden": [100], "bias": False}}), DIGITS)
    assert parameter_count(bare, 3072, 10) == 308_200
    wide = resolve(TrainingSpec.parse({"net": {"hidden": [4096, 4096]}}), DIGITS)
    assert memory_estimate_bytes(wide, DIGITS) > 5 * 4 * 4096 * 4096 > memory_estimate_bytes(spec, DIGITS)


def test_stack_keys_agree_exactly_where_models_may_differ():
    def key(**spec):
        return stack_key(resolve(TrainingSpec.parse(spec), DIGITS), 64, 10, "classification")

    free = [
        {"optimizer": {"name": "adam", "learning_rate": 1.0, "l2": 0.5, "beta1": 0.5}},
        {"schedule": "constant"},
        {"net": {"init": "xavier"}},
        {"training": {"seed": 5, "epochs": 3, "clip_norm": 1.0, "class_weight": "balanced", "early_stopping": {}}},
    ]
    bound = [
        {"optimizer": {"name": "sgd"}},
        {"net": {"hidden": [64]}},
        {"net": {"activation": "tanh"}},
        {"net": {"bias": False}},
        {"loss": "svm"},
        {"training": {"batch_size": 16}},
        {"training": {"precision": "float64"}},
    ]
    assert {key(**spec) for spec in free} == {key()}
    assert len({key(**spec) for spec in bound} | {key()}) == len(bound) + 1


def test_capabilities_list_every_row_and_are_plain_json():
    shown = json.loads(json.dumps(capabilities(), allow_nan=False))
    for kind, registry in {
        "activations": [*ACTIVATIONS, "custom"], "losses": LOSSES, "optimizers": OPTIMIZERS,
        "schedules": SCHEDULES, "initializers": INITIALIZERS,
    }.items():  # fmt: skip
        assert [row["name"] for row in shown[kind]] == list(registry)
        assert all(row["doc"] and row["source"] for row in shown[kind])
    for row in shown["optimizers"]:
        for parameter in row["parameters"]:
            assert TrainingSpec.parse({"optimizer": {"name": row["name"], parameter["name"]: parameter["default"]}})


def test_table_descriptions_survive_json_and_bad_ones_are_refused():
    for info in (DIGITS, blobs().info, line().info):
        assert TableInfo.from_json(json.loads(json.dumps(info.to_json()))) == info
    for damage in (
        {"task": "ranking"},
        {"columns": [{"kind": "numeric"}]},
        {"columns": [{"name": "a", "kind": "date"}]},
    ):
        with pytest.raises(InvalidInput):
            TableInfo.from_json({**DIGITS.to_json(), **damage})


def test_what_nothing_resolves_to_is_fixed():
    """Old records, weights files and cached results rely on it: later settings appear only where they are given."""
    assert resolve(TrainingSpec(), DIGITS).to_json() == {
        "net": {"hidden": [128], "activation": ["relu"], "init": "he", "dropout": 0.0, "bias": True},
        "loss": "softmax",
        "optimizer": {
            "name": "adam", "learning_rate": 0.003, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-08, "l2": 0.001,
        },
        "schedule": {"name": "cosine", "final": 0.0, "warmup_steps": 0},
        "training": {
            "epochs": 89, "batch_size": 32, "shuffle": True, "validation_fraction": 0.2, "early_stopping": None,
            "clip_norm": None, "class_weight": None, "seed": 0, "precision": "float32", "device": "auto",
            "checkpoint_every_s": 10.0, "max_runtime_s": None,
        },
    }  # fmt: skip
