"""The language accepts its grammar, means what it says, and refuses everything else at the right column."""

from __future__ import annotations

import ast
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kernels.errors import InvalidInput
from kernels.expressions import CONSTANTS, MACROS, ExpressionError, Limits, parse
from kernels.programs import Evaluator
from kernels.tape import FUNCTIONS, PRIMITIVES, Expression


def value(text: str, **names: float) -> float:
    """The expression at one point, in float64."""
    expression = parse(text, tuple(names))
    arrays = tuple(np.array([number]) for number in names.values())
    out = np.empty(1)
    Evaluator().evaluate(expression, tuple(names), arrays, (), out)
    return float(out[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7.0),
        ("2 * 3 + 1", 7.0),
        ("8 / 4 / 2", 1.0),
        ("8 - 4 - 2", 2.0),
        ("-x**2", -9.0),
        ("(-x)**2", 9.0),
        ("2 * -x", -6.0),
        ("- -x", 3.0),
        ("+x", 3.0),
        ("x**5", 243.0),
        ("x**16", 43046721.0),
        ("1.5e1 + .5 + 2.", 17.5),
        ("pi", math.pi),
        ("abs(-x)", 3.0),
        ("maximum(x, 4) - minimum(x, 4)", 1.0),
        ("where(x > 3, 1, 2)", 2.0),
        ("where(x >= 3, 1, 2)", 1.0),
        ("where(x < 3, 1, 2)", 2.0),
        ("where(x <= 3, 1, 2)", 1.0),
        ("where(2 > 1, x, -x)", 3.0),
        ("where(x > 1, 1, 0) + where(x > 9, 1, 0)", 1.0),
        ("sigmoid(0)", 0.5),
        ("softplus(x) - x - log1p(exp(-x))", 0.0),
        ("expm1(log1p(x))", 3.0),
        ("log(exp(x))", 3.0),
        ("sqrt(x * x)", 3.0),
        ("erf(0) + tanh(0)", 0.0),
        (" x\t+ x ", 6.0),
    ],
)
def test_a_text_means_what_mathematics_says(text: str, expected: float) -> None:
    assert value(text, x=3.0) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 1),
        ("   ", 4),
        ("x +", 4),
        ("x + * x", 5),
        ("x x", 3),
        ("2x", 2),
        ("x + foo", 5),
        ("foo(x)", 1),
        ("exp", 4),
        ("exp()", 5),
        ("exp(x", 6),
        ("exp(x, x)", 1),
        ("where(x, 1, 2)", 1),
        ("maximum(x > 0, 1)", 1),
        ("sigmoid(x > 0)", 1),
        ("x > 0", 1),
        ("-(x > 0)", 1),
        ("+(x > 0)", 1),
        ("x < 1 < 2", 7),
        ("x ** x", 6),
        ("x**2.0", 4),
        ("x**-1", 4),
        ("x**17", 4),
        ("x**2**2", 5),
        ("x = 1", 3),
        ("x == 1", 3),
        ("x.real", 2),
        ("x[0]", 2),
        ("__import__('os')", 12),
        ("__import__(x)", 1),
        ("lambda: x", 7),
        ("lambda x", 1),
        ("x if x else x", 3),
        ("x; x", 2),
        ("x\nx", 2),
        ("x # y", 3),
        ("'x'", 1),
        ("0x10", 2),
        ("1_000", 2),
        ("1e999", 1),
        ("1e-60", 1),
        ("1e30 * 1e30", 6),
        ("1 / 0", 3),
        ("log(0)", 1),
        ("sqrt(0 - 1)", 1),
        ("ｘ", 1),
        ("x + é", 5),
        ("x\x00", 2),
        ("x + multiply(x, x)", 5),
        ("indicator(x > 0)", 1),
        ("x)", 2),
        ("(x", 3),
        ("\ud800", 1),
    ],
)
def test_a_refusal_points_at_the_character(text: str, column: int) -> None:
    with pytest.raises(ExpressionError) as refusal:
        parse(text, ("x",), pointer="/net/activation/expression")
    assert refusal.value.column == column
    assert refusal.value.errors[0].pointer == "/net/activation/expression"
    assert f"column {column}:" in str(refusal.value)
    assert isinstance(refusal.value, InvalidInput)


def test_length_depth_and_steps_are_limited() -> None:
    limits = Limits(characters=40, depth=4, steps=6)
    for allowed in ("((((x))))", "----x", "x*x + x/x - exp(x)"):
        assert parse(allowed, ("x",), limits).names == ("x",)
    refused = {"x + " * 10 + "x": 41, "(((((x)))))": 5, "-----x": 5, "x*x + x/x - exp(x)*tanh(x)": 19}
    for text, column in refused.items():
        with pytest.raises(ExpressionError) as refusal:
            parse(text, ("x",), limits)
        assert refusal.value.column == column, text


def test_the_longest_and_deepest_text_allowed_needs_no_deep_stack() -> None:
    limits = Limits()
    for text in ("-" * limits.depth + "x", "(" * limits.depth + "x" + ")" * limits.depth):
        assert parse(text, ("x",)).names == ("x",)
    for text in ("(" * 499, "-" * 499, "exp(" * 125, "x**2" * 125, "where(" * 83):
        with pytest.raises(ExpressionError):
            parse(text, ("x",))


ALPHABET = st.sampled_from(
    [
        *"xy0123456789.+-*/()<>=,_ \t\n\0'\"\\[]{}:;@#!é",
        *FUNCTIONS,
        *MACROS,
        *CONSTANTS,
        "**",
        "1e9",
        "where(x>0,",
        "__class__",
        "lambda",
    ]
)


def attempt(text: str) -> Expression | ExpressionError:
    """What parsing gives; any other exception ends the test."""
    try:
        return parse(text, ("x", "y"))
    except ExpressionError as refusal:
        return refusal


def well_formed(expression: Expression) -> None:
    """A tape refers backwards only, consists of primitives, and fits the limits."""
    for index, step in enumerate(expression.steps):
        assert step.function in PRIMITIVES or step.function in ("name", "constant")
        assert all(argument < index for argument in step.arguments)
        assert not step.name or step.name in ("x", "y")
        assert math.isfinite(step.constant)
    assert len(expression.steps) <= Limits().steps


@settings(max_examples=400, database=None)
@given(st.one_of(st.text(max_size=60), st.lists(ALPHABET, max_size=40).map("".join)))
def test_hostile_text_is_refused_or_harmless(text: str) -> None:
    outcome = attempt(text)
    if isinstance(outcome, ExpressionError):
        assert 1 <= outcome.column <= len(text) + 1
    else:
        well_formed(outcome)


def texts() -> st.SearchStrategy[str]:
    """Valid texts over x and y, built from the grammar."""
    leaves = st.sampled_from(["x", "y", "2", "0.5", "1e-3", "pi"])
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["+", "-", "*", "/"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
            st.tuples(st.sampled_from(["exp", "tanh", "abs", "sigmoid", "sqrt", "log1p"]), inner).map(
                lambda t: f"{t[0]}({t[1]})"
            ),
            st.tuples(st.sampled_from(["maximum", "minimum"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
            st.tuples(inner, st.sampled_from(["<", ">="]), inner, inner, inner).map(
                lambda t: f"where({t[0]} {t[1]} {t[2]}, {t[3]}, {t[4]})"
            ),
            inner.map(lambda t: f"-{t}"),
            inner.map(lambda t: f"{t}**2" if t[0] != "-" else t),
        ),
        max_leaves=8,
    )


def oracle(node: ast.expr, names: dict[str, np.ndarray]) -> np.ndarray:
    """An independent evaluator over Python's own parse of the same text."""
    functions = {name: getattr(np, name, None) for name in FUNCTIONS} | {"sigmoid": lambda t: 1.0 / (1.0 + np.exp(-t))}
    binary = {ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide, ast.Pow: np.power}
    compare = {ast.Lt: np.less, ast.GtE: np.greater_equal}
    match node:
        case ast.Constant(value=number):
            return np.float64(number)
        case ast.Name(id=name):
            return names[name]
        case ast.UnaryOp(operand=operand):
            return -oracle(operand, names)
        case ast.BinOp(left=left, op=op, right=right):
            return binary[type(op)](oracle(left, names), oracle(right, names))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return compare[type(op)](oracle(left, names), oracle(right, names))
        case ast.Call(func=ast.Name(id=name), args=args):
            return functions[name](*(oracle(a, names) for a in args))
    raise AssertionError(ast.dump(node))


@settings(max_examples=200, database=None)
@given(texts())
def test_random_expressions_equal_an_independent_evaluator(text: str) -> None:
    expression = attempt(text)
    assume(isinstance(expression, Expression))  # else a constant part has no finite value
    x, y = np.random.default_rng(0).normal(size=(2, 50))
    out = np.empty(50)
    with np.errstate(all="ignore"):
        Evaluator().evaluate(expression, ("x", "y"), (x, y), (), out)
        expected = np.broadcast_to(
            oracle(ast.parse(text, mode="eval").body, {"x": x, "y": y, "pi": np.float64(np.pi)}), 50
        )
    np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-12, err_msg=text)


def test_equal_parts_are_computed_once_and_constants_folded() -> None:
    expression = parse("exp(-x) / (1 + exp(-x)) + 2 * 3 * 1", ("x",))
    assert [step.function for step in expression.steps].count("exp") == 1
    assert 6.0 in [step.constant for step in expression.steps]
    assert [s.function for s in parse("1 * x * 1", ("x",)).steps] == ["name"]
    assert [s.function for s in parse("where(x > 0, 1, 0)", ("x",)).steps][-1] == "indicator"


def test_fusing_the_upstream_gradient_of_one_leaves_only_the_upstream() -> None:
    assert parse("1", ("x",)).times("upstream").names == ("upstream",)
    assert len(parse("1", ("x",)).times("upstream").steps) == 1
