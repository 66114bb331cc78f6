"""Rows L42, L43 and L49: backpropagation written out flat equals the net, and the graph."""

from __future__ import annotations

import numpy as np
import pytest

from nets.graph import Graph
from nets.losses import LOSSES, value_and_gradient
from nets.member import Member
from nets.table import Table
from tests.lecture.parts import assert_close, play_net, random_parameters
from tests.nets.support import BACKEND, bare_data, run, spec_for

N, D, H, C = 8, 5, 6, 3


@pytest.fixture
def batch():
    rng = np.random.default_rng(42)
    return rng.normal(size=(N, D)), rng.integers(C, size=N)


def step_gradient(start, x, y, loss, l2):
    """What one step of the trainer's plain descent shows: (before - after) / learning rate."""
    spec = spec_for(
        Table.from_arrays(x, y),
        net={"hidden": [H] if "W2" in start else [], "bias": "b1" in start},
        loss=loss,
        optimizer={"name": "sgd", "learning_rate": 1e-2, "momentum": 0.0, "l2": l2},
        schedule="constant",
        training={"epochs": 1, "batch_size": len(x), "validation_fraction": 0.0, "precision": "float64"},
    )
    member = Member(spec, bare_data(x, y, C))
    recorder = run(Member(spec, member.data, {"parameters": member.layout.flat(start, np.dtype(np.float64))}))
    after = recorder.outcomes[0].parameters
    return recorder.points[0][0]["train_loss"], {name: (start[name] - array) / 1e-2 for name, array in after.items()}


def test_L42_flat_svm(batch):
    (x, y), reg = batch, 0.1
    W = np.random.default_rng(1).normal(size=(D, C))
    rows = np.arange(N)
    scores = x.dot(W)
    correct = scores[rows, y][:, None]
    margins = np.maximum(0, scores - correct + 1.0)
    margins[rows, y] = 0
    data_loss = margins.sum() / N
    reg_loss = reg * (W * W).sum()
    dmargins = (margins > 0) / N
    dscores = dmargins.copy()
    dscores[rows, y] -= dmargins.sum(axis=1)
    dW = x.T.dot(dscores) + 2 * reg * W

    losses, slope = value_and_gradient(LOSSES["svm"], BACKEND, scores, y)
    np.testing.assert_allclose(losses, margins.sum(axis=1), rtol=1e-13)
    np.testing.assert_allclose(slope / N, dscores, rtol=1e-14)
    played = play_net({"W1": W}, x, loss="svm", targets=y)
    np.testing.assert_allclose(played.scores, scores, rtol=1e-12)
    np.testing.assert_allclose(played.gradients["W1"] + 2 * reg * W, dW, rtol=1e-12)
    train_loss, stepped = step_gradient({"W1": W}, x, y, "svm", reg)
    assert train_loss == pytest.approx(data_loss, rel=1e-13)
    np.testing.assert_allclose(stepped["W1"], dW, rtol=1e-9, atol=1e-12)

    graph = Graph()
    w, others = graph.variable(W, "W"), 1 - np.eye(C)[y]
    s = graph.variable(x, "X") @ w
    own = (s * np.eye(C)[y]).sum(axis=1)
    m = ((s - own + 1) * others).maximum(0)
    loss = m.sum() * (1 / N) + w.squared_norm() * reg
    loss.backward()
    assert float(loss.value) == pytest.approx(data_loss + reg_loss, rel=1e-13)
    np.testing.assert_allclose(m.gradient * (m.value > 0), dmargins, rtol=1e-14)
    np.testing.assert_allclose(s.gradient, dscores, rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(w.gradient, dW, rtol=1e-12)


def test_L43_flat_softmax_of_two_layers(batch):
    (x, y), rows = batch, np.arange(N)
    p = random_parameters((D, H, C), 43)
    W1, b1, W2, b2 = p.values()
    h1 = np.maximum(0, x.dot(W1) + b1)
    scores = h1.dot(W2) + b2
    powers = np.exp(scores)
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    data_loss = -np.log(probabilities[rows, y]).sum() / N
    dscores = probabilities.copy()
    dscores[rows, y] -= 1
    dscores /= N
    dW2 = h1.T.dot(dscores)
    db2 = dscores.sum(axis=0)
    dh1 = dscores.dot(W2.T)
    dz1 = dh1 * (h1 > 0)
    dW1 = x.T.dot(dz1)
    db1 = dz1.sum(axis=0)
    flat = {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}

    played = play_net(p, x, loss="softmax", targets=y)
    np.testing.assert_allclose(played.hidden[0], h1, rtol=1e-12, atol=1e-15)
    assert played.losses.mean() == pytest.approx(data_loss, rel=1e-13)
    np.testing.assert_allclose(value_and_gradient(LOSSES["softmax"], BACKEND, scores, y)[1] / N, dscores, rtol=1e-11)
    assert_close(played.gradients, flat, rtol=1e-11, atol=1e-14)
    train_loss, stepped = step_gradient(p, x, y, "softmax", 0.0)
    assert train_loss == pytest.approx(data_loss, rel=1e-13)
    assert_close(stepped, flat, rtol=1e-8, atol=1e-12)

    graph = Graph()
    nodes = {name: graph.variable(array, name) for name, array in p.items()}
    hidden = (graph.variable(x, "X") @ nodes["W1"] + nodes["b1"]).maximum(0)
    s = hidden @ nodes["W2"] + nodes["b2"]
    e = s.exp()
    loss = -((e / e.sum(axis=1)).log() * np.eye(C)[y]).sum() / N
    loss.backward()
    assert float(loss.value) == pytest.approx(data_loss, rel=1e-13)
    np.testing.assert_allclose(s.gradient, dscores, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(hidden.gradient, dh1, rtol=1e-11, atol=1e-15)
    assert_close({name: node.gradient for name, node in nodes.items()}, flat, rtol=1e-11, atol=1e-14)
