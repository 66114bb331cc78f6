"""Activations in NumPy, from the formulas that a weights file brings."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.special import erf, expit

from mlpq.arrays import Array
from mlpq.errors import InvalidArgumentError

Function = Callable[..., Any]


def _softplus(x: Any) -> Any:
    return np.logaddexp(0.0, x)


_CALLS: Mapping[str, Function] = {
    **{name: getattr(np, name) for name in ("exp", "expm1", "log", "log1p", "maximum", "minimum", "sqrt", "tanh")},
    "abs": np.abs,
    "erf": erf,
    "sigmoid": expit,
    "softplus": _softplus,
    "where": np.where,
}
_OPERATORS: Mapping[type[ast.AST], Function] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def activate(x: Array, formula: Mapping[str, Any]) -> Array:
    """f(x), elementwise; `formula` has the `expression` in x, and the numbers that it names."""
    names = {key: value for key, value in formula.items() if key != "expression"}
    return np.asarray(_value(ast.parse(formula["expression"].strip(), mode="eval").body, {**names, "x": x}) + 0 * x)


def _value(node: ast.AST, names: Mapping[str, Any]) -> Any:
    """A formula's value: numbers, names, operators and the calls above, nothing else."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.Name(id="pi"):
            return math.pi
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, names), _value(right, names))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(operand, names))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, names), _value(right, names))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _CALLS:
            return _CALLS[name](*(_value(argument, names) for argument in arguments))
    raise InvalidArgumentError(f"the formula holds {ast.unparse(node)!r}, which has no meaning here")
