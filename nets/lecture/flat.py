"""Rows L33, L34, L42, L43, L49 and L50: whole losses on two layers, written out flat, and by every table row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.errors import InvalidInput
from kernels.operations import ACTIVATIONS
from nets.gradient_check import TOLERANCE, GradientCheck, gradient_check
from nets.graph import Graph
from nets.lecture.claim import Claim, Row, number, same
from nets.lecture.play import Floats, blobs, line, numerical_gradient, play_net, random_parameters, spec_for
from nets.losses import LOSSES
from nets.table import Table

N, D, H, C = 8, 5, 6, 3


def batch() -> tuple[Floats, NDArray[np.int64]]:
    """Eight rows of five inputs, in three classes."""
    rng = np.random.default_rng(42)
    return rng.normal(size=(N, D)), rng.integers(C, size=N)


def penalised() -> list[Claim]:
    """L33."""
    strength, (x, y) = 0.1, batch()
    start = random_parameters((D, H, C), 33, bias=False)

    def objective() -> float:
        data = play_net(start, x, loss="svm", targets=y).losses.mean()
        return float(data + sum(strength * (w**2).sum() for w in start.values()))

    found = play_net(start, x, loss="svm", targets=y).gradients
    expected = numerical_gradient(objective, start)
    return [
        same(f"∇{name} and central differences", found[name] + 2 * strength * start[name], expected[name], 1e-7)
        for name in start
    ]


def table_for(loss: str) -> Table:
    """A small data set that this loss accepts: three classes, else two, else regression."""
    for table in (blobs(), blobs(classes=2), line()):
        try:
            spec_for(table, loss=loss)
        except InvalidInput:
            continue
        return table
    raise ValueError(f"{loss} accepts no task")


def check_net(activation: str, loss: str, rows: int = 12) -> GradientCheck:
    """The product's own gradient check of a net with two hidden layers, this activation and this loss."""
    table = table_for(loss)
    return gradient_check(
        spec_for(table, net={"hidden": [6, 5], "activation": activation}, loss=loss), table, rows=rows
    )


def swappable() -> list[Claim]:
    """L34: every loss once, every activation once."""
    pairs = [("gelu", loss) for loss in LOSSES] + [(name, "softmax") for name in ACTIVATIONS if name != "gelu"]
    checks = [(f"{loss} on {activation}", check_net(activation, loss, rows=6)) for activation, loss in pairs]
    return [number(name, max(c.errors.values()), 0.0, tolerance=TOLERANCE) for name, c in checks]


def flat_svm() -> list[Claim]:
    """L42."""
    (x, y), reg, rows = batch(), 0.1, np.arange(N)
    W = np.random.default_rng(1).normal(size=(D, C))
    scores = x.dot(W)
    margins = np.maximum(0, scores - scores[rows, y][:, None] + 1.0)
    margins[rows, y] = 0
    dmargins = (margins > 0) / N
    dscores = dmargins.copy()
    dscores[rows, y] -= dmargins.sum(axis=1)
    dW = x.T.dot(dscores) + 2 * reg * W

    played = play_net({"W1": W}, x, loss="svm", targets=y)
    graph = Graph()
    w, others = graph.variable(W, "W"), 1 - np.eye(C)[y]
    s = graph.variable(x, "X") @ w
    own = (s * np.eye(C)[y]).sum(axis=1)
    loss = ((s - own + 1) * others).maximum(0).sum() * (1 / N) + w.squared_norm() * reg
    loss.backward()
    return [
        same("losses of the rows", played.losses, margins.sum(axis=1)),
        number("data and penalty, of the graph", float(loss.value), float(margins.sum() / N + reg * (W * W).sum())),
        same("dscores, of the graph", np.asarray(s.gradient), dscores),
        same("dW, of the graph", np.asarray(w.gradient), dW),
        same("dW, of the net", played.gradients["W1"] + 2 * reg * W, dW),
    ]


def flat_softmax() -> list[Claim]:
    """L43."""
    (x, y), rows, p = batch(), np.arange(N), random_parameters((D, H, C), 43)
    W1, b1, W2, b2 = p.values()
    h1 = np.maximum(0, x.dot(W1) + b1)
    powers = np.exp(h1.dot(W2) + b2)
    dscores = powers / powers.sum(axis=1, keepdims=True)
    data_loss = -np.log(dscores[rows, y]).sum() / N
    dscores[rows, y] -= 1
    dscores /= N
    dz1 = dscores.dot(W2.T) * (h1 > 0)
    flat = {"W1": x.T.dot(dz1), "b1": dz1.sum(axis=0), "W2": h1.T.dot(dscores), "b2": dscores.sum(axis=0)}

    played = play_net(p, x, loss="softmax", targets=y)
    graph = Graph()
    nodes = {name: graph.variable(array, name) for name, array in p.items()}
    hidden = (graph.variable(x, "X") @ nodes["W1"] + nodes["b1"]).maximum(0)
    e = (hidden @ nodes["W2"] + nodes["b2"]).exp()
    (-((e / e.sum(axis=1)).log() * np.eye(C)[y]).sum() / N).backward()
    return [
        number("loss", float(played.losses.mean()), float(data_loss)),
        *(same(f"d{name}, of the net", played.gradients[name], flat[name]) for name in flat),
        *(same(f"d{name}, of the graph", np.asarray(nodes[name].gradient), flat[name]) for name in flat),
    ]


def squared_output() -> list[Claim]:
    """L49."""
    x, _ = batch()
    p = random_parameters((D, H, C), 49, bias=False)
    z1 = x @ p["W1"]
    h1 = np.maximum(0, z1)
    y_hat = h1 @ p["W2"]
    derived = {"W1": x.T @ ((2 * y_hat @ p["W2"].T) * (z1 > 0)), "W2": 2 * h1.T @ y_hat}
    played = play_net(p, x, upstream=np.ones(N))  # targets 0, summed: ‖ŷ‖²
    graph = Graph()
    w1, w2 = graph.variable(p["W1"], "W1"), graph.variable(p["W2"], "W2")
    ((graph.variable(x, "X") @ w1).relu() @ w2).squared_norm().backward()
    return [
        number("‖ŷ‖²", float(played.losses.sum()), float((y_hat**2).sum())),
        same("∂L/∂W₂ = 2h₁ᵀŷ, of the net", played.gradients["W2"], derived["W2"]),
        same("∂L/∂W₁ = Xᵀ(2ŷW₂ᵀ ⊙ 1[z₁ > 0]), of the net", played.gradients["W1"], derived["W1"]),
        same("∂L/∂W₂, of the graph", np.asarray(w2.gradient), derived["W2"]),
        same("∂L/∂W₁, of the graph", np.asarray(w1.gradient), derived["W1"]),
    ]


ROWS = (
    Row(
        "L33",
        "The whole objective",
        "The SVM loss of two matrices, with a penalty on both.",
        "`loss: svm`, `optimizer.l2`",
        penalised,
        "one step of the trainer moves by it: tests/lecture",
    ),
    Row(
        "L34",
        "A loss can be exchanged",
        "Nothing has to be derived again. Here every loss and every activation once, as the largest relative error "
        "of a gradient check.",
        "`loss`, `net.activation`, the gradient check",
        swappable,
        "every loss on every activation, and that one wrong sign is caught: tests/lecture",
    ),
    Row("L42", "The SVM, flat", "Scores, margins, loss; then dmargins, dscores, dW.", "`loss: svm`", flat_svm),
    Row(
        "L43",
        "Softmax on a hidden layer, flat",
        "dscores, dW₂, db₂, dh₁, dW₁, db₁, line by line.",
        "`loss: softmax`",
        flat_softmax,
        "one step of the trainer moves by it: tests/lecture",
    ),
    Row(
        "L49",
        "‖ReLU(XW₁)W₂‖²",
        "The last example, on a batch.",
        "`loss: squared_error`",
        squared_output,
    ),
    Row(
        "L50",
        "Out of scope",
        "Course matters, pictures of other nets, a look ahead at convolution.",
        "",
        None,
        "There is nothing to compute",
    ),
)
