"""Dropout masks drawn by the CUDA program, its exact source run on the host: bit for bit those of NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.fused_source import MASK_SYMBOL, mask_source
from kernels.random import MAX_SEED
from nets.dropout import Dropout, kept
from nets.engine import LayeredEngine
from tests.kernels.block_support import ORDERS, BlockBackend, HostCompiler
from tests.kernels.cuda_support import ARCHITECTURES, compile_program
from tests.nets.support import BACKEND, assert_same_arrays, blobs, member_for

SEEDS, RATES, STEPS = (0, 2**53 - 1, MAX_SEED), (0.0, 0.25, 0.99), (0, 12_345_678_901, 7)
precisions = pytest.mark.parametrize("dtype", ["float32", "float64"])


@precisions
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (8, 4), (31, 33), (130, 64)])
def test_masks_of_the_program_are_those_of_numpy(shape, order, dtype):
    masks = [np.full((3, *size), np.nan, dtype) for size in (shape, shape[::-1])]
    Dropout(BlockBackend(HostCompiler(order)), SEEDS, RATES, masks).fill(STEPS)
    for layer, mask in enumerate(masks, start=1):
        for model, (seed, rate, step) in enumerate(zip(SEEDS, RATES, STEPS, strict=True)):
            expected = kept(seed, step, layer, rate, mask.shape[1:], mask.dtype)
            assert np.array_equal(mask[model], expected), (shape, layer, model)


@precisions
def test_layers_with_masks_of_the_program_train_like_layers_without(dtype):
    net = {"hidden": [9, 7], "activation": "tanh", "dropout": 0.3}
    member = member_for(blobs(), net=net, training={"precision": dtype, "batch_size": 32})
    drawn, plain = LayeredEngine([member], BlockBackend()), LayeredEngine([member], BACKEND)
    for engine in (drawn, plain):
        for _ in range(3):
            engine.advance(engine.max_chunk())
    tolerance = {"rtol": 1e-4, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-13}
    np.testing.assert_allclose(drawn.drain(), plain.drain(), **tolerance)


def test_a_model_has_the_same_masks_alone_and_in_a_stack():
    members = [
        member_for(blobs(seed=i), net={"hidden": [9], "dropout": rate}, training={"seed": i, "batch_size": 32})
        for i, rate in enumerate((0.5, 0.1, 0.8))
    ]
    stack = LayeredEngine(members, BlockBackend())
    stack.advance(3)
    for position, member in enumerate(members):
        alone = LayeredEngine([member], BlockBackend())
        alone.advance(3)
        assert_same_arrays(alone.state(0), stack.state(position))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("real", ["float", "double"])
def test_the_program_compiles_for_the_device_without_spilling(real, architecture):
    binary, used = compile_program(mask_source(real), architecture)
    assert f".text.{MASK_SYMBOL}\0".encode() in binary
    assert used.spilled == used.stack == used.static_shared == 0
    assert used.registers <= 48
