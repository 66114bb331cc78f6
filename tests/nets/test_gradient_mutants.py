"""One wrong sign in any gradient is seen: of an activation, a loss, a product, an update, a gate, in every engine.

Each test plants one, runs what the tests of that place run, and wants to see it fail. The signs of products and of
batch normalisation in the layered engine are flipped in test_L33_L34_every_net and test_regularisation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from kernels.fused_source import LOSSES as STRUCTS
from kernels.fused_source import LOSSES_TEXT
from kernels.operations import ACTIVATIONS, Operation
from kernels.updates import UPDATE_RULES, UpdateRule
from nets import engine as engine_module
from nets import network
from nets.engine import LayeredEngine
from nets.fused import bind_update
from nets.gates import GATES, Gate
from nets.losses import LOSSES
from nets.optimizers import OPTIMIZERS
from nets.tape import call, play
from tests.kernels.block_support import BlockBackend, HostCompiler
from tests.nets import test_fused
from tests.nets.gradient_matrix import ENGINES, HostKernels, differences, member_of, persistent, stepped, worst
from tests.nets.support import BACKEND

CAUGHT = 0.1
"""A wrong sign is an error of 2, where nothing cancels it."""


def flipped(row: Operation) -> Operation:
    return replace(row, gradient=f"-({row.gradient})")


FLIPPED = {name: flipped(row) for name, row in ACTIVATIONS.items()}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_wrong_sign_in_an_activation_is_seen_by_every_engine(name, engine, monkeypatch):
    member = member_of((name,), "softmax", "float64")
    wanted = differences(member)
    if engine == "cupy kernels":
        found = stepped(LayeredEngine([member], HostKernels(FLIPPED)), member)
    else:
        monkeypatch.setattr(network, "ACTIVATIONS", {**ACTIVATIONS, name: FLIPPED[name]})
        found = stepped(ENGINES[engine](member), member)
    errors = worst(found, wanted)
    assert errors["W1"] > CAUGHT
    assert errors["W2"] < 1e-6


@pytest.mark.parametrize("name", LOSSES)
def test_a_wrong_sign_in_a_loss_is_seen_layer_by_layer(name, monkeypatch):
    right = LOSSES[name]

    def bind(backend, at, options):
        tape = right.bind(backend, at, options)
        call(tape, np.negative, at.scores, out=at.scores)
        return tape

    monkeypatch.setattr(engine_module, "LOSSES", {**LOSSES, name: replace(right, bind=bind)})
    member = member_of(("tanh",), name, "float64")
    assert min(worst(stepped(ENGINES["numpy"](member), member), differences(member)).values()) > CAUGHT


# ---- signs in the CUDA sources

SIGNS_OF_LOSSES = {  # of every struct, the lines that write a gradient: what stands there, and with a wrong sign
    "Softmax": [
        ("scores[c * stride] * scale - weight", "scores[c * stride] * -scale - weight"),
        ("= -rest * scale", "= rest * scale"),
    ],
    "Svm": [("active ? weight", "active ? -weight"), ("= -slope", "= slope")],
    "SquaredError": [("residual * (weight + weight)", "-residual * (weight + weight)")],
    "Huber": [("held * weight;", "held * -weight;")],
    "AbsoluteError": [("real(0) ? weight", "real(0) ? -weight"), ("? -weight : residual", "? weight : residual")],
    "BinaryCrossEntropy": [("* sign * weight", "* sign * -weight")],
}
SIGNS_OF_SMOOTHING = [
    ("scale - weight * share", "scale + weight * share"),
    ("+ weight * (smoothing - share)", "- weight * (smoothing - share)"),
]
SIGNS_OF_PRODUCTS = [
    ("*= upstream;", "*= -upstream;"),
    ("L::weights_stride + c], gradient,", "L::weights_stride + c], -gradient,"),
]


def edited(before: str, after: str) -> HostCompiler:
    """A compiler that plants one wrong sign in the source it is given."""
    compiler, seen = HostCompiler(), []

    def edit(source: str) -> str:
        seen.append(source.count(before))
        return source.replace(before, after)

    compiler.edit = edit
    compiler.seen = seen  # type: ignore[attr-defined]
    return compiler


def fused(member, compiler):
    return LayeredEngine([member], BlockBackend(compiler))


@pytest.mark.parametrize("build", [fused, persistent], ids=["fused", "persistent"])
@pytest.mark.parametrize(
    ("name", "before", "after"),
    [(name, *signs) for name, (struct, _) in STRUCTS.items() for signs in SIGNS_OF_LOSSES[struct]],
)
def test_a_wrong_sign_in_a_loss_of_a_kernel_is_seen(name, before, after, build):
    member, compiler = member_of(("tanh",), name, "float64"), edited(before, after)
    assert LOSSES_TEXT.count(before) == 1
    errors = worst(stepped(build(member, compiler), member), differences(member))
    assert sum(compiler.seen) > 0
    assert min(errors.values()) > CAUGHT


@pytest.mark.parametrize(("before", "after"), SIGNS_OF_SMOOTHING)
def test_a_wrong_sign_in_label_smoothing_of_a_kernel_is_seen(before, after):
    options = {"label_smoothing": 0.3}
    plain, wrong = (
        test_fused.arrays_of(backend, "softmax", "float64")
        for backend in (BACKEND, BlockBackend(edited(before, after)))
    )
    assert LOSSES_TEXT.count(before) == 1
    play(LOSSES["softmax"].bind(BACKEND, plain, options))
    play(test_fused.bind_loss(LOSSES["softmax"], BlockBackend(edited(before, after)), wrong, options))
    assert test_fused.epsilons(wrong.scores, plain.scores) > 1e6


@pytest.mark.parametrize(("before", "after"), SIGNS_OF_PRODUCTS)
def test_a_wrong_sign_in_a_product_of_the_persistent_kernel_is_seen(before, after):
    member, compiler = member_of(("tanh", "silu"), "softmax", "float64"), edited(before, after)
    errors = worst(stepped(persistent(member, compiler), member), differences(member))
    assert compiler.seen == [1]
    assert max(errors.values()) > CAUGHT


# ---- signs in the updates


def wrong_rules() -> list[tuple[str, int, UpdateRule]]:
    """Every update rule with every single sign between its terms turned round."""
    found = []
    for key, rule in UPDATE_RULES.items():
        for line, (target, text) in enumerate(rule.assignments):
            for sign in re.finditer(r" [+-] ", text):
                turned = " - " if sign[0] == " + " else " + "
                wrong = text[: sign.start()] + turned + text[sign.end() :]
                assignments = [*rule.assignments[:line], (target, wrong), *rule.assignments[line + 1 :]]
                found.append((key, sign.start(), replace(rule, assignments=tuple(assignments))))
    return found


@pytest.mark.parametrize(("key", "place", "wrong"), wrong_rules(), ids=lambda one: str(one)[:20])
def test_a_wrong_sign_in_an_update_is_seen(key, place, wrong, monkeypatch):
    nesterov, name = key.endswith("_nesterov"), key.removesuffix("_nesterov")
    monkeypatch.setattr("nets.fused.rule_for", lambda *_, **__: wrong)
    fused_at = test_fused.update_of(BlockBackend(), name, "float64", nesterov=nesterov, decays=True)
    plain_at = test_fused.update_of(BACKEND, name, "float64", nesterov=nesterov, decays=True)
    with np.errstate(invalid="ignore"):
        play(bind_update(OPTIMIZERS[name], BlockBackend(), fused_at))
    play(OPTIMIZERS[name].bind(BACKEND, plain_at))
    assert not test_fused.epsilons(fused_at.parameters, plain_at.parameters) < 1e6


def test_every_update_has_signs_to_turn():
    assert {key for key, _, _ in wrong_rules()} == set(UPDATE_RULES)


# ---- signs in the gates of the graph

ARGUMENTS = {"scale": (2.5,), "shift": (0.7,)}


def inputs_of(gate: Gate) -> tuple[list[np.ndarray], tuple[float, ...]]:
    """Inputs whose gradients are wanted, and the gate's settings."""
    rng = np.random.default_rng(sum(gate.name.encode()))
    settings = ARGUMENTS.get(gate.name, ())
    if gate.name in ACTIVATIONS:
        settings = tuple(ACTIVATIONS[gate.name].defaults.values())
    if gate.name == "matmul":
        return [rng.normal(size=(3, 4)), rng.normal(size=(4, 2))], ()
    if gate.name in {"add", "subtract", "multiply", "maximum"}:
        return [rng.normal(size=(3, 4)), rng.normal(size=(3, 4))], ()
    return [rng.uniform(0.5, 2.0, (3, 4)) * (1 if gate.name == "log" else rng.choice([-1, 1], (3, 4)))], settings


def errors_of(gate: Gate, downstream: Callable[..., tuple[np.ndarray, ...]]) -> list[float]:
    """Of every input the largest error of its gradient against central differences, with a random upstream."""
    inputs, settings = inputs_of(gate)
    z = gate.value(*inputs, *settings)
    upstream = np.random.default_rng(1).normal(size=z.shape)
    found, h = downstream(upstream, z, *inputs, *settings), 1e-6
    errors = []
    for number, x in enumerate(inputs):
        expected = np.zeros(x.shape)
        for place in np.ndindex(x.shape):
            sides = []
            for step in (h, -h):
                moved = [array.copy() for array in inputs]
                moved[number][place] += step
                sides.append(float((upstream * gate.value(*moved, *settings)).sum()))
            expected[place] = (sides[0] - sides[1]) / (2 * h)
        errors.append(float(np.abs(found[number] - expected).max() / np.abs(expected).max()))
    return errors


@pytest.mark.parametrize("name", GATES)
def test_every_gate_is_right_and_a_wrong_sign_in_any_of_its_outputs_is_seen(name):
    gate = GATES[name]
    right = errors_of(gate, gate.downstream)
    assert max(right) < 1e-8
    for turned in range(len(right)):

        def wrong(*given, turned=turned):
            down = gate.downstream(*given)
            return tuple(-d if place == turned else d for place, d in enumerate(down))

        assert errors_of(gate, wrong)[turned] > CAUGHT
