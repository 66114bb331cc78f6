"""Formulas of users: differentiated right, refused where they cannot work, and the same on every device."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.cupy_backend import elementwise_kernel
from kernels.custom import RANGE, custom_operation
from kernels.derivative import derivative
from kernels.errors import InvalidInput
from kernels.expressions import ExpressionError, parse
from kernels.numpy_backend import NumpyBackend
from kernels.operations import ACTIVATIONS, Operation
from kernels.programs import Evaluator
from tests.kernels.cuda_support import ARCHITECTURES, CONTIGUOUS, HostLibrary, Kernel, compile_cubin
from tests.kernels.references import DERIVATIVES

BACKEND = NumpyBackend()
GOOD = [
    ("x * sigmoid(beta*x)", {"beta": 1.5}, ()),
    ("x * tanh(softplus(x))", {}, ()),
    ("x * minimum(maximum(x + 3, 0), 6) / 6", {}, (-3.0, 3.0)),
    ("where(x > 0, x, a * expm1(minimum(x, 0)))", {"a": 0.5}, (0.0,)),
    ("abs(x - 0.5) + maximum(b*x, x/2)", {"b": 0.1}, (0.0, 0.5)),
    ("x / (1 + abs(x))", {}, ()),
    ("sqrt(x*x + 1) - 1", {}, ()),
    ("log1p(exp(-abs(x))) * erf(x) - log(2 + x**2)", {}, None),
    ("exp(-x**2 / 2)", {}, ()),
    ("exp(x)", {}, ()),
    ("-x", {}, ()),
    ("2", {}, ()),
]
operations = pytest.mark.parametrize(("text", "numbers", "kinks"), GOOD, ids=[text for text, _, _ in GOOD])


def value(operation: Operation, x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    BACKEND.activate(operation, x, operation.defaults, out)
    return out


def pullback(operation: Operation, x: np.ndarray, upstream: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    BACKEND.backpropagate(operation, x, value(operation, x), upstream, operation.defaults, out)
    return out


@operations
def test_the_gradient_equals_central_differences_with_random_upstream(text, numbers, kinks) -> None:
    operation = custom_operation(text, numbers)
    rng = np.random.default_rng(0)
    x, h = rng.normal(0, 2.5, 4000), 1e-5
    for kink in operation.kinks:
        x = x[np.abs(x - kink) > 4 * h]
    upstream = rng.normal(size=x.shape)
    numeric = upstream * (value(operation, x + h) - value(operation, x - h)) / (2 * h)
    found = pullback(operation, x, upstream)
    assert np.max(np.abs(found - numeric) / np.maximum(1, np.abs(numeric))) < 1e-8
    if kinks is not None:
        assert operation.kinks == pytest.approx(kinks, abs=1e-8)


@pytest.mark.parametrize("row", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_the_derivative_of_every_row_is_the_one_written_by_hand(row: Operation) -> None:
    slope = derivative(row.value_expression)
    x = np.concatenate([np.random.default_rng(1).normal(0, 3, 2000), np.linspace(-20, 20, 401) + 0.01])
    y, out = value(row, x), np.empty_like(x)
    Evaluator().evaluate(slope, ("x", "y"), (x, y), tuple(row.defaults.items()), out)
    np.testing.assert_allclose(out, DERIVATIVES[row.name](x, row.defaults), rtol=1e-11, atol=1e-13)


def test_pieces_that_meet_smoothly_have_their_slope_where_they_meet() -> None:
    for text, slope in (("sigmoid(x)", 0.25), ("sigmoid(-x)", -0.25), ("softplus(x)", 0.5), ("x * sigmoid(3*x)", 0.5)):
        operation = custom_operation(text, {})
        assert operation.kinks == ()
        assert pullback(operation, np.zeros(1), np.ones(1))[0] == slope, text


NAMES = st.sampled_from(["x", "1", "0.5", "2", "c"])
FORMULAS = st.recursive(
    NAMES,
    lambda part: st.one_of(
        st.tuples(st.sampled_from(["tanh", "sigmoid", "softplus", "erf", "abs"]), part).map(
            lambda p: f"{p[0]}({p[1]})"
        ),
        st.tuples(part, st.sampled_from("+-*"), part).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(part, part).map(lambda p: f"{p[0]} / (1 + ({p[1]})**2)"),
        st.tuples(part, part).map(lambda p: f"maximum({p[0]}, {p[1]})"),
        st.tuples(part, part, part).map(lambda p: f"where({p[0]} > 0, {p[1]}, {p[2]})"),
    ),
    max_leaves=8,
)


@given(FORMULAS)
def test_any_formula_is_proved_or_refused_at_a_field_and_its_derivative_is_right(text: str) -> None:
    numbers = {"c": 0.75} if "c" in text else {}
    try:
        operation = custom_operation(text, numbers)
    except InvalidInput as refusal:
        assert {error.pointer for error in refusal.errors} <= {"/expression", "/c"}  # noqa: PT017
        return
    x, h = np.linspace(-3, 3, 500) + 1e-4 * math.pi, 1e-6
    for kink in operation.kinks:
        x = x[np.abs(x - kink) > 1e-3]
    numeric = (value(operation, x + h) - value(operation, x - h)) / (2 * h)
    slope = pullback(operation, x, np.ones_like(x))
    np.testing.assert_allclose(slope, numeric, rtol=1e-4, atol=1e-5 * (1 + np.abs(value(operation, x)).max()))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 / x", "not finite at x = 0"),
        ("1 / (x - 0.3141)", "near x = 0.3141"),
        ("1 / (x - 0.3141)**2", "pole near x = 0.3141"),
        ("log(x)", "not finite"),
        ("sqrt(x)", "not finite"),
        ("sqrt(abs(x))", "derivative is not finite at x = 0"),
        ("log(abs(x - 0.123))", "pole near x = 0.123"),
        ("1 / (x - 29.99999)", "pole near x = 30"),
        ("1 / (x + 29.9971)", "pole near x = -30"),
        ("exp(x*x)", "float32"),
        ("x**16 * x**16", "float32"),
        ("where(x > 0, 1, 0)", "jumps near x = 0;"),
        ("where(x > 0.777, x + 0.01, x)", "jumps near x = 0.777"),
        ("0 * (x / 0)", "derivative|not finite"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_the_place(text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        custom_operation(text, {})
    assert caught.value.errors[0].pointer == "/expression"


@pytest.mark.parametrize("text", ["exp(x)", "exp(-x)", "x**8", "x * exp(x)"])
def test_what_grows_towards_the_ends_of_the_range_has_no_pole_there(text: str) -> None:
    assert custom_operation(text, {}).kinks == ()


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("x +", 4),
        ("x * foo(x)", 5),
        ("x; x", 2),
        ("__import__('os')", 12),
        ("os.x", 3),
        ("_x", 1),
        ("x * beta", 5),
        ("x(1)", 2),
        ("x * 01", 6),
    ],
)
def test_what_cannot_be_read_is_refused_at_its_column(text: str, column: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        custom_operation(text, {})
    assert caught.value.column == column
    assert f"column {column}:" in str(caught.value)


def test_parameters_must_be_used_and_may_not_hide_anything() -> None:
    for numbers, pointer in (
        ({"unused": 1.0}, "/unused"),
        ({"x": 1.0}, "/x"),
        ({"tanh": 1.0}, "/tanh"),
        ({"B": 1.0}, "/B"),
        ({"lambda": 1.0}, "/lambda"),
    ):
        with pytest.raises(InvalidInput) as caught:
            custom_operation("x * 2", numbers)
        assert caught.value.errors[0].pointer == pointer
    many = {f"p{i}": 1.0 for i in range(9)}
    with pytest.raises(InvalidInput, match="may have 8"):
        custom_operation(" + ".join(many) + " + x", many)


def test_equal_formulas_are_one_object_and_other_texts_have_other_names() -> None:
    one = custom_operation("x * a", {"a": 2.0})
    assert custom_operation("x * a", {"a": 2.0}) is one
    assert custom_operation("x * a", {"a": 3.0}).name == one.name
    assert custom_operation("a * x", {"a": 2.0}).name != one.name


def test_a_derivative_shares_the_value_and_leaves_out_what_is_zero() -> None:
    assert [step.function for step in derivative(parse("tanh(x)", ("x",))).steps].count("tanh") == 0
    assert derivative(parse("3 * a", ("x", "a"))).steps[-1].constant == 0
    assert len(derivative(parse("a + x", ("x", "a"))).steps) == 1
    assert len(derivative(parse("x - x", ("x",))).steps) == 1


def kernel_of(operation: Operation, which: str, dtype: str) -> Kernel:
    expression = operation.value_expression if which == "value" else operation.pullback_expression
    scalars = tuple(f"in_{name}" for name in operation.parameter_names)
    return Kernel(elementwise_kernel(f"{operation.name}_{which}", expression, np.dtype(dtype)), scalars, CONTIGUOUS)


USED = [(text, numbers) for text, numbers, _ in GOOD if "x" in text]
ALL = [(t, n, w, d) for t, n in USED for w in ("value", "gradient") for d in ("float32", "float64")]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_formula_compiles_for_the_device(architecture: str) -> None:
    sources = [kernel_of(custom_operation(t, n), w, d).source() for t, n, w, d in ALL]
    assert compile_cubin(sources, architecture).startswith(b"\x7fELF")


def test_kernels_of_formulas_agree_with_numpy_on_the_host(tmp_path: Path) -> None:
    host = HostLibrary([kernel_of(custom_operation(t, n), w, d) for t, n, w, d in ALL], tmp_path)
    rng = np.random.default_rng(2)
    for text, numbers, which, dtype in ALL:
        operation = custom_operation(text, numbers)
        x = np.concatenate([rng.normal(0, 3, 900), np.linspace(-RANGE, RANGE, 100)]).astype(dtype)
        y, upstream, out = value(operation, x), rng.normal(size=1000).astype(dtype), np.full(1000, np.nan, dtype)
        expected = y if which == "value" else pullback(operation, x, upstream)
        expression = operation.value_expression if which == "value" else operation.pullback_expression
        arrays = {"x": x, "y": y, "upstream": upstream, **operation.defaults}
        host.run(kernel_of(operation, which, dtype), [arrays[name] for name in expression.names], out)
        tolerance = 2e-6 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance, err_msg=f"{text} {which} {dtype}")
