"""One wrong sign in any gradient is seen: of an activation, a loss, a product, an update, a gate, in every engine.

Each test plants one, runs what the tests of that place run, and wants to see it fail. The signs of products and of
batch normalisation in the layered engine are flipped in test_L33_L34_every_net and test_regularisation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from kernels.compiled import updates
from kernels.compiled.jit import exact
from kernels.fused_source import CLASS_LOSSES, LOSSES_TEXT
from kernels.operations import ACTIVATIONS, Operation
from kernels.updates import UpdateRule
from nets import compiled_evaluator, network, persistent_program, step_shape
from nets import engine as engine_module
from nets.engine import LayeredEngine
from nets.fused import bind_update
from nets.gates import GATES, Gate
from nets.losses import LOSSES, bind_pointwise
from nets.optimizers import Update
from nets.tape import call, play
from tests.kernels.block_support import BlockBackend, HostCompiler
from tests.nets import test_fused
from tests.nets.gradient_matrix import (
    ENGINES,
    HostKernels,
    differences,
    member_of,
    persistent,
    recorded,
    stepped,
    worst,
)
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
}
SIGNS_OF_SMOOTHING = [
    ("scale - weight * share", "scale + weight * share"),
    ("+ weight * (smoothing - share)", "- weight * (smoothing - share)"),
]
SIGNS_OF_PRODUCTS = [
    ("*= sum[i][j];", "*= -sum[i][j];"),
    ("descend(parameter.at[j], gradient[j],", "descend(parameter.at[j], -gradient[j],"),
    ("change<L, 1>(memory, slots, L::inputs, c, &sum,", "sum = -sum, change<L, 1>(memory, slots, L::inputs, c, &sum,"),
]
SIGNS_OF_TAILS = [
    ("sum[c] += x * widen(weights", "sum[c] -= x * widen(weights"),
    ("sum[c] += x * d;", "sum[c] -= x * d;"),
    ("in_upstream += weight[c] * d;", "in_upstream -= weight[c] * d;"),
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
    [(name, *signs) for name, (struct, _) in CLASS_LOSSES.items() for signs in SIGNS_OF_LOSSES[struct]],
)
def test_a_wrong_sign_in_a_loss_of_a_kernel_is_seen(name, before, after, build):
    member, compiler = member_of(("tanh",), name, "float64"), edited(before, after)
    assert LOSSES_TEXT.count(before) == 1
    errors = worst(stepped(build(member, compiler), member), differences(member))
    assert sum(compiler.seen) > 0
    assert min(errors.values()) > CAUGHT


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", [name for name, row in LOSSES.items() if row.pointwise])
def test_a_wrong_sign_in_a_slope_is_seen_by_every_engine(name, engine, monkeypatch):
    right = LOSSES[name]
    one = replace(right.pointwise, slope=f"-({right.pointwise.slope})")
    wrong = replace(right, pointwise=one, bind=partial(bind_pointwise, one))
    for module in (engine_module, compiled_evaluator, persistent_program, step_shape):
        monkeypatch.setattr(module, "LOSSES", {**LOSSES, name: wrong})
    member = member_of(("tanh",), name, "float64")
    assert min(worst(stepped(ENGINES[engine](member), member), differences(member)).values()) > CAUGHT


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
    assert sum(compiler.seen) == 1
    assert max(errors.values()) > CAUGHT


@pytest.mark.parametrize(("before", "after"), SIGNS_OF_TAILS)
def test_a_wrong_sign_in_the_last_layer_of_a_recorded_step_is_seen(before, after):
    member, compiler = member_of(("tanh", "silu"), "softmax", "float64"), edited(before, after)
    errors = worst(stepped(recorded(member, compiler), member), differences(member))
    assert sum(compiler.seen) > 0
    assert max(errors.values()) > CAUGHT


# ---- signs in the updates


def wrong_rules() -> list[tuple[str, int, UpdateRule]]:
    """Every update rule with every single sign between its terms turned round."""
    found = []
    for key, (_, rule) in test_fused.RULES.items():
        for line, (target, text) in enumerate(rule.assignments):
            for sign in re.finditer(r" [+-] ", text):
                turned = " - " if sign[0] == " + " else " + "
                wrong = text[: sign.start()] + turned + text[sign.end() :]
                assignments = [*rule.assignments[:line], (target, wrong), *rule.assignments[line + 1 :]]
                found.append((key, sign.start(), replace(rule, assignments=tuple(assignments))))
    return found


def by_hand(name: str, at: Update) -> np.ndarray:
    """The parameters after one update, in plain NumPy."""
    p, g, slots = at.parameters, at.gradient, at.slots
    if name == "adamw":
        rate, epsilon, shrink = at.rates
        p = p * (1 - at.decay * shrink)
    else:
        rate, g, epsilon = at.rates[0], g + at.decay * p, at.rates[-1]
    if name == "sgd":
        (momentum,), nesterov = at.hyper, dict(at.rule.known)["nesterov"]
        v = momentum * slots["velocity"] + g
        return p - rate * (g + momentum * v if nesterov else v)
    if name in ("adam", "adamw"):
        beta1, rest1, beta2, rest2 = at.hyper
        mean, square = beta1 * slots["mean"] + rest1 * g, beta2 * slots["square"] + rest2 * g**2
        return p - rate * mean / (np.sqrt(square) + epsilon)
    memory, rest = at.hyper if name == "rmsprop" else (1.0, 1.0)
    return p - rate * g / (np.sqrt(memory * slots["square"] + rest * g**2) + epsilon)


@exact
def descended(address, parameters, gradient, slots, stride, rates, numbers, decay):
    updates.descend(address, parameters, gradient, slots, stride, rates, numbers, decay, parameters.size)


def play_compiled(at: Update) -> None:
    """The compiled update of every single parameter: each has a decay of its own."""
    address = updates.address_of(at.rule, at.parameters.dtype)
    for model, column in np.ndindex(at.parameters.shape):
        slots = np.array([at.slots[name][model, column] for name in at.rule.slots])
        one = [np.array([array[model, column]]) for array in (at.parameters, at.gradient, at.decay)]
        rates, numbers = (np.array([column[model, 0] for column in columns]) for columns in (at.rates, at.hyper))
        descended(address, one[0], one[1], slots, 1, rates, numbers, one[2][0])
        at.parameters[model, column] = one[0][0]
        for name, value in zip(at.rule.slots, slots, strict=True):
            at.slots[name][model, column] = value


@pytest.mark.parametrize("way", ["tape", "launch", "compiled"])
@pytest.mark.parametrize("key", test_fused.RULES)
def test_an_update_is_what_it_is_by_hand(key, way):
    name, rule = test_fused.RULES[key]
    backend = test_fused.BLOCKS if way == "launch" else BACKEND
    at = test_fused.update_of(backend, rule, "float64", decays=True)
    expected = by_hand(name, at)
    if way == "compiled":
        play_compiled(at)
    else:
        play(bind_update(backend, at))
    assert test_fused.epsilons(at.parameters, expected) <= 64


@pytest.mark.parametrize("backend", [BACKEND, test_fused.BLOCKS], ids=["tape", "launch"])
@pytest.mark.parametrize(("key", "place", "wrong"), wrong_rules(), ids=lambda one: str(one)[:20])
def test_a_wrong_sign_in_an_update_is_seen(key, place, wrong, backend):
    at = test_fused.update_of(backend, wrong, "float64", decays=True)
    expected = by_hand(test_fused.RULES[key][0], at)
    with np.errstate(invalid="ignore"):
        play(bind_update(backend, at))
    unused = "nesterov 0" in key and place > len("parameter - ")  # the sign of the branch that is not taken
    assert unused or not test_fused.epsilons(at.parameters, expected) < 1e6


def test_every_update_has_signs_to_turn():
    assert {key for key, _, _ in wrong_rules()} == set(test_fused.RULES)


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
