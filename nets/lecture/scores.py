"""Rows L01 to L10: linear scores, the SVM and softmax losses, the penalty."""

from __future__ import annotations

import math

import numpy as np

from nets.gradient_check import gradient_check
from nets.graph import Graph
from nets.lecture.claim import Claim, Row, count, holds, number, numbers, same
from nets.lecture.play import BACKEND, blobs, loss_of, play_net, spec_for
from nets.losses import LOSSES, softmax, value_and_gradient
from nets.resolve import parameter_count
from nets.table import Table

W = np.array([[0.01, -0.05, 0.1, 0.05], [0.7, 0.2, 0.05, 0.16], [0, -0.45, -0.2, 0.03]])
X = np.array([-15.0, 22, -44, 56])
B = np.array([0, 0.2, -0.3])
Y = 2
SCORES = np.array([-2.85, 0.86, 0.28])
"""The worked example: f = Wx + b of one image with four pixels and three classes."""
CAT_CAR_FROG = np.array([3.2, 5.1, -1.7])


def linear() -> list[Claim]:
    """L01."""
    table = Table.from_arrays(np.zeros((20, 3072), np.float32), np.arange(20) % 10)
    counts = [parameter_count(spec_for(table, net={"hidden": [], "bias": bias}), 3072, 10) for bias in (False, True)]
    rng = np.random.default_rng(1)
    weights, bias, x = rng.normal(size=(3072, 10)), rng.normal(size=10), rng.normal(size=(5, 3072))
    scores = play_net({"W1": weights, "b1": bias}, x).scores
    folded = play_net({"W1": np.vstack([weights, bias])}, np.hstack([x, np.ones((5, 1))])).scores
    return [
        count("weights of 32 · 32 · 3 inputs and 10 scores", counts[0], 32 * 32 * 3 * 10),
        count("parameters with the bias", counts[1], 10 * 3073),
        same("scores, of xW + b", scores, x @ weights + bias, 1e-11),
        same("the bias as a row of W behind a column of ones", folded, scores, 1e-11),
    ]


def worked_scores() -> list[Claim]:
    """L02."""
    (scores,) = play_net({"W1": W.T, "b1": B}, X[None]).scores
    return numbers("score of class", scores, SCORES, "0 1 2", "-2.85 0.86 0.28")


def worked_svm() -> list[Claim]:
    """L03."""
    (loss,) = play_net({"W1": W.T, "b1": B}, X[None], loss="svm", targets=np.array([Y])).losses
    return [number("max(0, −2.85 − .28 + 1) + max(0, .86 − .28 + 1)", loss, 1.58, "1.58")]


def worked_softmax() -> list[Claim]:
    """L04."""
    powers = np.exp(SCORES)
    (probabilities,) = softmax(SCORES[None])
    (loss,) = play_net({"W1": W.T, "b1": B}, X[None], loss="softmax", targets=np.array([Y])).losses
    exact = -math.log(powers[Y] / powers.sum())
    return [
        *numbers("exp of score", np.exp(play_net({"W1": W.T, "b1": B}, X[None]).scores[0]), powers, "0 1 2"),
        *numbers("probability of class", probabilities, powers / powers.sum(), "0 1 2", ".0154 .631 .353"),
        number("loss, −ln p₂", loss, exact, "1.0402"),
        number("to base 10, which the slide shows", loss / math.log(10), exact / math.log(10), "0.452"),
    ]


def cat_car_frog() -> list[Claim]:
    """L05."""
    powers = np.exp(CAT_CAR_FROG)
    shares = softmax(CAT_CAR_FROG[None])[0]
    return [
        *numbers("probability of", shares, powers / powers.sum(), "cat car frog", ".13 .87 .00"),
        number("softmax loss", loss_of("softmax", CAT_CAR_FROG), math.log(powers.sum()) - 3.2, "2.0404"),
        number("SVM loss", loss_of("svm", CAT_CAR_FROG), 5.1 - 3.2 + 1, "2.9"),
    ]


def entropies() -> list[Claim]:
    """L06."""
    rng = np.random.default_rng(6)
    scores, p = rng.normal(size=(40, 7)) * 3, rng.dirichlet(np.ones(7), size=40)
    q = softmax(scores)
    columns = [value_and_gradient(LOSSES["softmax"], BACKEND, scores, np.full(40, c))[0] for c in range(7)]
    minus_log_q = np.stack(columns, axis=1)
    entropy, divergence = -(p * np.log(p)).sum(axis=1), (p * np.log(p / q)).sum(axis=1)
    return [
        holds("all probabilities are at least 0", (q >= 0).all()),
        same("they sum to 1", q.sum(axis=1), np.ones(40)),
        same("H(P, Q) = H(P) + KL(P‖Q)", (p * minus_log_q).sum(axis=1), entropy + divergence, 1e-10),
        same("one-hot: the loss is −ln q of the class", minus_log_q, -np.log(q), 1e-10),
    ]


def bounds() -> list[Claim]:
    """L07."""
    gaps = np.array([1.0, 30, 300, 700])
    right = [loss_of("softmax", [gap, 0.0]) for gap in gaps]
    return [
        same("loss of a lead of 1, 30, 300, 700, relative", right / np.log1p(np.exp(-gaps)), np.ones(4)),
        holds("it is above 0 at a lead of 700", right[-1] > 0),
        holds("and below 1e−304", right[-1] < 1e-304),
        number("a lag of 100 000 costs as much", loss_of("softmax", [1e5, 0.0], 1), 1e5),
    ]


def at_first() -> list[Claim]:
    """L08."""
    table = blobs(rows=200, classes=10)
    check = gradient_check(spec_for(table, net={"init": "normal:0.0001"}), table)
    return [
        number("ten equal scores, ln 10", loss_of("softmax", np.zeros(10)), math.log(10), "2.302585"),
        number("a net with small weights", check.initial_loss, math.log(10), "2.3", 1e-5),
        number("what a check expects", check.expected_loss or 0.0, math.log(10), "2.3"),
    ]


def three_vectors() -> list[Claim]:
    """L09."""
    vectors = [[10, -2, 3], [10, 9, 9], [10, -100, -100]]
    exact = [math.log1p(math.exp(-12) + math.exp(-7)), math.log1p(2 * math.exp(-1)), 2 * math.exp(-110)]
    slides = ["9.1761e-04", "0.551445", "3.378e-48"]
    found = [loss_of("softmax", vector) for vector in vectors]
    return [
        *(number(f"SVM loss of {vector}", loss_of("svm", vector), 0.0, "0") for vector in vectors),
        *(
            number(f"softmax loss of {vector}", got, value, slide, 1e-13 * value)
            for vector, got, value, slide in zip(vectors, found, exact, slides, strict=True)
        ),
        number("the third by −ln of a probability", -math.log(softmax(np.array([vectors[2]], float))[0, 0]), 0.0),
    ]


def penalty() -> list[Claim]:
    """L10."""
    rng, strength = np.random.default_rng(10), 0.25
    x, y = rng.normal(size=(12, 4)), rng.integers(3, size=12)
    weights, bias = rng.normal(size=(4, 3)), rng.normal(size=3)
    played = play_net({"W1": weights, "b1": bias}, x, loss="softmax", targets=y)
    graph = Graph()
    w, b = graph.variable(weights, "W"), graph.variable(bias, "b")
    scores = graph.variable(x, "X") @ w + b
    powers = scores.exp()
    data = -((powers / powers.sum(axis=1)).log() * np.eye(3)[y]).sum() / 12
    (data + w.squared_norm() * strength).backward()
    return [
        number("data term, the mean over the rows", float(data.value), float(played.losses.mean())),
        same("∇W − ∇W of the data term, 2λW", _of(w.gradient) - played.gradients["W1"], 2 * strength * weights),
        same("∇b is that of the data term alone", _of(b.gradient), played.gradients["b1"]),
    ]


def _of(gradient: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(gradient, np.float64)


ROWS = (
    Row(
        "L01",
        "A linear classifier",
        "f = Wx + b gives every class a score. It is a net without a hidden layer; the bias may be one more row of W "
        "behind an input that is always 1.",
        "`net.hidden: []`; the parameter count of a dry run",
        linear,
    ),
    Row(
        "L02",
        "Scores of a worked example",
        "One image of four pixels, three classes: s = Wx + b.",
        "the scores of every net",
        worked_scores,
    ),
    Row(
        "L03",
        "The SVM loss of the example",
        "Every wrong class costs what its score lacks of being 1 below the right one's.",
        "`loss: svm`",
        worked_svm,
    ),
    Row(
        "L04",
        "The softmax loss of the example",
        "Scores become probabilities by exp and division; the loss is −ln of the right one's. The slide's .452 is a "
        "logarithm to base 10.",
        "`loss: softmax`",
        worked_softmax,
    ),
    Row(
        "L05",
        "Cat, car, frog",
        "The scores 3.2, 5.1 and −1.7 of a cat: what both losses say.",
        "both losses; the probabilities of a prediction",
        cat_car_frog,
    ),
    Row(
        "L06",
        "Cross-entropy",
        "Cross-entropy is entropy plus divergence; with one right answer it is −ln of its probability.",
        "`loss: softmax`",
        entropies,
    ),
    Row(
        "L07",
        "From 0 to infinity",
        "The softmax loss comes as near to 0 as numbers can, never reaches it, and has no upper bound.",
        "`loss: softmax`, by log1p",
        bounds,
    ),
    Row(
        "L08",
        "The first loss is ln C",
        "A net that knows nothing gives C classes equal scores, which costs ln C: the first thing to look at.",
        "`initial_loss` and `expected_loss` of a dry run; “check first” on the page",
        at_first,
        link="#/new",
    ),
    Row(
        "L09",
        "Content or never content",
        "Three score vectors with the right class far ahead: the SVM loss is 0, the softmax loss only smaller and "
        "smaller, which takes log-sum-exp to see.",
        "both losses",
        three_vectors,
    ),
    Row(
        "L10",
        "The penalty",
        "L is the mean loss of the rows plus λ ΣW²; the penalty's gradient is 2λW, and biases have none.",
        "`optimizer.l2`",
        penalty,
        "one step of the trainer moves by it: tests/lecture",
    ),
)
