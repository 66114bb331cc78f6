"""Rows L11 to L15: random search, numerical and analytic gradients, descent by minibatches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.random import Stream, normal
from nets.batches import RowOrder
from nets.gradient_check import TOLERANCE, gradient_check
from nets.graph import Graph, Node
from nets.lecture.claim import Claim, Row, count, holds, number, numbers, same
from nets.lecture.play import (
    BACKEND,
    Floats,
    Tensors,
    accuracy,
    blobs,
    descend,
    line,
    play_net,
    random_parameters,
    spec_for,
)
from nets.losses import LOSSES, value_and_gradient

SLIDE = np.array([-2.5, 0.6, 0, 0.2, 0.7, -0.5, 1.1, 1.3, -2.1])
"""The slide's analytic gradient; a loss that is linear around W has it exactly."""
DRAWS = 1000


def slide_loss() -> tuple[Graph, Node, Node]:
    """(graph, W, L) with L = 1.25347 and ∂L/∂W = the slide's table."""
    graph = Graph()
    at = np.array([0.34, -1.11, 0.78, 0.12, 0.55, 2.81, -3.1, -1.5, 0.33])
    w = graph.variable(at, "W")
    loss = ((w * SLIDE).sum() + (1.25347 - float(SLIDE @ at))).named("L")
    return graph, w, loss


def random_search() -> list[Claim]:
    """L11: the best of a thousand draws against forty steps of descent, on the same rows."""
    table = blobs(rows=200, classes=10)
    x, y = np.asarray(table.x, np.float64), np.asarray(table.y)
    drawn = [normal(3, Stream.SEARCH, (50,), step=step) * 1e-4 for step in range(DRAWS)]
    weights, biases = np.stack([d[:40] for d in drawn]).reshape(DRAWS, 4, 10), np.stack([d[40:] for d in drawn])
    scores = x @ weights + biases[:, None]
    losses = value_and_gradient(LOSSES["softmax"], BACKEND, scores.reshape(-1, 10), np.tile(y, DRAWS))[0]
    per_draw = losses.reshape(DRAWS, -1).mean(axis=1)
    best = int(per_draw.argmin())
    guessed = accuracy({"W1": weights[best], "b1": biases[best]}, x, y)
    descended, _ = descend({"W1": np.zeros((4, 10)), "b1": np.zeros(10)}, x, y, 40, 0.5)
    trained = accuracy(descended, x, y)
    return [
        count("draws of W · 1e−4", len(per_draw), 1000),
        holds("the best draw beats ten equal scores, ln 10", per_draw[best] < np.log(10)),
        holds(f"40 steps of descent ({trained:.1%} right) beat it ({guessed:.1%})", trained > guessed),
    ]


def forward_differences() -> list[Claim]:
    """L12."""
    graph, w, loss = slide_loss()
    at, here, h = w.value.copy(), float(loss.value), 1e-4
    after = []
    for place in range(3):
        graph.forward({w: at + h * np.eye(9)[place]})
        after.append(float(loss.value))
    slopes = [(value - here) / h for value in after]
    return [
        number("L at W", here, 1.25347, "1.25347"),
        *numbers("L with h more of W", after, 1.25347 + h * SLIDE[:3], "0 1 2", "1.25322 1.25353 1.25347"),
        *numbers("slope along W", slopes, SLIDE[:3], "0 1 2", "-2.5 0.6 0", 1e-10),
    ]


def analytic_gradient() -> list[Claim]:
    """L13."""
    _, w, loss = slide_loss()
    loss.backward()
    slides = "-2.5 .6 0 .2 .7 -.5 1.1 1.3 -2.1"
    return numbers("∂L/∂W", np.asarray(w.gradient), SLIDE, "0 1 2 3 4 5 6 7 8", slides)


def _whole_net() -> tuple[Tensors, Floats, NDArray[np.int64]]:
    """Parameters, inputs and labels of a small net on a batch."""
    rng = np.random.default_rng(14)
    return random_parameters((4, 6, 3), 14), rng.normal(size=(12, 4)), rng.integers(3, size=12)


def checked() -> list[Claim]:
    """L14."""
    start, x, y = _whole_net()
    played = play_net(start, x, "tanh", loss="softmax", targets=y)
    gradient = np.concatenate([played.gradients[name].ravel() for name in start])
    at = np.concatenate([array.ravel() for array in start.values()])

    def loss(flat: Floats) -> float:
        cuts = np.cumsum([array.size for array in start.values()])[:-1]
        parts = {n: p.reshape(start[n].shape) for n, p in zip(start, np.split(flat, cuts), strict=True)}
        return float(play_net(parts, x, "tanh", loss="softmax", targets=y).losses.mean())

    rng, h = np.random.default_rng(0), 1e-5
    directions = rng.normal(size=(20, at.size))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    along = [(loss(at + h * u) - loss(at - h * u)) / (2 * h) for u in directions]
    steepest = loss(at - h * gradient / np.linalg.norm(gradient))
    errors = [
        max(gradient_check(spec_for(t, net={"hidden": [7, 5], "activation": "gelu"}), t, rows=10).errors.values())
        for t in (blobs(), line())
    ]
    return [
        same("slopes along 20 directions are dot products with the gradient", along, directions @ gradient, 1e-9),
        holds("none of them falls faster than −gradient", all(loss(at + h * u) > steepest for u in directions)),
        number("gradient check of a classifier", errors[0], 0.0, tolerance=TOLERANCE),
        number("gradient check of a regression", errors[1], 0.0, tolerance=TOLERANCE),
    ]


def minibatches() -> list[Claim]:
    """L15."""
    claims = []
    for size in (32, 64, 128, 256):
        epoch = RowOrder(seed=3, count=1000, batch=size, offset=0, shuffle=True, row_weight=None).epoch(0)
        seen = sorted(epoch.rows[epoch.weight > 0])
        claims.append(holds(f"an epoch in batches of {size} takes every row once", seen == list(range(1000))))
    start, x, y = _whole_net()
    _, curve = descend(start, x, y, 50, 0.1)
    return [*claims, holds("50 steps against the gradient: the loss falls at every one", (np.diff(curve) < 0).all())]


ROWS = (
    Row(
        "L11",
        "Random search",
        "Draw weights a thousand times and keep the best: better than nothing, and far behind following the slope. On "
        "CIFAR-10 the slide has 15.5 % right against 99.7 %.",
        "`optimizer: random_search`",
        random_search,
        "the same loop as a job, and against descent: tests/lecture",
    ),
    Row(
        "L12",
        "The slope, by differences",
        "Move one weight by h = 1e−4 and see how the loss changes: one forward pass for every weight.",
        "`nets.graph`: forward with changed values",
        forward_differences,
    ),
    Row(
        "L13",
        "The slope, by calculus",
        "Backpropagation has all of the same table at once.",
        "`nets.graph`: backward",
        analytic_gradient,
    ),
    Row(
        "L14",
        "Check one by the other",
        "The slope along a direction is its dot product with the gradient, so −gradient is the steepest way down. Use "
        "the analytic gradient, check it numerically.",
        "`POST /v1/gradient_checks`, a dry run, “check first” on the page",
        checked,
        link="#/new",
    ),
    Row(
        "L15",
        "Descent by minibatches",
        "Step against the gradient of a few rows at a time: 32, 64, 128 or 256.",
        "`training.batch_size`",
        minibatches,
        "the trainer is this loop, step by step: tests/lecture",
    ),
)
