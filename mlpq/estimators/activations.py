"""Activations in NumPy: the service's formulas, and those that a user wrote."""

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

SELU = (1.0507009873554805, 1.7580993408473766)
"""λ and λα of Klambauer et al. 2017."""


def _softplus(x: Any) -> Any:
    return np.logaddexp(0.0, x)


def _gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def _elu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


_FUNCTIONS: Mapping[str, Function] = {
    "identity": lambda x: x,
    "sigmoid": expit,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x, alpha=0.01: np.where(x > 0, x, alpha * x),
    "elu": _elu,
    "gelu": _gelu,
    "gelu_erf": lambda x: 0.5 * x * (1 + erf(math.sqrt(0.5) * x)),
    "silu": lambda x: x * expit(x),
    "softplus": _softplus,
    "selu": lambda x: np.where(x > 0, SELU[0] * x, SELU[1] * np.expm1(np.minimum(x, 0))),
}

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


def activate(x: Array, activation: str | Mapping[str, Any]) -> Array:
    """f(x), elementwise; `activation` as in a job's spec: a name, or an object with the name and its settings."""
    given = {"name": activation} if isinstance(activation, str) else dict(activation)
    name = given.pop("name")
    if name == "custom":
        names = {key: value for key, value in given.items() if key != "expression"}
        return np.asarray(_value(ast.parse(given["expression"].strip(), mode="eval").body, {**names, "x": x}) + 0 * x)
    if name not in _FUNCTIONS:
        raise InvalidArgumentError(f"the net has the activation {name!r}, which this version does not know")
    return np.asarray(_FUNCTIONS[name](x, **given))


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
