"""Every row of the table is right: gradients against central differences, both against float64 references."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

from kernels.errors import InvalidInput
from kernels.numpy_backend import NumpyBackend
from kernels.operations import ACTIVATIONS, Operation, Parameter
from tests.kernels.references import (
    DERIVATIVES,
    GRADIENT_NORM_GATE,
    VALUE_GATE,
    VALUE_NORM_GATE,
    VALUES,
    Array,
    error,
    gradient_gate,
    inputs,
    norm_error,
    parameter_sets,
)

ROWS = [(row, parameters) for row in ACTIVATIONS.values() for parameters in parameter_sets(row)]
IDS = [f"{row.name}-{'-'.join(f'{v:.3g}' for v in p.values())}" for row, p in ROWS]
all_rows = pytest.mark.parametrize(("row", "parameters"), ROWS, ids=IDS)
both_precisions = pytest.mark.parametrize("dtype", ["float32", "float64"])
BACKEND = NumpyBackend()


def value(row: Operation, x: Array, parameters: dict[str, float]) -> Array:
    out = np.full_like(x, np.nan)
    BACKEND.activate(row, x, parameters, out)
    return out


def gradient(row: Operation, x: Array, upstream: Array, parameters: dict[str, float]) -> Array:
    out = np.full_like(x, np.nan)
    BACKEND.backpropagate(row, x, value(row, x, parameters), upstream, parameters, out)
    return out


def rounded(parameters: dict[str, float], dtype: str) -> dict[str, float]:
    return {name: float(np.asarray(number, dtype)) for name, number in parameters.items()}


def gradient_check(row: Operation, parameters: dict[str, float], seed: int = 0) -> float:
    """Worst error of upstream * f'(x) against float64 central differences, upstream random, kinks avoided."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0.0, 2.5, 4096)
    h = 1e-5
    for kink in row.kinks:
        x = x[np.abs(x - kink) > 4.0 * h]
    upstream = rng.normal(size=x.shape)
    numeric = upstream * (value(row, x + h, parameters) - value(row, x - h, parameters)) / (2.0 * h)
    return float(np.max(np.abs(gradient(row, x, upstream, parameters) - numeric)))


@all_rows
def test_gradient_equals_central_differences(row: Operation, parameters: dict[str, float]) -> None:
    assert gradient_check(row, parameters) < 2e-9


@pytest.mark.parametrize("row", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_gradient_check_catches_a_flipped_sign(row: Operation) -> None:
    flipped = dataclasses.replace(row, gradient=f"-({row.gradient})")
    assert gradient_check(flipped, row.defaults) > 0.1


@pytest.mark.parametrize("row", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_gradient_check_catches_an_error_in_the_fifth_digit(row: Operation) -> None:
    scaled = dataclasses.replace(row, gradient=f"1.00001 * ({row.gradient})")
    assert gradient_check(scaled, row.defaults) > 1e-6


@all_rows
def test_gradient_at_a_kink_is_the_derivative_from_the_left(row: Operation, parameters: dict[str, float]) -> None:
    for kink in row.kinks:
        at, h = np.array([kink]), 1e-7
        left = (value(row, at, parameters) - value(row, at - h, parameters)) / h
        np.testing.assert_allclose(gradient(row, at, np.ones(1), parameters), left, atol=1e-6)


@pytest.mark.parametrize("row", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_the_derivative_jumps_exactly_where_kinks_are_declared(row: Operation) -> None:
    parameters = {p.name: p.low + 0.3 * (p.high - p.low) for p in row.parameters}
    grid = np.arange(-8.0, 8.0, 0.125)
    ones, h = np.ones_like(grid), 1e-6
    jump = np.abs(gradient(row, grid + h, ones, parameters) - gradient(row, grid - h, ones, parameters))
    assert tuple(grid[jump > 1e-3]) == row.kinks


@all_rows
@both_precisions
def test_value_and_gradient_equal_the_reference(row: Operation, parameters: dict[str, float], dtype: str) -> None:
    x = inputs(dtype)
    upstream = np.random.default_rng(1).normal(size=x.shape).astype(dtype)
    exact, wide = rounded(parameters, dtype), x.astype(np.float64)
    expected = VALUES[row.name](wide, exact), upstream.astype(np.float64) * DERIVATIVES[row.name](wide, exact)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        result = value(row, x, parameters), gradient(row, x, upstream, parameters)
    assert result[0].dtype == result[1].dtype == np.dtype(dtype)
    assert error(result[0], expected[0]) <= VALUE_GATE
    assert error(result[1], expected[1]) <= gradient_gate(row)
    if dtype == "float32":
        moderate = np.abs(x) < 30.0
        assert norm_error(result[0][moderate], expected[0][moderate]) <= VALUE_NORM_GATE
        assert norm_error(result[1], expected[1]) <= GRADIENT_NORM_GATE


def test_gates_catch_a_constant_with_four_digits() -> None:
    planted = dataclasses.replace(ACTIVATIONS["gelu_erf"], value="0.5 * x * (1 + erf(0.7071 * x))")
    x = inputs("float32")
    assert error(value(planted, x, {}), VALUES["gelu_erf"](x.astype(np.float64), {})) > 10.0 * VALUE_GATE


@all_rows
@both_precisions
def test_tiny_inputs_keep_their_relative_precision(row: Operation, parameters: dict[str, float], dtype: str) -> None:
    info = np.finfo(dtype)
    x = np.array([1e-20, 1e-30, float(info.smallest_normal), float(info.smallest_subnormal)], dtype)
    x = np.concatenate([x, -x])
    expected = VALUES[row.name](x.astype(np.float64), rounded(parameters, dtype))
    result = value(row, x, parameters)
    assert np.all(np.abs(result - expected) <= 4 * info.eps * np.abs(expected) + 2 * float(info.smallest_subnormal))


LIMITS = {
    "identity": (-math.inf, math.inf, 1.0, 1.0),
    "sigmoid": (0.0, 1.0, 0.0, 0.0),
    "tanh": (-1.0, 1.0, 0.0, 0.0),
    "relu": (0.0, math.inf, 0.0, 1.0),
    "leaky_relu": (-math.inf, math.inf, 0.01, 1.0),
    "elu": (-1.0, math.inf, 0.0, 1.0),
    "softplus": (0.0, math.inf, 0.0, 1.0),
    "selu": (-1.7580993408473766, math.inf, 0.0, 1.0507009873554805),
}


@pytest.mark.parametrize("name", LIMITS)
@both_precisions
def test_infinite_inputs_give_the_limit(name: str, dtype: str) -> None:
    row, x = ACTIVATIONS[name], np.array([-np.inf, np.inf], dtype)
    low, high, low_slope, high_slope = (np.asarray(number, dtype) for number in LIMITS[name])
    np.testing.assert_array_equal(value(row, x, row.defaults), [low, high])
    np.testing.assert_allclose(gradient(row, x, np.ones_like(x), row.defaults), [low_slope, high_slope], atol=1e-6)


@pytest.mark.parametrize("row", ACTIVATIONS.values(), ids=ACTIVATIONS)
@both_precisions
def test_large_inputs_stay_finite_and_nan_is_not_hidden(row: Operation, dtype: str) -> None:
    x = np.array([-1e12, 1e12, np.nan], dtype)
    result = value(row, x, row.defaults)
    slope = gradient(row, x, np.ones_like(x), row.defaults)
    assert np.isfinite(result[:2]).all()
    assert np.isfinite(slope[:2]).all()
    assert np.isnan(result[2])


def test_the_table_is_complete_and_every_row_is_documented() -> None:
    names = ["identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "gelu_erf", "silu", "softplus", "selu"]
    assert list(ACTIVATIONS) == names
    assert set(VALUES) == set(DERIVATIVES) == set(names)
    for name, row in ACTIVATIONS.items():
        assert row.name == name
        assert row.doc.endswith(".")
        assert row.source
        for parameter in row.parameters:
            assert parameter.low <= parameter.default <= parameter.high
            assert parameter.doc


@pytest.mark.parametrize(("a", "b"), list(itertools.combinations(ACTIVATIONS, 2)))
def test_no_two_rows_are_the_same_function(a: str, b: str) -> None:
    x = np.linspace(-3.0, 3.0, 101)
    first, second = (value(ACTIVATIONS[name], x, ACTIVATIONS[name].defaults) for name in (a, b))
    assert np.max(np.abs(first - second)) > 1e-5


@pytest.mark.parametrize("name", ["x", "upstream", "pi", "exp", "sigmoid", "Alpha", "", "9a", "a b", "a" * 33])
def test_a_parameter_name_that_means_something_else_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        Operation("custom", "x", "1", "doc", "source", parameters=(Parameter(name, 1.0, 0.0, 2.0, "doc"),))


def test_a_written_operation_works_like_a_row() -> None:
    row = Operation(
        "custom",
        value="x * sigmoid(beta*x)",
        gradient="sigmoid(beta*x) + beta*y*(1 - sigmoid(beta*x))",
        doc="Swish.",
        source="test",
        parameters=(Parameter("beta", 1.5, 0.1, 10.0, "steepness"),),
    )
    assert gradient_check(row, row.defaults) < 2e-9
    assert gradient_check(row, {"beta": 0.7}, seed=3) < 2e-9
