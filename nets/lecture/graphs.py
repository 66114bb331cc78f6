"""Rows L35 to L41 and L44 to L48: worked graphs, gates, gradients of their variables' shapes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from kernels.operations import ACTIVATIONS
from nets.gates import GATES, Gate
from nets.graph import Graph, Node
from nets.lecture.claim import Claim, Row, holds, number, numbers, same
from nets.lecture.play import BACKEND, Floats, numerical_gradient, play_net, random_parameters

W_2D, X_2D = np.array([[0.1, 0.5], [-0.3, 0.8]]), np.array([0.2, 0.4])

_POSITIVE = np.array([[0.3, 1.7], [2.5, 0.01]])
_MIXED = np.array([[0.3, -1.7], [2.5, -0.01]])
_CASES: dict[str, tuple[list[Floats], tuple[float, ...]]] = {
    "add": ([_MIXED, _POSITIVE], ()),
    "subtract": ([_MIXED, _POSITIVE], ()),
    "multiply": ([_MIXED, _POSITIVE], ()),
    "maximum": ([_MIXED, _POSITIVE[::-1]], ()),
    "scale": ([_MIXED], (-2.5,)),
    "shift": ([_MIXED], (3.0,)),
    "log": ([_POSITIVE], ()),
    "sum": ([_MIXED], ()),
    "matmul": ([_MIXED, np.array([[1.0, 2, 3], [-4, 5, 6]])], ()),
    **{name: ([_MIXED], tuple(row.defaults.values())) for name, row in ACTIVATIONS.items()},
}
LOCAL: dict[str, tuple[tuple[float, ...], Callable[[float], float]]] = {
    "exp": ((), math.exp),
    "scale": ((3.0,), lambda _: 3.0),
    "reciprocal": ((), lambda x: -1 / x**2),
    "shift": ((3.0,), lambda _: 1.0),
}
"""Gates of one input: their settings, their local gradients."""


def gate_errors(gate: Gate) -> list[float]:
    """Per input the largest gap between what the gate sends down and central differences, upstream random."""
    inputs, settings = _CASES.get(gate.name, ([_MIXED], ()))
    inputs = [array.copy() for array in inputs]
    z = gate.value(*inputs, *settings)
    upstream = np.random.default_rng(36).normal(size=np.shape(z))
    downstream = gate.downstream(upstream, z, *inputs, *settings)
    expected = numerical_gradient(
        lambda: float((upstream * gate.value(*inputs, *settings)).sum()),
        {str(place): array for place, array in enumerate(inputs)},
    )
    if [part.shape for part in downstream] != [array.shape for array in inputs]:
        return [math.inf] * len(inputs)
    gaps = (np.abs(part - expected[str(place)]) for place, part in enumerate(downstream))
    return [float((gap / np.maximum(1, np.abs(expected[str(place)]))).max()) for place, gap in enumerate(gaps)]


def product_of_sum() -> list[Claim]:
    """L35."""
    graph = Graph()
    x, y, z = graph.variable(-2, "x"), graph.variable(5, "y"), graph.variable(-4, "z")
    q = (x + y).named("q")
    f = (q * z).named("f")
    f.backward()
    return [
        number("q", _value(q), 3, "3"),
        number("f", _value(f), -12, "-12"),
        *numbers("∂f/∂", [_slope(node) for node in (z, q, x, y)], [3, -4, -4, -4], "z q x y", "3 -4 -4 -4"),
    ]


def every_gate() -> list[Claim]:
    """L36."""
    return [number(name, max(gate_errors(gate)), 0.0, tolerance=1e-7) for name, gate in GATES.items()]


def local_gradients() -> list[Claim]:
    """L37."""
    claims = []
    for name, (settings, local) in LOCAL.items():
        points = np.array([-2.0, -0.3, 0.7, 1.37])
        z = GATES[name].value(points, *settings)
        (found,) = GATES[name].downstream(np.ones(4), z, points, *settings)
        claims.append(same(GATES[name].doc.rstrip("."), found, [local(x) for x in points]))
    return claims


def sigmoid_graph(fused: bool = False) -> tuple[Graph, list[Node], Node]:
    """The slide's neuron, played backward: (graph, leaves, f)."""
    graph = Graph()
    leaves = [graph.variable(v, n) for n, v in (("w0", 2), ("x0", -1), ("w1", -3), ("x1", -2), ("w2", -3))]
    w0, x0, w1, x1, w2 = leaves
    dot = w0 * x0 + w1 * x1 + w2
    f = dot.sigmoid() if fused else 1 / ((-dot).exp() + 1)
    f.backward()
    return graph, leaves, f


def worked_sigmoid() -> list[Claim]:
    """L38."""
    graph, leaves, _ = sigmoid_graph()
    inner = [row for row in graph.trace() if row.formula]
    e, s = math.exp(-1), 1 / (1 + math.exp(-1))
    local = s * (1 - s)
    values = [float(row.value) for row in inner]
    forward, backward = [-2, 6, 4, 1, -1, e, 1 + e, s], [1, -(s**2), -(s**2), -local, local]
    names = "w0·x0 w1·x1 their·sum +w2 negated exp +1 f"
    slopes = [float(np.asarray(row.gradient)) for row in reversed(inner)][:5]
    exact = [-local, 2 * local, -2 * local, -3 * local, local]
    found = [_slope(leaf) for leaf in leaves]
    return [
        *numbers("forward", values, forward, names, "-2 6 4 1 -1 0.37 1.37 0.73"),
        *numbers("backward at", slopes, backward, "f +1 exp negated +w2", "1 -.53 -.53 -.20 .20"),
        *numbers("∂f/∂", found, exact, "w0 x0 w1 x1 w2", "-.1966 .3932 -.3932 -.5898 .1966"),
    ]


def fused_sigmoid() -> list[Claim]:
    """L39."""
    _, fused, f = sigmoid_graph(fused=True)
    _, unfused, _ = sigmoid_graph()
    z = _value(f)
    return [
        number("(1 − σ)σ", _slope(f.inputs[0]), (1 - z) * z, ".196612"),
        same("one gate and the four it stands for", [_slope(n) for n in fused], [_slope(n) for n in unfused]),
    ]


def four_gates() -> list[Claim]:
    """L40."""
    claims = []
    for name, a, b, upstream, value, below in (
        ("add distributes: 3 + 4", 3, 4, 2, 7, (2, 2)),
        ("multiply swaps: 2 · 3", 2, 3, 5, 6, (15, 10)),
        ("max routes: max(4, 5)", 4, 5, 9, 5, (0, 9)),
        ("a tie goes to the second: max(5, 5)", 5, 5, 9, 5, (0, 9)),
    ):
        graph = Graph()
        left, right = graph.variable(a, "a"), graph.variable(b, "b")
        node = {"add": left + right, "multiply": left * right}.get(name.split()[0], left.maximum(right))
        node.backward(upstream)
        shown = [_value(node), _slope(left), _slope(right)]
        claims += numbers(f"{name},", shown, [value, *below], "value ↓a ↓b", f"{value} {below[0]} {below[1]}")
    graph = Graph()
    a7 = graph.variable(7, "a")
    graph.backward({a7.copy(): 4, a7.copy(): 2})
    return [*claims, number("copy adds: 4 + 2 from above", _slope(a7), 6, "6")]


def flat_sigmoid() -> list[Claim]:
    """L41: backpropagation of L38 written line by line."""
    w0, x0, w1, x1, w2 = 2.0, -1.0, -3.0, -2.0, -3.0
    s0 = w0 * x0
    s1 = w1 * x1
    s2 = s0 + s1
    s3 = s2 + w2
    L = 1 / (1 + math.exp(-s3))
    grad_L = 1.0
    grad_s3 = grad_L * (1 - L) * L
    grad_w2 = grad_s3
    grad_s2 = grad_s3
    grad_s0 = grad_s2
    grad_s1 = grad_s2
    flat = [grad_s0 * x0, grad_s0 * w0, grad_s1 * x1, grad_s1 * w1, grad_w2]
    _, leaves, f = sigmoid_graph()
    found = [_slope(leaf) for leaf in leaves]
    return [number("L", _value(f), L), *numbers("∂L/∂", found, flat, "w0 x0 w1 x1 w2")]


def graph_object() -> list[Claim]:
    """L44."""
    rng, graph = np.random.default_rng(44), Graph()
    leaves = [graph.variable(rng.normal(size=3), name) for name in ("u", "v", "w")]
    u, v, w = leaves
    output = ((u * v + w).activation("tanh") * u.sigmoid() + (v * 0.3).exp().maximum(w)).sum()
    output.backward()
    found = {leaf.name: np.asarray(leaf.gradient) for leaf in leaves}
    values = {leaf.name: leaf.value.copy() for leaf in leaves}
    order = {node: place for place, node in enumerate(graph.nodes)}

    def f() -> float:
        graph.forward({leaf: values[leaf.name] for leaf in leaves})
        return float(output.value)

    expected = numerical_gradient(f, values)
    return [
        holds("every node stands after its inputs", all(order[i] < order[n] for n in graph.nodes for i in n.inputs)),
        *(same(f"∂f/∂{name} and central differences", found[name], expected[name], 1e-8) for name in found),
    ]


def multiply_stashes() -> list[Claim]:
    """L45."""
    x, y, upstream = np.array([2.0, -1.5]), np.array([3.0, 4.0]), np.array([5.0, 0.5])
    gate = GATES["multiply"]
    grad_x, grad_y = gate.downstream(upstream, gate.value(x, y), x, y)
    return [same("∂x = upstream · y", grad_x, [15, 2]), same("∂y = upstream · x", grad_y, [10, -0.75])]


def sigmoid_backward() -> list[Claim]:
    """L46."""
    x = np.linspace(-30, 30, 601)
    z, downstream = np.empty_like(x), np.empty_like(x)
    upstream = np.random.default_rng(46).normal(size=x.size)
    BACKEND.activate(ACTIVATIONS["sigmoid"], x, {}, z)
    BACKEND.backpropagate(ACTIVATIONS["sigmoid"], x, z, upstream, {}, downstream)
    return [same("upstream (1 − z) z, from z alone", downstream, upstream * (1 - z) * z)]


def squared_norm() -> list[Claim]:
    """L47."""
    graph = Graph()
    w, x = graph.variable(W_2D, "W"), graph.variable(X_2D, "x")
    q = (w @ x).named("q")
    f = q.squared_norm()
    f.backward()
    linear = play_net({"W1": W_2D.T}, X_2D[None])  # targets 0: the loss is ‖Wx‖²
    exact = [[0.088, 0.176], [0.104, 0.208]]
    return [
        *numbers("q", q.value, [0.22, 0.26], "1 2", ".22 .26"),
        number("f", _value(f), 0.116, ".116"),
        *numbers("∇q", np.asarray(q.gradient), [0.44, 0.52], "1 2", ".44 .52"),
        *numbers("∇W", np.asarray(w.gradient), exact, "11 12 21 22", ".088 .176 .104 .208"),
        *numbers("∇x", np.asarray(x.gradient), [-0.112, 0.636], "1 2", "-.112 .636"),
        same("∇W by a net without a hidden layer", linear.gradients["W1"].T, exact),
    ]


def shapes() -> list[Claim]:
    """L48."""
    rng, graph = np.random.default_rng(48), Graph()
    w, x = graph.variable(rng.normal(size=(5, 7)), "W"), graph.variable(rng.normal(size=7), "x")
    q = w @ x
    (q**2).sum().backward()
    start = random_parameters((4, 7, 5, 3))
    y = np.arange(20) % 3
    gradients = play_net(start, rng.normal(size=(20, 4)), "tanh", loss="softmax", targets=y).gradients
    return [
        same("∇W = 2qxᵀ", np.asarray(w.gradient), 2 * np.outer(q.value, x.value)),
        same("∇x = 2Wᵀq", np.asarray(x.gradient), 2 * w.value.T @ q.value),
        holds("every node of the graph", all(np.asarray(n.gradient).shape == n.value.shape for n in graph.nodes)),
        holds("every tensor of a net", all(gradients[name].shape == start[name].shape for name in start)),
    ]


def _value(node: Node) -> float:
    return float(node.value)


def _slope(node: Node) -> float:
    return float(np.asarray(node.gradient))


ROWS = (
    Row(
        "L35",
        "(x + y)z",
        "The smallest graph: a sum, a product, and the chain rule back from f.",
        "`nets.graph`",
        product_of_sum,
    ),
    Row(
        "L36",
        "Upstream × local",
        "What a gate sends down is what came from above times its own slope. Here for every gate, as the largest error "
        "against central differences.",
        "every gate of `nets.gates`",
        every_gate,
    ),
    Row("L37", "Local gradients", "eˣ → eˣ; ax → a; 1/x → −1/x²; c + x → 1.", "`nets.gates`", local_gradients),
    Row(
        "L38",
        "A sigmoid neuron, step by step",
        "Eight small gates forward, then backward. The slide's .4 and .6 come from a .2 that was rounded before.",
        "`Graph.trace`",
        worked_sigmoid,
    ),
    Row("L39", "The sigmoid as one gate", "Its slope is (1 − σ)σ.", "`Node.sigmoid`", fused_sigmoid),
    Row(
        "L40",
        "What gates do backward",
        "Add distributes, multiply swaps, copy adds, max routes.",
        "`nets.gates`",
        four_gates,
    ),
    Row(
        "L41", "Flat backpropagation", "The neuron again, one line per gate, in reverse.", "`nets.graph`", flat_sigmoid
    ),
    Row(
        "L44",
        "The graph as an object",
        "Forward in topological order, backward in reverse; each gate knows only itself.",
        "`nets.graph`",
        graph_object,
        "twenty random graphs: tests/lecture",
    ),
    Row("L45", "Multiply keeps its inputs", "They are its slopes.", "`nets.gates`", multiply_stashes),
    Row(
        "L46", "Sigmoid backward", "upstream (1 − z) z: its output is enough.", "`kernels.operations`", sigmoid_backward
    ),
    Row("L47", "‖Wx‖²", "With vectors and matrices, by numbers.", "`nets.graph`, `loss: squared_error`", squared_norm),
    Row(
        "L48",
        "A gradient has its variable's shape",
        "∇W = 2qxᵀ and ∇x = 2Wᵀq, and the same of every tensor of every net.",
        "every net",
        shapes,
    ),
)
