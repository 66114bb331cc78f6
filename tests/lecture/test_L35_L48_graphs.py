"""Rows L35-L41 and L45-L48: worked graphs, gates, gradients of their variables' shapes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nets.gates import GATES
from nets.gradient_check import gradient_check
from nets.graph import Graph
from nets.lecture.graphs import W_2D, X_2D, gate_errors
from nets.member import Member
from nets.table import Table
from tests.lecture.parts import play_net, random_parameters
from tests.nets.support import bare_data, blobs, run, spec_for


@pytest.mark.parametrize("name", GATES)
def test_L36_a_wrong_sign_in_any_gate_is_caught(name):
    def wrong(*arguments):
        return tuple(-part for part in GATES[name].downstream(*arguments))

    assert min(gate_errors(replace(GATES[name], downstream=wrong))) > 0.01


def pair(a: float, b: float):
    graph = Graph()
    return graph.variable(a, "a"), graph.variable(b, "b")


def test_L40_using_a_node_twice_is_a_copy():
    a, _ = pair(7, 0)
    (a * 4 + a * 2).backward()
    assert float(a.gradient) == 6
    (a * a).backward()
    assert float(a.gradient) == 14


def test_L40_a_tie_of_max_goes_to_the_second_as_relu_has_it():
    a, b = pair(5, 5)
    a.maximum(b).backward(9)
    assert [float(a.gradient), float(b.gradient)] == [0, 9]
    x = Graph().variable([-1.0, 0.0, 1.0], "x")
    x.maximum(0).backward([2, 2, 2])
    by_max = x.gradient
    x.relu().backward([2, 2, 2])
    assert by_max.tolist() == x.gradient.tolist() == [0, 0, 2]


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
