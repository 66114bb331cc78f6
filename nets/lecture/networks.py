"""Rows L22 to L32: layers, activations, the forward pass, the 20-line program, capacity."""

from __future__ import annotations

import math

import numpy as np

from nets.lecture.claim import Claim, Row, count, holds, number, same
from nets.lecture.play import Floats, Tensors, activate, blobs, play_net, random_parameters, spec_for
from nets.parameters import Layout
from nets.resolve import parameter_count
from nets.table import Table
from nets.threads import blas_threads

PROGRAM = (64, 1000, 100, 10)
"""N, D, H, C of the 20-line program."""
STEPS_SHOWN = 50


def two_and_three() -> list[Claim]:
    """L22; the lecture's W is the transpose of the product's (in, out)."""
    rng = np.random.default_rng(22)
    x = rng.normal(size=5)
    w1, w2, w3 = rng.normal(size=(7, 5)), rng.normal(size=(6, 7)), rng.normal(size=(3, 6))
    two = play_net({"W1": w1.T, "W2": w2.T}, x[None]).scores[0]
    three = play_net({"W1": w1.T, "W2": w2.T, "W3": w3.T}, x[None]).scores[0]
    inner = w2 @ np.maximum(0, w1 @ x)
    return [same("W₂ max(0, W₁x)", two, inner), same("W₃ max(0, W₂ max(0, W₁x))", three, w3 @ np.maximum(0, inner))]


def shared_templates() -> list[Claim]:
    """L23."""
    table = Table.from_arrays(np.zeros((20, 3072), np.float32), np.arange(20) % 10)
    bare, biased = (
        parameter_count(spec_for(table, net={"hidden": [100], "bias": bias}), 3072, 10) for bias in (False, True)
    )
    first = Layout((3072, 100, 10)).named(np.zeros(biased))["W1"]
    return [
        count("weights of 3072 → 100 → 10", bare, 308_200),
        count("with biases", biased, 308_310),
        count("templates that all classes share", first.shape[1], 100),
        count("numbers of each, an image of 32 · 32 · 3", first.shape[0], 3072),
    ]


def collapse() -> list[Claim]:
    """L24."""
    p = random_parameters((5, 6, 7, 3), bias=False)
    x = np.random.default_rng(24).normal(size=(9, 5))
    product = p["W1"] @ p["W2"] @ p["W3"]
    one = play_net({"W1": product}, x).scores
    return [
        same("a stack without activations and one map", play_net(p, x, "identity").scores, one),
        Claim("shape of W₃W₂W₁, classes × inputs", "3 × 5", " × ".join(map(str, product.T.shape))),
        holds("with ReLU it is another function", np.abs(play_net(p, x).scores - one).max() > 0.1),
    ]


def activations() -> list[Claim]:
    """L25."""
    x = np.linspace(-10, 10, 4001)
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    formulas = {
        "sigmoid": 1 / (1 + np.exp(-x)),
        "tanh": np.tanh(x),
        "relu": np.maximum(0, x),
        "elu": np.where(x >= 0, x, np.exp(x) - 1),
        "gelu": 0.5 * x * (1 + np.tanh(inner)),
    }
    at_1 = 0.5 * (1 + math.tanh(math.sqrt(2 / math.pi) * 1.044715))
    fine = np.linspace(-10, 10, 20_001)
    gap = float(np.abs(activate("gelu", fine) - activate("gelu_erf", fine)).max())
    default = spec_for(blobs(), net={"hidden": [5, 4]}).net.activation
    return [
        *(same(name, activate(name, x), value) for name, value in formulas.items()),
        same("leaky_relu, max(.1x, x)", activate("leaky_relu", x, alpha=0.1), np.maximum(0.1 * x, x)),
        number("gelu(1)", float(activate("gelu", np.ones(1))[0]), at_1, "0.841192"),
        number("largest gap to x Φ(x)", gap, 4.73e-4, "4.73e-04", 5e-7),
        Claim("the default", "relu", default[0].name),
    ]


def naming() -> list[Claim]:
    """L26."""
    found = [
        len([n for n in play_net(random_parameters((4, *hidden, 3)), np.zeros((1, 4))).gradients if n[0] == "W"])
        for hidden in ([100], [8, 7])
    ]
    return [count("matrices of a net with 1 hidden layer", found[0], 2), count("with 2 hidden layers", found[1], 3)]


def three_lines() -> list[Claim]:
    """L27."""
    p = random_parameters((3, 4, 4, 1), 27)

    def f(z: Floats) -> Floats:
        return np.asarray(1.0 / (1.0 + np.exp(-z)))

    x = np.random.default_rng(1).normal(size=(3, 1))
    h1 = f(np.dot(p["W1"].T, x) + p["b1"][:, None])
    h2 = f(np.dot(p["W2"].T, h1) + p["b2"][:, None])
    out = np.dot(p["W3"].T, h2) + p["b3"][:, None]
    played = play_net(p, x.T, "sigmoid")
    return [
        same("first hidden layer", played.hidden[0].T, h1),
        same("second hidden layer", played.hidden[1].T, h2),
        same("output", played.scores.T, out),
    ]


def program_numbers() -> tuple[Floats, Floats, Tensors]:
    """x (N, D), y (N, C) and first weights of the 20-line program, drawn in its order from RandomState(0)."""
    n, d, h, c = PROGRAM
    rng = np.random.RandomState(0)
    x, y = rng.randn(n, d), rng.randn(n, c)
    return x, y, {"W1": rng.randn(d, h), "W2": rng.randn(h, c)}


def twenty_lines(x: Floats, y: Floats, start: Tensors, steps: int) -> tuple[list[float], Tensors]:
    """The slide's program, in its words: the loss of every step before its update, and the last weights."""
    w1, w2, losses = start["W1"].copy(), start["W2"].copy(), []
    for _ in range(steps):
        h = 1 / (1 + np.exp(-x.dot(w1)))
        y_pred = h.dot(w2)
        loss = np.square(y_pred - y).sum()
        losses.append(float(loss))
        grad_y_pred = 2.0 * (y_pred - y)
        grad_w2 = h.T.dot(grad_y_pred)
        grad_h = grad_y_pred.dot(w2.T)
        grad_w1 = x.T.dot(grad_h * h * (1 - h))
        w1 -= 1e-4 * grad_w1
        w2 -= 1e-4 * grad_w2
    return losses, {"W1": w1, "W2": w2}


def program() -> list[Claim]:
    """L28: the first steps of the program, and the same steps by the product's net."""
    x, y, start = program_numbers()
    weights, found, every = {name: array.copy() for name, array in start.items()}, [], np.ones(len(x))
    with blas_threads(1):  # products as small as these wait for a second thread longer than it helps
        losses, _ = twenty_lines(x, y, start, STEPS_SHOWN)
        for _ in range(STEPS_SHOWN):
            played = play_net(weights, x, "sigmoid", targets=y, upstream=every)  # squared errors, summed
            found.append(float(played.losses.sum()))
            for name, gradient in played.gradients.items():
                weights[name] -= 1e-4 * gradient
    return [
        number("first loss", found[0], losses[0], "24635.9", 1e-6),
        same(f"the next {STEPS_SHOWN - 1} losses, relative", np.array(found) / losses, np.ones(STEPS_SHOWN), 1e-9),
        holds("each is below the one before", (np.diff(found) < 0).all()),
    ]


def neuron() -> list[Claim]:
    """L31."""
    rng = np.random.default_rng(31)
    weights, x = rng.normal(size=6), rng.normal(size=(10, 6))
    layer = {"W1": weights[:, None], "b1": np.array([0.4]), "W2": np.ones((1, 1)), "b2": np.zeros(1)}
    rates = [1.0 / (1.0 + math.exp(-(np.sum(inputs * weights) + 0.4))) for inputs in x]
    return [same("σ(Σ wᵢxᵢ + b) of ten inputs", play_net(layer, x, "sigmoid").hidden[0][:, 0], rates)]


ROWS = (
    Row(
        "L22",
        "Two and three matrices",
        "f = W₂ max(0, W₁x), and once more for another layer: any depth, any widths.",
        "`net.hidden`, `net.bias`",
        two_and_three,
        "twelve hidden layers, with and without biases: tests/lecture",
    ),
    Row(
        "L23",
        "A hundred shared templates",
        "3072 → 100 → 10: the first layer has a hundred templates, of which every class may use each.",
        "the parameter count of a dry run; “First-layer templates” of a job",
        shared_templates,
    ),
    Row(
        "L24",
        "Why there is an activation",
        "Without one a stack of layers is one linear map, of classes × inputs.",
        "`activation: identity`",
        collapse,
    ),
    Row(
        "L25",
        "Six activations",
        "Sigmoid, tanh, ReLU, leaky ReLU, ELU, GELU. ReLU is a good default.",
        "`net.activation`",
        activations,
    ),
    Row(
        "L26",
        "How to count layers",
        "A net of two matrices has one hidden layer; this project counts hidden layers.",
        "`net.hidden`",
        naming,
    ),
    Row(
        "L27",
        "Three lines",
        "A net's forward pass is three lines of NumPy.",
        "weights files, `predict.py`",
        three_lines,
        "of a trained job's file: tests/lecture",
    ),
    Row(
        "L28",
        "Training in twenty lines",
        "64 rows, 1000 inputs, 100 sigmoids, 10 outputs, summed squared error, 2000 steps: the loss falls from 24635.9 "
        "to 4.3485. The first fifty steps are computed here.",
        "any job of these settings",
        program,
        "all 2000 steps, by the trainer and as a job: test_L28",
    ),
    Row(
        "L29",
        "More units, more capacity",
        "3, 6 and 20 hidden units follow the points more and more closely.",
        "the playground",
        None,
        "needs trained jobs: the playground puts them side by side; test_L29",
        "#/playground",
    ),
    Row(
        "L30",
        "Regularise with λ, not with size",
        "λ = .001, .01 and .1 smooth the boundary of the same net.",
        "the playground",
        None,
        "needs trained jobs: the playground puts them side by side; test_L30",
        "#/playground",
    ),
    Row("L31", "One neuron", "A neuron is a layer of one unit: σ(Σ wᵢxᵢ + b).", "`net.hidden: [1]`", neuron),
    Row(
        "L32",
        "Brains",
        "Real neurons are more than this, and are not wired in layers: an analogy only.",
        "",
        None,
        "There is nothing to compute",
    ),
)
