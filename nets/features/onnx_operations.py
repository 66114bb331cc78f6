"""The array operations that featurisers are written in, as nodes of an ONNX graph, in double."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nets.features.fitted import FittedFeatures
from nets.onnx_graph import DOUBLE, FLOAT, INTEGER, Graph


def _of(operator: str) -> Callable[..., OnnxTensor]:
    """The operator of a tensor and what stands beside it."""
    return lambda first, *others: first.node(operator, first, *others)


def _of_both(operator: str) -> tuple[Callable[..., OnnxTensor], Callable[..., OnnxTensor]]:
    """The operator of two, with the tensor on the left and on the right."""
    return _of(operator), lambda right, left: right.node(operator, left, right)


class OnnxTensor:
    """A result of a graph that calculates as an array does; what stands beside it becomes a constant of the graph."""

    __array_ufunc__ = None
    """Has NumPy leave `array + tensor` to the tensor."""

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name

    def node(self, operator: str, *arguments: Any, **attributes: Any) -> OnnxTensor:
        """An operator of tensors, arrays and numbers."""
        names = [self.operand(argument) for argument in arguments]
        return OnnxTensor(self.graph, self.graph.node(operator, names, **attributes))

    def operand(self, value: Any, dtype: str = "float64") -> str:
        """The name of a tensor, or of the constant that a value becomes."""
        return value.name if isinstance(value, OnnxTensor) else self.graph.constant(value, dtype)

    __add__, __radd__ = _of_both("Add")
    __sub__, __rsub__ = _of_both("Sub")
    __mul__, __rmul__ = _of_both("Mul")
    __truediv__ = _of("Div")
    __matmul__ = _of("MatMul")
    __gt__ = _of("Greater")
    __ge__ = _of("GreaterOrEqual")
    __abs__ = _of("Abs")


class OnnxOperations:
    """What `NumpyOperations` does, of tensors."""

    @staticmethod
    def take(x: OnnxTensor, places: NDArray[np.int64]) -> OnnxTensor:
        """x (n, K) at places (k,) -> (n, k)."""
        return x.node("Gather", x, OnnxTensor(x.graph, x.operand(places, "int64")), axis=1)

    @staticmethod
    def where(condition: OnnxTensor, left: Any, right: Any) -> OnnxTensor:
        """Numbers of the left where the condition holds, else of the right."""
        return condition.node("Where", condition, left, right)

    maximum = staticmethod(_of("Max"))
    minimum = staticmethod(_of("Min"))
    floor = staticmethod(_of("Floor"))
    sqrt = staticmethod(_of("Sqrt"))

    @staticmethod
    def reshape(x: OnnxTensor, width: int) -> OnnxTensor:
        """The same numbers in rows of this width."""
        return x.node("Reshape", x, OnnxTensor(x.graph, x.operand([-1, width], "int64")))

    @staticmethod
    def argmax(x: OnnxTensor) -> OnnxTensor:
        """The first place of the largest number along the last axis."""
        return x.node("Cast", x.node("ArgMax", x, axis=-1, keepdims=0), to=DOUBLE)

    @staticmethod
    def histogram(codes: OnnxTensor, votes: Any, size: int) -> OnnxTensor:
        """Sum of votes (n, P) or one number, for each of the codes 0..size-1 in codes (n, P): (n, size)."""
        graph = codes.graph
        rows = graph.node("Gather", [graph.node("Shape", [codes.name]), graph.constant([0], "int64")])
        shape = graph.node("Concat", [rows, graph.constant([size], "int64")], axis=0)
        empty = OnnxTensor(graph, graph.node("Expand", [graph.constant(0, "float64"), shape]))
        places = codes.node("Cast", codes, to=INTEGER)
        return codes.node("ScatterElements", empty, places, codes * 0 + votes, axis=1, reduction="add")


def traced(made: FittedFeatures, graph: Graph, cells: str) -> list[str | None]:
    """The inputs (n, width) that each featuriser makes of images (n, F), standardised, float; None for the raw ones."""
    scaled = (OnnxTensor(graph, cells) - made.low) / (made.high - made.low)
    parts: list[str | None] = []
    begin = 0
    for one, learnt in zip(made.chosen, made.learnt, strict=True):
        if one.row.measure is None:
            parts.append(None)
            continue
        part = slice(begin, begin + one.row.width(made.image, one.options))
        found = one.row.measure(OnnxOperations, scaled, made.image.shape, one.options, learnt)
        standard = (found - made.mean[part]) / made.std[part]
        parts.append(standard.node("Cast", standard, to=FLOAT).name)
        begin = part.stop
    return parts
