"""Losses and updates as one launch each: the exact programs, run on the host, equal the tapes of NumPy calls."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kernels.backend import Backend
from kernels.fused_source import LOSS_SYMBOL, UPDATE_SYMBOL, loss_source, update_source
from kernels.updates import UpdateRule
from nets import optimizers
from nets.engine import LayeredEngine
from nets.fused import bind_loss, bind_update, program_of, real_of
from nets.losses import LOSSES, Arrays
from nets.optimizers import OPTIMIZERS, Update
from nets.tape import play
from tests.kernels.block_support import BlockBackend
from tests.kernels.cuda_support import ARCHITECTURES, compile_program
from tests.nets.support import BACKEND, blobs, member_for

OPTIONS: dict[str, dict[str, Any]] = {
    name: {option.name: option.default for option in row.options} for name, row in LOSSES.items()
}
SHAPED: list[tuple[str, dict[str, Any]]] = [
    ("softmax", {"label_smoothing": 0.3}),
    ("svm", {"margin": 0.7}),
    ("huber", {"delta": 0.6, "reduction": "mean"}),
]
losses = pytest.mark.parametrize(("name", "options"), [*OPTIONS.items(), *SHAPED])
RULES = {
    " ".join([name, *(f"{switch} {value:g}" for switch, value in zip(row.switches, values, strict=True))]): (
        name,
        row.rule.given(dict(zip(row.switches, values, strict=True))),
    )
    for name, row in OPTIMIZERS.items()
    for values in itertools.product((0.0, 1.0), repeat=len(row.switches))
    if not row.searches
}
"""Every optimizer's rule with all settings of its switches: name of the row, rule."""
BLOCKS = BlockBackend()
precisions = pytest.mark.parametrize("dtype", ["float32", "float64"])


def arrays_of(backend: Backend, name: str, dtype: str, *, models: int = 3, count: int = 4, batch: int = 50) -> Arrays:
    """The same random scores, targets and weights for every backend; the weights lie in a wider array."""
    row, rng = LOSSES[name], np.random.default_rng(7)
    count = 1 if row.one_output else count
    scores = rng.normal(0.0, 3.0, (models, count, batch)).astype(dtype)
    labels = rng.integers(0, count, (models, batch))
    place = (np.arange(models)[:, None] * count + labels) * batch + np.arange(batch)
    values = rng.normal(0.0, 2.0, (models, batch, count)).astype(dtype)
    if row.one_output:
        values = (values > 0).astype(dtype)
    weights = np.full((models, batch + 2), np.nan, dtype)
    weights[:, :batch] = rng.random((models, batch)) * (rng.random((models, batch)) < 0.8)
    return Arrays(
        backend.to_device(scores),
        backend.to_device(place[..., None] if row.target == "class" else values),
        backend.to_device(weights)[:, :batch],
        backend.zeros((row.n_records, models, batch), dtype),
    )


def epsilons(got: np.ndarray, expected: np.ndarray) -> float:
    scale = np.maximum(np.abs(expected), 1.0)
    return float(np.max(np.abs(got - expected) / scale) / np.finfo(got.dtype).eps)


@losses
@precisions
def test_a_loss_in_one_launch_equals_the_tape(name, options, dtype):
    fused, plain = arrays_of(BlockBackend(), name, dtype), arrays_of(BACKEND, name, dtype)
    tape = bind_loss(LOSSES[name], BlockBackend(), fused, options)
    assert len(tape) == 1
    play(tape)
    play(LOSSES[name].bind(BACKEND, plain, options))
    assert epsilons(fused.scores, plain.scores) <= 16
    values = [LOSSES[name].values(at.records.astype(np.float64)) for at in (fused, plain)]
    assert float(np.abs(values[0] - values[1]).max()) <= 64 * np.finfo(dtype).eps


@losses
def test_a_loss_keeps_nan_and_infinite_scores_visible(name, options):
    for bad in (np.nan, np.inf):
        at = arrays_of(BlockBackend(), name, "float32", models=1, batch=4)
        at.scores[0, 0, 1] = bad
        at.targets[:, 1] = 1 if LOSSES[name].target == "class" else 0  # the first class is wrong, or far
        if LOSSES[name].target == "class":
            at.targets[0, 1, 0] = 1 * 4 + 1
        play(bind_loss(LOSSES[name], BlockBackend(), at, options))
        with np.errstate(invalid="ignore"):
            assert not np.isfinite(LOSSES[name].values(at.records.astype(np.float64))[0, 1])


def update_of(backend: Backend, rule: UpdateRule, dtype: str, *, decays: bool) -> Update:
    rng, shape = np.random.default_rng(3), (3, 401)

    def draw() -> Any:
        return backend.to_device(rng.normal(size=shape).astype(dtype))

    parameters, gradient, decay = draw(), draw(), draw()
    slots = {slot: abs(draw()) for slot in rule.slots}
    numbers = backend.to_device(rng.uniform(0.05, 0.9, (3, 5 + len(rule.rates))).astype(dtype))
    return Update(
        rule,
        parameters,
        gradient,
        abs(decay) * (decay > 0) if decays else None,
        slots,
        [numbers[:, 5 + k : 6 + k] for k in range(len(rule.rates))],
        [numbers[:, k : k + 1].copy() for k in range(len(rule.hyper))],
        frozenset() if decays else frozenset({"decay"}),
    )


@precisions
@pytest.mark.parametrize("decays", [True, False], ids=["decay", "no decay"])
@pytest.mark.parametrize("key", RULES)
def test_an_update_in_one_launch_equals_the_tape(key, decays, dtype):
    _, rule = RULES[key]
    fused, plain, before = (update_of(backend, rule, dtype, decays=decays) for backend in (BLOCKS, BACKEND, BACKEND))
    tape = bind_update(BLOCKS, fused)
    assert len(tape) == 1
    play(tape)
    play(bind_update(BACKEND, plain))
    assert not np.array_equal(fused.parameters, before.parameters)
    assert epsilons(fused.parameters, plain.parameters) <= 8
    for slot in plain.slots:
        assert epsilons(fused.slots[slot], plain.slots[slot]) <= 8, slot


@pytest.mark.parametrize("key", RULES)
def test_blocks_and_numbers_known_to_be_0_change_no_bit(key, monkeypatch):
    _, rule = RULES[key]
    whole, cut, spared = (update_of(BACKEND, rule, "float32", decays=True) for _ in range(3))
    zeros = frozenset({*rule.hyper[:1], "decay"})
    for at in (whole, cut, spared):
        at.decay[:] = 0
        for column in at.hyper[:1]:
            column[:] = 0
    play(bind_update(BACKEND, whole))
    play(bind_update(BACKEND, replace(spared, decay=None, zeros=zeros)))
    monkeypatch.setattr(optimizers, "WHOLE", 100)
    monkeypatch.setattr(optimizers, "BLOCK", 3 * 64)
    monkeypatch.setattr(optimizers, "LEAST_WIDTH", 64)
    tape = bind_update(BACKEND, cut)
    play(tape)
    assert len(tape) % 7 == 0, "401 numbers are 7 blocks of at most 64"
    for at in (cut, spared):
        assert np.array_equal(whole.parameters, at.parameters)


def test_what_has_no_program_keeps_its_tape():
    at = arrays_of(BlockBackend(), "softmax", "float32")
    assert len(bind_loss(LOSSES["softmax"], BlockBackend(), at, {"label_smoothing": 0.0, "unheard": 1.0})) > 1
    assert len(bind_loss(LOSSES["softmax"], BACKEND, at, {"label_smoothing": 0.0})) > 1


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_layers_with_fused_programs_train_like_layers_without(optimizer):
    member = member_for(blobs(), net={"hidden": [9]}, optimizer=optimizer, training={"precision": "float64"})
    fused, plain = LayeredEngine([member], BlockBackend()), LayeredEngine([member], BACKEND)
    for engine in (fused, plain):
        for _ in range(3):
            engine.advance(engine.max_chunk())
    np.testing.assert_allclose(fused.drain(), plain.drain(), rtol=1e-12)
    for name, array in plain.state(0).items():
        np.testing.assert_allclose(fused.state(0)[name], array, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize("symbol", [LOSS_SYMBOL, UPDATE_SYMBOL])
def test_every_program_compiles_for_the_device_without_spilling(symbol, real, architecture):
    programs = [loss_source(program_of(LOSSES[name], options), real) for name, options in OPTIONS.items()]
    if symbol == UPDATE_SYMBOL:
        groups = (1, 16 // (4 if real == "float" else 8))
        programs = [update_source(rule, real, group=group) for _, rule in RULES.values() for group in groups]
    for program in programs:
        binary, used = compile_program(program, architecture)
        assert f".text.{symbol}\0".encode() in binary
        assert used.spilled == used.stack == used.static_shared == 0
        assert used.registers <= 64


@precisions
@pytest.mark.parametrize("size", [1203, 1204, 3])
def test_updates_in_groups_have_the_same_bits_as_one_by_one_and_write_no_further(size, dtype):
    rule, group = RULES["adam"][1], 16 // np.dtype(dtype).itemsize
    rng, results = np.random.default_rng(5), []
    arrays = [abs(rng.normal(size=size + 8)).astype(dtype) for _ in range(3 + len(rule.slots))]
    numbers = rng.uniform(0.1, 0.9, (len(rule.numbers) - 1, 1)).astype(dtype)
    for each in (1, group):
        own = [array.copy() for array in arrays]
        columns = [part for number in numbers for part in (number, np.int32(1))]
        launch = BLOCKS.compiler.compile(update_source(rule, real_of(own[0].dtype), group=each), UPDATE_SYMBOL, 0)
        launch(2, 32, [np.int64(size), np.int64(size), np.int32(1), *own, *columns])
        results.append(own)
        assert all(np.array_equal(new[size:], old[size:]) for new, old in zip(own, arrays, strict=True))
        assert not (own[0][:size] == arrays[0][:size]).any()
    assert all(np.array_equal(one, other) for one, other in zip(*results, strict=True))
