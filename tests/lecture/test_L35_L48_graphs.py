"""Rows L35-L41 and L45-L48: worked graphs, gates, gradients of their variables' shapes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from kernels.operations import ACTIVATIONS
from nets.gates import GATES, Gate
from nets.gradient_check import gradient_check
from nets.graph import Graph
from nets.member import Member
from nets.table import Table
from tests.lecture.parts import numerical_gradient, play_net, random_parameters
from tests.nets.support import BACKEND, bare_data, blobs, run, spec_for

W_2D, X_2D = np.array([[0.1, 0.5], [-0.3, 0.8]]), np.array([0.2, 0.4])


def test_L35_f_is_x_plus_y_times_z():
    graph = Graph()
    x, y, z = graph.variable(-2, "x"), graph.variable(5, "y"), graph.variable(-4, "z")
    q = (x + y).named("q")
    f = (q * z).named("f")
    f.backward()
    rows = [(row.node, row.formula, float(row.value), float(row.gradient)) for row in graph.trace()]
    assert rows == [
        ("x", "", -2, -4),
        ("y", "", 5, -4),
        ("z", "", -4, 3),
        ("q", "add(x, y)", 3, -4),
        ("f", "multiply(q, z)", -12, 1),
    ]


POSITIVE = np.array([[0.3, 1.7], [2.5, 0.01]])
MIXED = np.array([[0.3, -1.7], [2.5, -0.01]])
CASES: dict[str, tuple[list[np.ndarray], tuple[float, ...]]] = {
    "add": ([MIXED, POSITIVE], ()),
    "subtract": ([MIXED, POSITIVE], ()),
    "multiply": ([MIXED, POSITIVE], ()),
    "maximum": ([MIXED, POSITIVE[::-1]], ()),
    "scale": ([MIXED], (-2.5,)),
    "shift": ([MIXED], (3.0,)),
    "log": ([POSITIVE], ()),
    "sum": ([MIXED], ()),
    "matmul": ([MIXED, np.array([[1.0, 2, 3], [-4, 5, 6]])], ()),
    **{name: ([MIXED], tuple(row.defaults.values())) for name, row in ACTIVATIONS.items()},
}


def errors_of(gate: Gate) -> list[float]:
    """Per input the largest gap between what the gate sends down and central differences, upstream random."""
    inputs, settings = CASES.get(gate.name, ([MIXED], ()))
    inputs = [array.copy() for array in inputs]
    z = gate.value(*inputs, *settings)
    upstream = np.random.default_rng(36).normal(size=np.shape(z))
    downstream = gate.downstream(upstream, z, *inputs, *settings)

    def weighted():
        return float((upstream * gate.value(*inputs, *settings)).sum())

    expected = numerical_gradient(weighted, {str(place): array for place, array in enumerate(inputs)})
    assert [part.shape for part in downstream] == [array.shape for array in inputs]
    gaps = (np.abs(part - expected[str(place)]) for place, part in enumerate(downstream))
    return [float((gap / np.maximum(1, np.abs(expected[str(place)]))).max()) for place, gap in enumerate(gaps)]


@pytest.mark.parametrize("name", GATES)
def test_L36_every_gate_sends_down_upstream_times_local(name):
    assert max(errors_of(GATES[name])) < 1e-7


@pytest.mark.parametrize("name", GATES)
def test_L36_a_wrong_sign_in_any_gate_is_caught(name):
    def wrong(*arguments):
        return tuple(-part for part in GATES[name].downstream(*arguments))

    assert min(errors_of(replace(GATES[name], downstream=wrong))) > 0.01


@pytest.mark.parametrize(
    ("gate", "settings", "local"),
    [
        ("exp", (), math.exp),
        ("scale", (3.0,), lambda x: 3.0),
        ("reciprocal", (), lambda x: -1 / x**2),
        ("shift", (3.0,), lambda x: 1.0),
    ],
)
def test_L37_local_gradients(gate, settings, local):
    for x in (-2.0, -0.3, 0.7, 1.37):
        at = np.array(x)
        z = GATES[gate].value(at, *settings)
        assert GATES[gate].downstream(np.array(1.0), z, at, *settings)[0] == pytest.approx(local(x), rel=1e-15)


def sigmoid_graph(fused: bool = False):
    """The slide's neuron: (graph, leaves, f)."""
    graph = Graph()
    leaves = [graph.variable(v, n) for n, v in (("w0", 2), ("x0", -1), ("w1", -3), ("x1", -2), ("w2", -3))]
    w0, x0, w1, x1, w2 = leaves
    dot = w0 * x0 + w1 * x1 + w2
    f = dot.sigmoid() if fused else 1 / ((-dot).exp() + 1)
    f.backward()
    return graph, leaves, f


LEAF_GRADIENTS = {"w0": -0.1966, "x0": 0.3932, "w1": -0.3932, "x1": -0.5898, "w2": 0.1966}


def test_L38_the_sigmoid_graph_forward_and_backward():
    graph, leaves, f = sigmoid_graph()
    inner = [row for row in graph.trace() if row.formula]
    assert [row.formula.split("(")[0] for row in inner] == [
        *("multiply", "multiply", "add", "add", "scale", "exp", "shift", "reciprocal")
    ]
    values = [float(row.value) for row in inner]
    e, s = math.exp(-1), 1 / (1 + math.exp(-1))
    assert values == pytest.approx([-2, 6, 4, 1, -1, e, 1 + e, s], rel=1e-15)
    assert [round(v, 2) for v in values] == [-2, 6, 4, 1, -1, 0.37, 1.37, 0.73]
    local = s * (1 - s)
    gradients = [float(row.gradient) for row in reversed(inner)][:5]  # from f down to the sum
    assert gradients == pytest.approx([1, -(s**2), -(s**2), -local, local], rel=1e-14)
    assert [round(g, 2) for g in gradients] == [1, -0.53, -0.53, -0.2, 0.2]
    exact = [-local, 2 * local, -2 * local, -3 * local, local]
    assert [float(leaf.gradient) for leaf in leaves] == pytest.approx(exact, rel=1e-14)
    assert {leaf.name: round(float(leaf.gradient), 4) for leaf in leaves} == LEAF_GRADIENTS
    assert float(f.value) == pytest.approx(s, rel=1e-15)


def test_L39_one_sigmoid_gate_equals_the_four_gates():
    _, fused, f = sigmoid_graph(fused=True)
    _, unfused, g = sigmoid_graph()
    local = float(f.inputs[0].gradient)
    assert local == pytest.approx((1 - float(f.value)) * float(f.value), rel=1e-15)
    assert [f"{local:.6f}", f"{local:.1f}"] == ["0.196612", "0.2"]
    assert float(f.value) == pytest.approx(float(g.value), rel=1e-15)
    for one, other in zip(fused, unfused, strict=True):
        assert float(one.gradient) == pytest.approx(float(other.gradient), rel=1e-14), one.name


def pair(a: float, b: float):
    graph = Graph()
    return graph.variable(a, "a"), graph.variable(b, "b")


def test_L40_add_distributes():
    a, b = pair(3, 4)
    f = a + b
    f.backward(2)
    assert [float(v) for v in (f.value, a.gradient, b.gradient)] == [7, 2, 2]


def test_L40_multiply_swaps():
    a, b = pair(2, 3)
    f = a * b
    f.backward(5)
    assert [float(v) for v in (f.value, a.gradient, b.gradient)] == [6, 15, 10]


def test_L40_copy_adds():
    a, _ = pair(7, 0)
    left, right = a.copy(), a.copy()
    a.graph.backward({left: 4, right: 2})
    assert [float(v) for v in (left.value, right.value, a.gradient)] == [7, 7, 6]


def test_L40_using_a_node_twice_is_a_copy():
    a, _ = pair(7, 0)
    (a * 4 + a * 2).backward()
    assert float(a.gradient) == 6
    (a * a).backward()
    assert float(a.gradient) == 14


def test_L40_max_routes():
    a, b = pair(4, 5)
    f = a.maximum(b)
    f.backward(9)
    assert [float(v) for v in (f.value, a.gradient, b.gradient)] == [5, 0, 9]


def test_L40_a_tie_of_max_goes_to_the_second_as_relu_has_it():
    a, b = pair(5, 5)
    a.maximum(b).backward(9)
    assert [float(a.gradient), float(b.gradient)] == [0, 9]
    x = Graph().variable([-1.0, 0.0, 1.0], "x")
    x.maximum(0).backward([2, 2, 2])
    by_max = x.gradient
    x.relu().backward([2, 2, 2])
    assert by_max.tolist() == x.gradient.tolist() == [0, 0, 2]


def test_L41_flat_backprop_line_by_line():
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
    grad_w1 = grad_s1 * x1
    grad_x1 = grad_s1 * w1
    grad_w0 = grad_s0 * x0
    grad_x0 = grad_s0 * w0
    for fused in (False, True):
        _, leaves, f = sigmoid_graph(fused)
        flat = [grad_w0, grad_x0, grad_w1, grad_x1, grad_w2]
        assert [float(leaf.gradient) for leaf in leaves] == pytest.approx(flat, rel=1e-14)
        assert float(f.value) == pytest.approx(L, rel=1e-15)


def test_L45_multiply_stashes_its_inputs():
    x, y = np.array([2.0, -1.5]), np.array([3.0, 4.0])
    gate, grad_z = GATES["multiply"], np.array([5.0, 0.5])
    z = gate.value(x, y)
    grad_x, grad_y = gate.downstream(grad_z, z, x, y)
    assert z.tolist() == [6, -6]
    assert grad_x.tolist() == (grad_z * y).tolist() == [15, 2]
    assert grad_y.tolist() == (grad_z * x).tolist() == [10, -0.75]
    a, b = pair(2, 3)
    f = a * b
    assert f.inputs == (a, b), "the node keeps its inputs, so that backward finds their values"


def test_L46_sigmoid_backward_needs_its_output_alone():
    x = np.linspace(-30, 30, 601)
    z, downstream = np.empty_like(x), np.empty_like(x)
    upstream = np.random.default_rng(46).normal(size=x.size)
    BACKEND.activate(ACTIVATIONS["sigmoid"], x, {}, z)
    BACKEND.backpropagate(ACTIVATIONS["sigmoid"], x, z, upstream, {}, downstream)
    np.testing.assert_allclose(downstream, upstream * (1 - z) * z, rtol=1e-14)


def test_L47_squared_norm_of_a_product():
    graph = Graph()
    w, x = graph.variable(W_2D, "W"), graph.variable(X_2D, "x")
    q = (w @ x).named("q")
    f = q.squared_norm()
    f.backward()
    close = {"rtol": 1e-14, "atol": 1e-16}
    np.testing.assert_allclose(q.value, [0.22, 0.26], **close)
    np.testing.assert_allclose(f.value, 0.116, **close)
    np.testing.assert_allclose(q.gradient, [0.44, 0.52], **close)
    np.testing.assert_allclose(w.gradient, [[0.088, 0.176], [0.104, 0.208]], **close)
    np.testing.assert_allclose(x.gradient, [-0.112, 0.636], **close)
    assert np.round(w.gradient, 3).tolist() == [[0.088, 0.176], [0.104, 0.208]]


def test_L47_the_net_without_hidden_layers_says_the_same():
    played = play_net({"W1": W_2D.T}, X_2D[None], loss="squared_error")  # targets 0: the loss is ‖Wx‖²
    assert played.losses[0] == pytest.approx(0.116, rel=1e-14)
    np.testing.assert_allclose(played.gradients["W1"].T, [[0.088, 0.176], [0.104, 0.208]], rtol=1e-14)


def test_L48_gradients_of_the_squared_norm_in_closed_form():
    rng = np.random.default_rng(48)
    graph = Graph()
    w, x = graph.variable(rng.normal(size=(5, 7)), "W"), graph.variable(rng.normal(size=7), "x")
    q = w @ x
    (q**2).sum().backward()
    np.testing.assert_allclose(w.gradient, 2 * np.outer(q.value, x.value), rtol=1e-14)
    np.testing.assert_allclose(x.gradient, 2 * w.value.T @ q.value, rtol=1e-13)
    for node in graph.nodes:
        assert node.gradient.shape == node.value.shape


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("hidden", [[], [1], [7, 5], [3, 4, 5, 6]])
def test_L48_every_parameter_of_every_net_has_a_gradient_of_its_shape(hidden, bias):
    """One step of plain descent moves every tensor by learning rate × gradient: shapes agree, nothing is left out."""
    table, widths = blobs(), (4, *hidden, 3)
    spec = spec_for(table, net={"hidden": hidden, "bias": bias, "activation": "tanh"})
    names = [f"{kind}{layer}" for layer in range(1, len(widths)) for kind in ("Wb" if bias else "W")]
    assert list(gradient_check(spec, table).errors) == names
    x, y = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) % 3
    start = random_parameters(widths, bias=bias)
    gradients = play_net(start, x, "tanh", loss="softmax", targets=y).gradients
    step = spec_for(
        Table.from_arrays(x, y),
        net={"hidden": hidden, "bias": bias, "activation": "tanh"},
        optimizer={"name": "sgd", "learning_rate": 0.5, "momentum": 0.0, "l2": 0.0},
        schedule="constant",
        training={"epochs": 1, "batch_size": 20, "validation_fraction": 0.0, "precision": "float64"},
    )
    member = Member(step, bare_data(x, y, 3))
    state = {"parameters": member.layout.flat(start, np.dtype(np.float64))}
    after = run(Member(step, member.data, state)).outcomes[0].parameters
    assert list(after) == names
    for name in names:
        assert gradients[name].shape == start[name].shape == after[name].shape
        assert np.abs(gradients[name]).max() > 0
        np.testing.assert_allclose(after[name], start[name] - 0.5 * gradients[name], rtol=1e-12, atol=1e-14)
