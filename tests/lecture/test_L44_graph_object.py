"""Row L44: the computational graph as an object: order, forward again, shapes, the trace, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kernels.errors import InvalidInput
from nets.graph import Graph
from tests.lecture.parts import numerical_gradient


def random_graph(seed: int):
    """(leaves, output) of a random graph over vectors, in which most nodes are used more than once."""
    rng, graph = np.random.default_rng(seed), Graph()
    leaves = [graph.variable(rng.normal(size=3), f"v{i}") for i in range(3)]
    nodes = list(leaves)
    unary = ["tanh", "sigmoid", "gelu", "softplus", "silu"]
    for _ in range(12):
        a, b = (nodes[i] for i in rng.integers(len(nodes), size=2))
        kind = rng.integers(6)
        made = [a + b, a - b, a * b, a.maximum(b), a.activation(unary[rng.integers(5)]), (a * 0.3).exp()][kind]
        nodes.append(made.activation("tanh"))
    total = nodes[-1]
    for node in nodes[3:-1]:
        total = total + node
    return leaves, (total * rng.normal(size=3)).sum()


@pytest.mark.parametrize("seed", range(20))
def test_L44_random_graphs_agree_with_central_differences(seed):
    leaves, output = random_graph(seed)
    graph = output.graph
    output.backward()
    found = {leaf.name: leaf.gradient for leaf in leaves}
    values = {leaf.name: leaf.value.copy() for leaf in leaves}

    def f():
        graph.forward({leaf: values[leaf.name] for leaf in leaves})
        return float(output.value)

    for name, expected in numerical_gradient(f, values).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-6, atol=1e-8)


def test_L44_every_node_stands_after_its_inputs():
    _, output = random_graph(7)
    seen = set()
    for node in output.graph.nodes:
        assert seen.issuperset(node.inputs)
        seen.add(node)
    assert output.graph.nodes[-1] is output


def test_L44_forward_again_with_other_values():
    graph = Graph()
    x, y = graph.variable(2, "x"), graph.variable(3, "y")
    f = x * y + x
    f.backward()
    graph.forward({x: 5})
    assert [float(f.value), x.gradient] == [20, None], "a gradient of the old values is not shown with the new ones"
    f.backward()
    assert [float(x.gradient), float(y.gradient)] == [4, 5]
    graph.forward()
    assert float(f.value) == 20


def test_L44_what_does_not_lead_to_the_output_has_gradient_0():
    graph = Graph()
    x = graph.variable(0.0, "x")
    aside = 1 / x  # infinite, with an infinite derivative: it must not spoil what it has no part in
    f = x * 3
    f.backward()
    assert [float(aside.value), float(aside.gradient), float(x.gradient)] == [math.inf, 0, 3]


def test_L44_spreading_over_rows_copies_and_so_adds():
    rng, graph = np.random.default_rng(44), Graph()
    x, w, b = (graph.variable(rng.normal(size=shape)) for shape in ((6, 4), (4, 3), (3,)))
    column = graph.variable(rng.normal(size=(6, 1)))
    scores = (x @ w + b) * column
    upstream = rng.normal(size=(6, 3))
    scores.backward(upstream)
    np.testing.assert_allclose(b.gradient, (upstream * column.value).sum(axis=0), rtol=1e-13)
    before = x.value @ w.value + b.value
    np.testing.assert_allclose(column.gradient, (upstream * before).sum(axis=1, keepdims=True), rtol=1e-13)
    np.testing.assert_allclose(w.gradient, x.value.T @ (upstream * column.value), rtol=1e-13)


@pytest.mark.parametrize(("left", "right"), [((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((2, 3), (3, 4))])
def test_L44_products_of_matrices_and_vectors(left, right):
    rng, graph = np.random.default_rng(44), Graph()
    a, b = graph.variable(rng.normal(size=left)), graph.variable(rng.normal(size=right))
    product = a @ b
    upstream = rng.normal(size=product.shape)
    product.backward(upstream)
    expected = numerical_gradient(lambda: float((upstream * (a.value @ b.value)).sum()), {"a": a.value, "b": b.value})
    np.testing.assert_allclose(a.gradient, expected["a"], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(b.gradient, expected["b"], rtol=1e-7, atol=1e-9)


def test_L44_numbers_and_arrays_stand_on_either_side():
    x = Graph().variable([1.0, 2.0], "x")
    array = np.array([10.0, 20.0])
    for made, value in [
        (x + 1, [2, 3]),
        (1 + x, [2, 3]),
        (x - 1, [0, 1]),
        (1 - x, [0, -1]),
        (-x, [-1, -2]),
        (x * 3, [3, 6]),
        (np.float64(3) * x, [3, 6]),
        (x / 2, [0.5, 1]),
        (2 / x, [2, 1]),
        (x / x, [1, 1]),
        (x**2, [1, 4]),
        (array + x, [11, 22]),
        (array - x, [9, 18]),
        (array * x, [10, 40]),
        (array / x, [10, 10]),
        (x / array, [0.1, 0.1]),
        (array @ x, 50),
        (x @ array, 50),
        (x.log(), [0, math.log(2)]),
        (x.sum(axis=0), [3]),
        (x.activation("leaky_relu", alpha=0.1), [1, 2]),
    ]:
        np.testing.assert_allclose(made.value, value, rtol=1e-15, err_msg=made.formula)


def test_L44_the_trace_is_a_table_to_read():
    graph = Graph()
    x, y = graph.variable(-2, "x"), graph.variable([1 / 3, 4], "y")
    f = ((x * y).sum() + 1).named("f")
    assert graph.trace()[-1].gradient is None
    f.backward()
    assert str(graph).splitlines() == [
        "node  computed as     value          gradient",
        "x                     -2             4.333",
        "y                     [0.3333, 4]    [-2, -2]",
        "#2    multiply(x, y)  [-0.6667, -8]  [1, 1]",
        "#3    sum(#2)         -8.667         1",
        "f     shift(#3, 1)    -7.667         1",
    ]
    assert repr(x) == "<x = variable: value -2.0, gradient 4.333333333333333>"


def refusal(act) -> str:
    with pytest.raises(InvalidInput) as caught:
        act()
    return str(caught.value)


def test_L44_shapes_that_do_not_fit_are_named_and_leave_no_trace():
    graph = Graph()
    w, x = graph.variable(np.zeros((3, 2)), "W"), graph.variable(np.zeros(3), "x")
    assert refusal(lambda: w @ x) == "/#2: matmul(W, x) does not fit: W has shape (3, 2), x has shape (3,)"
    assert "add(W, x) does not fit: W has shape (3, 2), x has shape (3,)" in refusal(lambda: w + x)
    assert "sum(x, 1) does not fit: x has shape (3,)" in refusal(lambda: x.sum(axis=1))
    assert "matmul" in refusal(lambda: w @ np.zeros((2, 2, 2)))
    assert "matmul" in refusal(lambda: np.zeros((2, 2)) @ w)
    assert graph.nodes == (w, x)


def test_L44_gradients_begin_with_a_number_or_a_fitting_upstream():
    graph = Graph()
    x = graph.variable([1.0, 2.0], "x")
    f = (x * 2).named("f")
    assert refusal(f.backward) == "/f: has shape (2,); give an upstream gradient of that shape"
    assert refusal(lambda: f.backward(1)) == "/f: has shape (2,); was given shape ()"
    f.sum().backward()
    assert x.gradient.tolist() == [2, 2]


def test_L44_no_cycle_can_be_written_and_graphs_do_not_mix():
    graph, other = Graph(), Graph()
    x, y = graph.variable(1, "x"), other.variable(1, "y")
    f = x + 1
    assert refusal(lambda: x + y) == "/y: belongs to another graph"
    assert refusal(lambda: graph.backward({y: 1})) == "/y: belongs to another graph"
    assert "is computed as shift(x, 1); only variables can be set" in refusal(lambda: graph.forward({f: 1}))
    assert refusal(lambda: graph.forward({x: [1, 2]})) == "/x: has shape (); was given shape (2,)"


def test_L44_other_refusals_say_what_is_allowed():
    graph = Graph()
    x = graph.variable(1, "x")
    assert "is taken" in refusal(lambda: graph.variable(2, "x"))
    assert "begins with #" in refusal(lambda: graph.variable(2, "#1"))
    assert "must be real numbers" in refusal(lambda: graph.variable("three"))
    assert "must be real numbers" in refusal(lambda: graph.variable(1j))
    assert "is ragged" in refusal(lambda: graph.variable([[1], [2, 3]]))
    assert "only ** 2 is a gate" in refusal(lambda: x**3)
    assert "is divided by 0" in refusal(lambda: x / 0)
    assert "is 'swoosh'; must be one of identity, sigmoid" in refusal(lambda: x.activation("swoosh"))
    assert "is not a parameter of relu" in refusal(lambda: x.activation("relu", alpha=1))
    assert "/activation/alpha: is 7; must be 0..1" in refusal(lambda: x.activation("leaky_relu", alpha=7))
