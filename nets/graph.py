"""A computational graph as the lecture draws it: forward in topological order, backward in reverse.

    graph = Graph()
    x, y, z = graph.variable(-2, "x"), graph.variable(5, "y"), graph.variable(-4, "z")
    q = (x + y).named("q")
    f = (q * z).named("f")
    f.backward()
    print(graph)  # every node with its value and its gradient

Every gate knows only its own values and multiplies what comes from above with its own derivative:
downstream = upstream × local. Used twice, a node adds what comes back, so a copy adds. A node can only use
nodes that exist already: the order of creation is a topological order, and a cycle cannot be written.

A tool to learn and to check with, in float64 and of any shape; training runs on nets.network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kernels.errors import InvalidInput
from kernels.operations import ACTIVATIONS
from nets.gates import GATES, Floats, Gate


class Node:
    """A value in a graph, and after `backward` the gradient of what was asked for: both of one shape.

    Made by `Graph.variable` and by arithmetic: + - * / @, ** 2, and the methods below. A plain number gives a
    scale or shift gate, an array becomes a variable of its own.
    """

    __array_ufunc__ = None  # lets `array * node` reach Node.__rmul__

    def __init__(
        self, graph: Graph, name: str, gate: Gate | None, inputs: tuple[Node, ...], settings: tuple[float, ...]
    ):
        self.graph, self.name, self.gate, self.inputs, self.settings = graph, name, gate, inputs, settings
        self.value: Floats = np.zeros(())
        self.gradient: Floats | None = None
        """∂(what backward began with) / ∂(this node), in this node's shape; None before `backward`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value and of the gradient."""
        return self.value.shape

    @property
    def formula(self) -> str:
        """How the node is computed, `multiply(q, z)`; empty for a variable."""
        if self.gate is None:
            return ""
        inside = [node.name for node in self.inputs] + [f"{number:g}" for number in self.settings]
        return f"{self.gate.name}({', '.join(inside)})"

    def named(self, name: str) -> Node:
        """The same node under a name of your own. Raises InvalidInput if another node has it."""
        self.graph.rename(self, name)
        return self

    def backward(self, upstream: ArrayLike | None = None) -> None:
        """Fill the gradients of all nodes, beginning here with `upstream` (default 1, for a single number).

        Raises InvalidInput if the node is not a single number and nothing is given, or of another shape.
        """
        if upstream is None and self.value.size != 1:
            raise InvalidInput.at(f"/{self.name}", f"has shape {self.shape}; give an upstream gradient of that shape")
        self.graph.backward({self: np.ones(self.shape) if upstream is None else upstream})

    def __repr__(self) -> str:
        return f"<{self.name} = {self.formula or 'variable'}: value {self.value}, gradient {self.gradient}>"

    # ---- arithmetic

    def __add__(self, other: Node | ArrayLike) -> Node:
        return self._with("add", other) if (c := _number(other)) is None else self._apply("shift", c)

    def __sub__(self, other: Node | ArrayLike) -> Node:
        return self._with("subtract", other) if (c := _number(other)) is None else self._apply("shift", -c)

    def __mul__(self, other: Node | ArrayLike) -> Node:
        return self._with("multiply", other) if (a := _number(other)) is None else self._apply("scale", a)

    def __truediv__(self, other: Node | ArrayLike) -> Node:
        a = _number(other)
        if a == 0:
            raise InvalidInput.at(f"/{self.name}", "is divided by 0")
        return self * (self.graph.as_node(other).reciprocal() if a is None else 1 / a)

    def __matmul__(self, other: Node | ArrayLike) -> Node:
        return self._with("matmul", other)

    def __radd__(self, other: ArrayLike) -> Node:
        return self + other

    def __rsub__(self, other: ArrayLike) -> Node:
        return -self + other

    def __rmul__(self, other: ArrayLike) -> Node:
        return self * other

    def __rtruediv__(self, other: ArrayLike) -> Node:
        return self.reciprocal() if _number(other) == 1 else self.reciprocal() * other

    def __rmatmul__(self, other: ArrayLike) -> Node:
        return self.graph.add(GATES["matmul"], (other, self))

    def __neg__(self) -> Node:
        return self._apply("scale", -1.0)

    def __pow__(self, exponent: int) -> Node:
        if exponent != 2:
            raise InvalidInput.at(f"/{self.name}", f"is raised to {exponent!r}; only ** 2 is a gate")
        return self._apply("square")

    # ---- gates by name

    def maximum(self, other: Node | ArrayLike) -> Node:
        """max(this, other), element by element; a tie sends its gradient to `other`."""
        return self._with("maximum", other)

    def copy(self) -> Node:
        """The same value as a node of its own."""
        return self._apply("copy")

    def exp(self) -> Node:
        """eˣ."""
        return self._apply("exp")

    def log(self) -> Node:
        """ln x."""
        return self._apply("log")

    def reciprocal(self) -> Node:
        """1/x."""
        return self._apply("reciprocal")

    def sum(self, axis: int | None = None) -> Node:
        """Σ x: of everything, or along one axis, which is kept with length 1."""
        return self._apply("sum") if axis is None else self._apply("sum", axis)

    def squared_norm(self) -> Node:
        """‖x‖²: the sum of all squares."""
        return self._apply("squared_norm")

    def sigmoid(self) -> Node:
        """σ(x) as one gate, whose local gradient is (1 - z)z."""
        return self.activation("sigmoid")

    def relu(self) -> Node:
        """max(0, x) as one gate; the gradient at 0 is 0."""
        return self.activation("relu")

    def activation(self, name: str, **parameters: float) -> Node:
        """Any activation that a net may have, with its parameters: `x.activation("leaky_relu", alpha=0.1)`.

        Raises InvalidInput for an unknown name or parameter, or a number outside the parameter's range.
        """
        if name not in ACTIVATIONS:
            raise InvalidInput.at("/activation", f"is {name!r}; must be one of {', '.join(ACTIVATIONS)}")
        row = ACTIVATIONS[name]
        for given in parameters.keys() - set(row.parameter_names):
            known = ", ".join(row.parameter_names) or "none"
            raise InvalidInput.at(f"/activation/{given}", f"is not a parameter of {name}; its parameters are: {known}")
        numbers = {**row.defaults, **parameters}
        for one in row.parameters:
            if not one.low <= numbers[one.name] <= one.high:
                detail = f"is {numbers[one.name]}; must be {one.low:g}..{one.high:g}"
                raise InvalidInput.at(f"/activation/{one.name}", detail)
        return self._apply(name, *(numbers[one] for one in row.parameter_names))

    def _apply(self, gate: str, *settings: float) -> Node:
        return self.graph.add(GATES[gate], (self,), settings)

    def _with(self, gate: str, other: Node | ArrayLike) -> Node:
        return self.graph.add(GATES[gate], (self, other))


@dataclass(frozen=True, eq=False)
class TraceRow:
    """One node as the lecture draws it: the value above the line, the gradient below it."""

    node: str
    formula: str
    value: Floats
    gradient: Floats | None


class Graph:
    """Nodes in topological order."""

    def __init__(self) -> None:
        self._nodes: list[Node] = []

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, every one after its inputs."""
        return tuple(self._nodes)

    def variable(self, value: ArrayLike, name: str | None = None) -> Node:
        """A leaf of the graph, copied to float64. Raises InvalidInput if it is not made of numbers."""
        node = Node(self, f"#{len(self._nodes)}", None, (), ())
        if name is not None:
            self.rename(node, name)
        node.value = _numbers(node, value)
        self._nodes.append(node)
        return node

    def as_node(self, value: Node | ArrayLike) -> Node:
        """A node of this graph as it is, numbers as a new variable. Raises InvalidInput for another graph's node."""
        if not isinstance(value, Node):
            return self.variable(value)
        if value.graph is not self:
            raise InvalidInput.at(f"/{value.name}", "belongs to another graph")
        return value

    def add(self, gate: Gate, inputs: Sequence[Node | ArrayLike], settings: tuple[float, ...] = ()) -> Node:
        """A new node, computed at once; arrays among its inputs become variables.

        Raises InvalidInput naming the shapes that do not fit; nothing is added then.
        """
        count = len(self._nodes)
        try:
            sources = tuple(self.as_node(one) for one in inputs)
            node = Node(self, f"#{len(self._nodes)}", gate, sources, settings)
            _compute(node)
        except InvalidInput:
            del self._nodes[count:]
            raise
        self._nodes.append(node)
        return node

    def rename(self, node: Node, name: str) -> None:
        """Give a node a name that no other node of the graph has; `#` and a number are the graph's own."""
        if not name or name.startswith("#") or any(other.name == name for other in self._nodes if other is not node):
            raise InvalidInput.at(f"/{name}", "is taken, empty or begins with #; every node needs a name of its own")
        node.name = name

    def forward(self, changed: Mapping[Node, ArrayLike] | None = None) -> None:
        """Compute all values again in topological order, with new values of the same shape for some variables.

        Gradients belong to the old values and are dropped. Raises InvalidInput for a node that is not a
        variable of this graph, or for another shape.
        """
        fresh: dict[Node, Floats] = {}
        for node, value in (changed or {}).items():
            if self.as_node(node).gate is not None:
                raise InvalidInput.at(f"/{node.name}", f"is computed as {node.formula}; only variables can be set")
            fresh[node] = _numbers(node, value, node.shape)
        for node in self._nodes:
            node.gradient = None
            if node.gate is None:
                node.value = fresh.get(node, node.value)
            else:
                _compute(node)

    def backward(self, upstream: Mapping[Node, ArrayLike]) -> None:
        """Fill all gradients in reverse order, beginning with these upstream gradients.

        The result is the gradient of Σ upstream · node; what does not lead there has gradient 0. Raises
        InvalidInput for another graph's node and for a shape that is not the node's.
        """
        begin = {self.as_node(node): _numbers(node, given, node.shape) for node, given in upstream.items()}
        reached = set(begin)
        gradients = {node: begin.get(node, np.zeros(node.shape)) for node in self._nodes}
        with np.errstate(all="ignore"):
            for node in reversed(self._nodes):
                if node.gate is None or node not in reached:
                    continue
                stash = (source.value for source in node.inputs)
                downstream = node.gate.downstream(gradients[node], node.value, *stash, *node.settings)
                for source, part in zip(node.inputs, downstream, strict=True):
                    gradients[source] = gradients[source] + _unspread(part, source.shape)
                    reached.add(source)
        for node, gradient in gradients.items():
            node.gradient = gradient

    def trace(self) -> list[TraceRow]:
        """Every node with its value and its gradient, in the order of computation."""
        return [TraceRow(node.name, node.formula, node.value, node.gradient) for node in self._nodes]

    def __str__(self) -> str:
        """The trace as a table, numbers to four digits."""
        cells = [("node", "computed as", "value", "gradient")]
        cells += [(row.node, row.formula, _shown(row.value), _shown(row.gradient)) for row in self.trace()]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
        return "\n".join(line.rstrip() for line in lines)


def _number(value: object) -> float | None:
    """A plain number as a float; None for nodes and arrays."""
    return float(value) if isinstance(value, int | float | np.integer | np.floating) else None


def _compute(node: Node) -> None:
    """One step forward: z from the inputs' values. What overflows shows up as inf or nan."""
    if node.gate is None:
        return
    try:
        with np.errstate(all="ignore"):
            value = node.gate.value(*(source.value for source in node.inputs), *node.settings)
    except ValueError as error:
        shapes = ", ".join(f"{source.name} has shape {source.shape}" for source in node.inputs)
        raise InvalidInput.at(f"/{node.name}", f"{node.formula} does not fit: {shapes}") from error
    node.value = np.asarray(value, np.float64)


def _unspread(gradient: Floats, shape: tuple[int, ...]) -> Floats:
    """The gradient of a value that was spread over a larger shape: spreading copies, and copy adds."""
    extra = gradient.ndim - len(shape)
    inner = [extra + i for i, length in enumerate(shape) if length != gradient.shape[extra + i]]
    return np.asarray(gradient.sum(axis=(*range(extra), *inner)).reshape(shape))


def _numbers(node: Node, value: ArrayLike, shape: tuple[int, ...] | None = None) -> Floats:
    """A copy as float64 of the asked shape."""
    try:
        array = np.array(value)
    except ValueError as error:
        raise InvalidInput.at(f"/{node.name}", "is ragged; must be a number or a full array") from error
    if array.dtype.kind not in "biuf":
        raise InvalidInput.at(f"/{node.name}", f"has dtype {array.dtype}; must be real numbers")
    if shape is not None and array.shape != shape:
        raise InvalidInput.at(f"/{node.name}", f"has shape {shape}; was given shape {array.shape}")
    return array.astype(np.float64)


def _shown(array: Floats | None) -> str:
    if array is None:
        return ""
    text = np.array2string(array, formatter={"float_kind": lambda v: f"{v:.4g}"}, separator=", ", threshold=20)
    return " ".join(text.split())
