"""Random stacks of models that differ in everything that may differ: each is bit for bit what it is alone.

Held for every engine: layer by layer, compiled, and the persistent kernel's own source run on the host.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nets.engines import COMPILED_VARIABLE
from nets.member import Member
from nets.schedules import SCHEDULES
from nets.trainer import Ending, fit
from tests.kernels.block_support import BlockBackend
from tests.nets.support import BACKEND, Recorder, assert_same_arrays, blobs, member_for

ENGINES = ("layered", "compiled", "persistent")
COMMON = {"sgd": ("momentum",), "adam": ("beta1",), "rmsprop": ("decay",)}
WILD = {"learning_rate": 1.0, "l2": 5e4}
"""Multiplies the weights by about -1e5 in every step: finite for a few steps only."""

one_in_four = st.integers(0, 3).map(lambda drawn: drawn == 0)
optimizers = st.fixed_dictionaries(
    {"learning_rate": st.floats(1e-4, 0.05), "l2": st.sampled_from([0.0, 1e-3, 0.1])}
).flatmap(lambda own: one_in_four.map(lambda wild: WILD if wild else own))
trainings = st.fixed_dictionaries(
    {
        "epochs": st.integers(1, 6),
        "seed": st.integers(0, 2**53 - 1),
        "class_weight": st.sampled_from([None, None, "balanced", {"class 1": 2.5}]),
        "early_stopping": st.none()
        | st.fixed_dictionaries(
            {
                "metric": st.sampled_from(["val_loss", "val_accuracy", "train_loss"]),
                "patience": st.integers(1, 2),
                "restore_best": st.booleans(),
            }
        ),
    }
)
models = st.fixed_dictionaries(
    {
        "optimizer": optimizers,
        "memory": st.sampled_from([0.0, 0.5, 0.9]),
        "training": trainings,
        "schedule": st.builds(
            lambda name, steps: {"name": name, "warmup_steps": steps}, st.sampled_from([*SCHEDULES]), st.integers(0, 9)
        ),
        "init": st.sampled_from(["he", "xavier", "normal:0.1", "zeros"]),
        "clip_norm": st.sampled_from([None, 0.1, 3.0]),
        "rows": st.integers(20, 130),
        "data": st.integers(0, 50),
    }
)


def member_of(drawn: dict[str, Any], optimizer: str, shape: dict[str, Any], *, clips: bool) -> Member:
    own = {"name": optimizer, **drawn["optimizer"], **dict.fromkeys(COMMON[optimizer], drawn["memory"])}
    training = {"batch_size": 16, **drawn["training"], **({"clip_norm": drawn["clip_norm"]} if clips else {})}
    net = {**shape["net"], "init": drawn["init"]}
    table = blobs(rows=drawn["rows"], seed=drawn["data"])
    return member_for(
        table, net=net, loss=shape["loss"], optimizer=own, schedule=drawn["schedule"],
        training={**training, "precision": shape["precision"]},
    )  # fmt: skip


def trained(engine: str, *members: Member) -> Recorder:
    recorder = Recorder()
    fit(members, BlockBackend() if engine == "persistent" else BACKEND, recorder, recorder, threads=1)
    assert {info["engine"] for info in recorder.info.values()} == {engine}
    return recorder


def assert_each_is_what_it_is_alone(engine: str, members: list[Member]) -> list[Ending]:
    together = trained(engine, *members)
    for i, member in enumerate(members):
        alone = trained(engine, member)
        assert together.curve(i) == alone.curve(0)
        a, b = together.outcomes[i], alone.outcomes[0]
        assert {**vars(a), "parameters": None} == {**vars(b), "parameters": None}
        assert_same_arrays(a.parameters, b.parameters)
    return [outcome.kind for outcome in together.outcomes.values()]


shapes = st.fixed_dictionaries(
    {
        "net": st.fixed_dictionaries(
            {
                "hidden": st.just([7, 5]),
                "activation": st.sampled_from([["tanh", "relu"], ["gelu", "sigmoid"]]),
            }
        ),
        "loss": st.sampled_from(["softmax", "svm", "squared_error"]),
        "precision": st.sampled_from(["float32", "float64"]),
    }
)


@settings(max_examples=25)
@given(st.lists(models, min_size=2, max_size=5), st.sampled_from(["sgd", "adam", "rmsprop"]), shapes)
def test_a_random_stack_run_by_layers_is_its_models_alone(drawn, optimizer, shape):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(COMPILED_VARIABLE, "0")
        assert_each_is_what_it_is_alone("layered", [member_of(d, optimizer, shape, clips=True) for d in drawn])


@settings(max_examples=25)
@given(st.lists(models, min_size=2, max_size=5), st.sampled_from(["sgd", "adam"]), shapes)
def test_a_random_stack_run_by_compiled_code_is_its_models_alone(drawn, optimizer, shape):
    assert_each_is_what_it_is_alone("compiled", [member_of(d, optimizer, shape, clips=True) for d in drawn])


KERNEL_SHAPE = {"net": {"hidden": [7], "activation": "tanh"}, "loss": "softmax", "precision": "float32"}


@settings(max_examples=10)
@given(st.lists(models, min_size=2, max_size=4))
def test_a_random_stack_run_by_the_persistent_kernel_is_its_models_alone(drawn):
    assert_each_is_what_it_is_alone("persistent", [member_of(d, "adam", KERNEL_SHAPE, clips=False) for d in drawn])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stack_holds_models_that_end_in_every_way(engine, monkeypatch):
    """What random stacks draw, once for certain: one completes, one stops early, one diverges, all side by side."""
    if engine == "layered":
        monkeypatch.setenv(COMPILED_VARIABLE, "0")
    calm = {
        "optimizer": {"learning_rate": 0.01, "l2": 0.0}, "memory": 0.9, "schedule": "constant", "init": "he",
        "clip_norm": None, "rows": 100, "data": 1, "training": {"epochs": 5, "seed": 3},
    }  # fmt: skip
    stopping = {"metric": "val_loss", "patience": 1, "min_delta": 1e6}
    drawn = [
        calm,
        {**calm, "optimizer": WILD, "training": {"epochs": 40, "seed": 4}},
        {**calm, "training": {"epochs": 40, "seed": 5, "early_stopping": stopping}},
    ]
    members = [member_of(d, "sgd", KERNEL_SHAPE, clips=False) for d in drawn]
    endings = assert_each_is_what_it_is_alone(engine, members)
    assert sorted(endings) == sorted([Ending.COMPLETED, Ending.DIVERGED, Ending.EARLY_STOPPED])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stack_of_one_hundred_is_one_hundred_alone(engine, monkeypatch):
    if engine == "layered":
        monkeypatch.setenv(COMPILED_VARIABLE, "0")
    table = blobs(rows=60)
    one = member_for(table, net={"hidden": [5]}, training={"epochs": 2, "batch_size": 16})
    seeds = [one.spec.training.model_copy(update={"seed": i}) for i in range(100)]
    members = [replace(one, spec=one.spec.model_copy(update={"training": training})) for training in seeds]
    together = trained(engine, *members)
    for i in (0, 17, 50, 99):
        assert_same_arrays(together.outcomes[i].parameters, trained(engine, members[i]).outcomes[0].parameters)
    first = together.outcomes[0].parameters["W1"]
    assert not any(np.array_equal(first, together.outcomes[i].parameters["W1"]) for i in range(1, 100))
