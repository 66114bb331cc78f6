"""Compiled kernels against their NumPy originals."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from kernels.compiled.jit import CACHE_VARIABLE, alone, exact
from kernels.compiled.measures import all_finite
from kernels.compiled.orders import orders
from kernels.compiled.programs import program, run
from kernels.expressions import parse
from kernels.operations import ACTIVATIONS
from kernels.programs import Evaluator
from kernels.random import permutation

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 60.0, -60.0, 1e-30, -1e-30, 9.0, -9.0, 0.5, -0.5]


@exact
def call(address, parameters, x, y, upstream, out):
    run(address, parameters, x, y, upstream, out, out.size)


def play(made, x, y, upstream):
    """What a program makes of its inputs; it may write nothing beyond."""
    out = np.full(x.size + 1, 7, x.dtype)
    call(made.address, np.array(made.parameters, x.dtype), x, y, upstream, out[:-1])
    assert out[-1] == 7
    return out[:-1]


def inputs(dtype: str, seed: int) -> np.ndarray:
    x = (np.random.default_rng(seed).standard_normal(1553) * 3).astype(dtype)
    x[: len(SPECIAL)] = SPECIAL
    return x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_programs_compute_what_ufuncs_compute(name, dtype):
    operation, evaluator = ACTIVATIONS[name], Evaluator()
    x = inputs(dtype, 0)
    upstream = np.random.default_rng(1).standard_normal(x.size).astype(dtype)
    bound = tuple(operation.defaults.items())
    expected, expected_slope = np.empty_like(x), np.empty_like(x)
    value = program(operation.value_expression, operation.defaults, x.dtype)
    pullback = program(operation.pullback_expression, operation.defaults, x.dtype)
    with np.errstate(all="ignore"):
        evaluator.evaluate(operation.value_expression, ("x",), (x,), bound, expected)
        arrays = (x, expected, upstream)
        evaluator.evaluate(operation.pullback_expression, ("x", "y", "upstream"), arrays, bound, expected_slope)
    y, slope = play(value, x, x, x), play(pullback, x, expected, upstream)
    # tails of gelu are what 1 + tanh leaves over: a unit in the last place of 1, times x³
    tolerance = {"rtol": 2e-6, "atol": 5e-6} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-13}
    np.testing.assert_allclose(y, expected, err_msg=f"{name} {dtype}", **tolerance)
    np.testing.assert_allclose(slope, expected_slope, err_msg=f"{name} {dtype}", **tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_bit_of_a_program_depends_on_where_a_number_stands_and_none_is_written_beyond(dtype):
    gelu = ACTIVATIONS["gelu"]
    x = inputs(dtype, 2)[:80]
    upstream, made = x[::-1].copy(), program(gelu.pullback_expression, {}, x.dtype)
    whole = play(made, x, x, upstream)
    for start in range(20):
        for count in range(40):
            part = slice(start, start + count)
            assert play(made, x[part], x[part], upstream[part]).tobytes() == whole[part].tobytes()


def test_parameters_are_arguments_of_one_and_the_same_code():
    leaky, x = ACTIVATIONS["leaky_relu"], np.array([-2.0, 3.0], np.float32)
    one, other = (program(leaky.value_expression, {"alpha": alpha}, x.dtype) for alpha in (0.5, 0.25))
    assert one.address == other.address
    assert play(one, x, x, x).tolist() == [-1.0, 3.0]
    assert play(other, x, x, x).tolist() == [-0.5, 3.0]


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("erf", -5, 5), ("tanh", -10, 10), ("exp", -80, 80), ("expm1", -5, 5), ("log", 1e-6, 50), ("log1p", -0.9, 50)],
)
def test_elementary_functions_are_within_a_few_units_in_the_last_place(name, low, high):
    x = np.linspace(low, high, 100_001, dtype=np.float32)
    found = play(program(parse(f"{name}(x)", ("x",)), {}, x.dtype), x, x, x)
    exact_values = np.array([getattr(math, name)(number) for number in x.tolist()])
    assert (np.abs(found - exact_values) / np.spacing(np.abs(exact_values).astype(np.float32))).max() < 6


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 600, 1500, 66_000])
def test_compiled_row_orders_are_the_published_permutations(count):
    width = count + 5
    keys, rows = np.zeros((2, count + 8), np.uint64), np.zeros((3, width), np.int64)
    for seed in (0, 2**63 - 1):
        orders(np.uint64(seed), 4, True, count, 10, keys, rows)
        for epoch in range(3):
            assert np.array_equal(rows[epoch, :count] - 10, permutation(seed, 4 + epoch, count))
            assert (rows[epoch, count:] == rows[epoch, count - 1]).all()
    orders(np.uint64(0), 4, False, count, 10, keys, rows)
    assert np.array_equal(rows[1, :count], np.arange(count) + 10)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_is_found_anywhere(bad):
    numbers = np.ones(10_000, np.float32)
    assert all_finite(numbers)
    for place in (0, 4095, 4096, 9_999):
        numbers[place] = bad
        assert not all_finite(numbers)
        numbers[place] = 1


GENERATED = """
import numpy as np
from kernels.compiled.jit import CACHE_FOLDER
from kernels.compiled.updates import address_of
from kernels.updates import UpdateRule
rule = UpdateRule((), ("rate",), (), (("parameter", "parameter - rate * tanh(gradient)"),))
assert address_of(rule, np.dtype("float64"))
print(*sorted((path.name, path.stat().st_mtime_ns) for path in CACHE_FOLDER.rglob("*.nb?")), sep="\\n")
"""


def test_what_is_generated_is_compiled_by_one_process_and_loaded_by_the_next(tmp_path):
    environment = {**os.environ, CACHE_VARIABLE: str(tmp_path)}
    found = [
        subprocess.run([sys.executable, "-c", GENERATED], env=environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert "update" in found[0].stdout
    assert found[0].stdout == found[1].stdout


def test_compiling_alone_may_be_entered_again():
    with alone(), alone():
        pass
    with alone():
        pass
