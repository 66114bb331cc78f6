"""A trained net as an ONNX file, written without the onnx package: raw rows in, probabilities or predictions out.

Input `x` (n, columns) double: numbers as they are, categories and truth values as their places in the column's list of
categories, date-times as seconds since 1970; NaN is missing. Preparation runs in double, the net in float. Outputs:
`scores` (n, out); for classes `probabilities` (n, classes) where the loss gives them; for regression `predictions` (n,)
double in the target's unit. Metadata hold `columns` and `classes` as JSON. Operators of version 17.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.errors import InvalidInput
from kernels.tape import Expression
from nets import protobuf
from nets.batch_norm import EPSILON
from nets.features.onnx_operations import traced
from nets.losses import LOSSES
from nets.network import Activation, activations_of
from nets.onnx_graph import DOUBLE, FLOAT, INTEGER, Graph, Pieces, in_bytes
from nets.preprocess import CYCLES_S, Preprocessing
from nets.spec import ResolvedSpec
from nets.table import TableInfo

Outputs = dict[str, tuple[str, tuple[int, ...]]]
"""Type and shape, behind n, by name."""

Arrays = Mapping[str, NDArray[Any]]

OPSET, IR_VERSION = 17, 8
MAX_BYTES = (1 << 31) - (1 << 20)
"""Of one message of Protocol Buffers, less what the net's description takes."""

_OPERATORS = {
    "abs": "Abs",
    "add": "Add",
    "divide": "Div",
    "erf": "Erf",
    "exp": "Exp",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "less": "Less",
    "less_equal": "LessOrEqual",
    "log": "Log",
    "maximum": "Max",
    "minimum": "Min",
    "multiply": "Mul",
    "negative": "Neg",
    "sqrt": "Sqrt",
    "subtract": "Sub",
    "tanh": "Tanh",
    "where": "Where",
}
"""Primitives of formulas that are one operator here."""


def to_onnx(arrays: Arrays) -> bytes:
    """The file for the arrays of a weights file. Raises InvalidInput where it would be too large for the format."""
    return b"".join(in_bytes(_pieces(arrays)))


def write_onnx(arrays: Arrays, path: Path) -> None:
    """The same file, a piece at a time."""
    with path.open("wb") as file:
        file.writelines(in_bytes(_pieces(arrays)))


def _pieces(arrays: Arrays) -> Pieces:
    if sum(array.nbytes for array in arrays.values()) > MAX_BYTES:
        raise InvalidInput.at("/query/format", "is onnx, which holds at most 2 GiB; take safetensors")
    meta = json.loads(str(arrays["meta"]))
    spec, info = ResolvedSpec.parse(meta["spec"]), TableInfo.from_json(meta["info"])
    graph = Graph()
    inputs = _prepared(graph, Preprocessing.from_arrays(arrays, spec.features))
    scores = _net(graph, inputs, arrays, activations_of(spec.net.activation))
    graph.node("Identity", [scores], output="scores")
    n_scores = info.n_outputs if not LOSSES[spec.loss.name].one_output else 1
    outputs: Outputs = {"scores": ("float32", (n_scores,))}
    outputs |= _answers(graph, scores, spec, info, arrays)
    described = {
        "classes": list(info.classes),
        "columns": [{"name": c.name, "kind": c.kind, "categories": list(c.categories)} for c in info.columns],
    }
    return _model(graph.message(len(info.columns), outputs), described)


def _model(graph: Pieces, described: Mapping[str, Any]) -> Pieces:
    parts: Pieces = [protobuf.integer(1, IR_VERSION), protobuf.text(2, "mlpq")]
    parts += [protobuf.head(7, sum(map(len, graph))), *graph]
    parts.append(protobuf.content(8, protobuf.text(1, "") + protobuf.integer(2, OPSET)))
    for key, value in described.items():
        parts.append(protobuf.content(14, protobuf.text(1, key) + protobuf.text(2, json.dumps(value))))
    return parts


def _prepared(graph: Graph, by: Preprocessing) -> str:
    """Raw rows -> inputs of the net (n, in), float: as `Preprocessing.transform`."""
    absent = graph.node("IsNaN", ["x"])
    filled = graph.node("Where", [absent, graph.constant(by.median, "float64"), "x"])
    if by.features is None:
        return _raw(graph, by, absent, filled)
    parts = [made or _raw(graph, by, absent, filled) for made in traced(by.features, graph, filled)]
    return graph.node("Concat", parts, axis=1)


def _raw(graph: Graph, by: Preprocessing, absent: str, filled: str) -> str:
    """The inputs that no featuriser makes."""
    shifted = graph.node("Sub", [filled, graph.constant(by.mean, "float64")])
    scaled = graph.node("Cast", [graph.node("Div", [shifted, graph.constant(by.std, "float64")])], to=FLOAT)
    if not (by.categorical.any() or by.dates.any() or by.indicator.any()):
        return scaled
    gaps = graph.node("Cast", [absent], to=FLOAT)
    parts, begin, run = [], 0, list[int]()
    for j in range(len(by.mean)):
        plain = not (by.categorical[j] or by.dates[j] or by.indicator[j])
        if plain:
            run.append(j)
            continue
        if run:
            parts.append(_columns(graph, scaled, run))
            run = []
        if by.categorical[j]:
            end = begin + int(by.categories[j]) + 1
            parts.append(_one_hot(graph, j, absent, by.slots[begin:end], by.width(j)))
            begin = end
            continue
        parts.append(_columns(graph, scaled, [j]))
        if by.dates[j]:
            parts.append(_cycles(graph, _columns(graph, filled, [j])))
        if by.indicator[j]:
            parts.append(_columns(graph, gaps, [j]))
    if run:
        parts.append(_columns(graph, scaled, run))
    return graph.node("Concat", parts, axis=1)


def _columns(graph: Graph, tensor: str, places: Sequence[int]) -> str:
    return graph.node("Gather", [tensor, graph.constant(places, "int64")], axis=1)


def _one_hot(graph: Graph, j: int, absent: str, slots: NDArray[np.int64], width: int) -> str:
    """A row of a table for each code; its last row, of zeros, is for missing ones."""
    table = np.zeros((len(slots) + 1, width), np.float32)
    known = np.flatnonzero(slots >= 0)
    table[known, slots[known]] = 1
    place = graph.constant(j, "int64")
    code = graph.node("Gather", ["x", place], axis=1)
    limits = [graph.constant(limit, "float64") for limit in (0, len(slots) - 1)]
    missing = graph.node("Gather", [absent, place], axis=1)
    code = graph.node("Where", [missing, graph.constant(len(slots), "float64"), graph.node("Clip", [code, *limits])])
    return graph.node("Gather", [graph.constant(table, "float32"), graph.node("Cast", [code], to=INTEGER)], axis=0)


def _cycles(graph: Graph, seconds: str) -> str:
    """Sine and cosine in turn of the place in each cycle, which is found in double and small when it becomes float."""
    turns = graph.node("Div", [seconds, graph.constant(np.repeat(CYCLES_S, 2), "float64")])
    turns = graph.node("Add", [turns, graph.constant([0, 0.25] * len(CYCLES_S), "float64")])  # cos t = sin(t + 1/4)
    place = graph.node("Cast", [graph.node("Sub", [turns, graph.node("Floor", [turns])])], to=FLOAT)
    return graph.node("Sin", [graph.node("Mul", [place, graph.constant(2 * np.pi, "float32")])])


def _net(graph: Graph, a: str, arrays: Arrays, activations: Sequence[Activation]) -> str:
    for layer in range(1, len(activations) + 2):
        z = graph.node("MatMul", [a, graph.constant(arrays[f"W{layer}"], "float32")])
        if f"b{layer}" in arrays:
            z = graph.node("Add", [z, graph.constant(arrays[f"b{layer}"], "float32")])
        if f"gamma{layer}" in arrays:
            factor = arrays[f"gamma{layer}"] / np.sqrt(arrays[f"running_var{layer}"].astype(np.float64) + EPSILON)
            term = arrays[f"beta{layer}"] - arrays[f"running_mean{layer}"] * factor
            z = graph.node("Mul", [z, graph.constant(factor, "float32")])
            z = graph.node("Add", [z, graph.constant(term, "float32")])
        if layer > len(activations):
            return z
        operation, numbers = activations[layer - 1]
        a = _applied(graph, operation.value_expression, z, numbers)
    raise AssertionError("a net has a last layer")


def _applied(graph: Graph, expression: Expression, x: str, numbers: Mapping[str, float]) -> str:
    """A formula of x, step by step."""
    found: list[str] = []
    for step in expression.steps:
        arguments = [found[index] for index in step.arguments]
        if step.function == "constant":
            found.append(graph.constant(step.constant, "float32"))
        elif step.function == "name":
            found.append(x if step.name == "x" else graph.constant(numbers[step.name], "float32"))
        elif step.function == "indicator":
            found.append(graph.node("Cast", arguments, to=FLOAT))
        elif step.function == "expm1":
            found.append(graph.node("Sub", [graph.node("Exp", arguments), graph.constant(1, "float32")]))
        elif step.function == "log1p":
            found.append(graph.node("Log", [graph.node("Add", [*arguments, graph.constant(1, "float32")])]))
        else:
            found.append(graph.node(_OPERATORS[step.function], arguments))
    return found[-1]


def _answers(graph: Graph, scores: str, spec: ResolvedSpec, info: TableInfo, arrays: Arrays) -> Outputs:
    """What the scores mean; the outputs that were added."""
    loss = LOSSES[spec.loss.name]
    if info.task == "regression":
        wide = graph.node("Cast", [scores], to=DOUBLE)
        own = graph.node("Mul", [wide, graph.constant(arrays["target_std"], "float64")])
        own = graph.node("Add", [own, graph.constant(arrays["target_mean"], "float64")])
        graph.node("Squeeze", [own, graph.constant([1], "int64")], output="predictions")
        return {"predictions": ("float64", ())}
    if loss.probabilities is None:
        return {}
    if loss.one_output:
        second = graph.node("Sigmoid", [scores])
        first = graph.node("Sigmoid", [graph.node("Neg", [scores])])
        graph.node("Concat", [first, second], output="probabilities", axis=1)
    else:
        graph.node("Softmax", [scores], output="probabilities", axis=1)
    return {"probabilities": ("float32", (len(info.classes),))}
