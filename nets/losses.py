"""Losses: each takes raw scores, gives the loss of every sample and the gradient, and owns its link.

A loss over values is one row with two expressions (`kernels.pointwise`), from which every engine computes it. A loss
over classes compares all scores of a sample: its row has a function that binds NumPy's calls, which is all that the
layered engine needs. Faster forms are optional: a struct in `kernels/cuda/losses.cuh`, named in `kernels.fused_source`,
and a function in `kernels/compiled/losses.py`, named in `nets.compiled_evaluator`; without them the layers train it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kernels.backend import Backend
from kernels.pointwise import Pointwise
from kernels.programs import Evaluator
from nets.options import Option, Value, number
from nets.tape import Array, Tape, call, play

Floats = NDArray[np.floating]
Sides = NDArray[np.bool_]


@dataclass(frozen=True)
class Arrays:
    """What a loss is bound to: scores (M, C, B), targets, weights (M, B), records (n_records, M, B).

    `targets` are flat positions (M, B, 1) of each sample's class in the scores (`target == "class"`), or
    numbers (M, B, C) (`target == "values"`). `weights` scale each sample's gradient: 1/count for a mean,
    1 for a sum, 0 for a padded row.
    """

    scores: Array
    targets: Array
    weights: Array
    records: Array


@dataclass(frozen=True)
class Loss:
    """One loss: how it is bound, what its records mean, its link from scores to probabilities."""

    name: str
    doc: str
    source: str
    tasks: tuple[str, ...]
    target: Literal["class", "values"]
    n_records: int
    bind: Callable[[Backend, Arrays, Mapping[str, Value]], Tape]
    values: Callable[[Floats], Floats]
    """records (n_records, ...) as float64 -> loss of every sample (...)."""
    probabilities: Callable[[Floats], Floats] | None = None
    """scores (n, C) -> probabilities (n, classes); None where the loss has no probabilistic reading."""
    options: tuple[Option, ...] = ()
    one_output: bool = False
    """True if one score tells two classes apart: above 0 means the second."""
    pointwise: Pointwise | None = None
    """What a loss over values is of each score; every engine is written from it."""
    sides: Callable[[Floats, NDArray[Any], Mapping[str, Value]], Sides] | None = None
    """(scores (n, C), codes (n,) or values (n, C), options) -> where each score lies beside its kinks; None: smooth."""

    def is_mean(self, options: Mapping[str, Value]) -> bool:
        """True if the batch loss is the mean over samples, False if it is their sum."""
        return options.get("reduction", "mean") == "mean"

    def classes(self, scores: Array, axis: int) -> Array:
        """Codes of the predicted classes; the classes' scores lie along `axis`, which vanishes."""
        return (scores > 0).take(0, axis=axis) if self.one_output else scores.argmax(axis=axis)


def softmax(scores: Floats) -> Floats:
    """exp(s_c) / Σ exp(s_k) along the last axis, shifted by the largest score so that nothing overflows."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def _bind_softmax(backend: Backend, at: Arrays, options: Mapping[str, Value]) -> Tape:
    """dL/ds_c = p_c for c != y and -(Σ_{c != y} p_c) for c = y: no 1 - p, nothing cancels."""
    smoothing = number(options, "label_smoothing")
    if smoothing:
        return _bind_smoothed_softmax(backend, at, smoothing)
    xp, scores, labels = backend.xp, at.scores, at.targets[..., 0]
    rest, own_logit = at.records[0], at.records[1]  # Σ_{c != y} exp(s_c - max) and s_y - max
    peak = xp.empty_like(scores[:, :1])
    own, scale = xp.empty(rest.shape, rest.dtype), xp.empty(rest.shape, rest.dtype)
    tape: Tape = []
    call(tape, scores.max, axis=1, out=peak, keepdims=True)
    call(tape, xp.subtract, scores, peak, out=scores)
    call(tape, backend.take_rows, scores.reshape(-1, 1), labels, own_logit[..., None])
    call(tape, xp.exp, scores, out=scores)
    call(tape, xp.exp, own_logit, out=own)
    call(tape, scores.put, labels, 0.0)
    call(tape, scores.sum, axis=1, out=rest)
    call(tape, xp.add, rest, own, out=own)
    call(tape, xp.divide, at.weights, own, out=scale)
    call(tape, xp.negative, rest, out=own)
    call(tape, scores.put, labels, own)
    call(tape, xp.multiply, scores, scale[:, None, :], out=scores)
    return tape


def _bind_smoothed_softmax(backend: Backend, at: Arrays, smoothing: float) -> Tape:
    """Targets t_c = (1 - ε)[c = y] + ε/C: L = ln Σ exp(s_k) - Σ t_c s_c and dL/ds = p - t.

    The records are those of an unsmoothed sample whose own logit is Σ t_c (s_c - max).
    """
    xp, scores, labels = backend.xp, at.scores, at.targets[..., 0]
    rest, aim = at.records[0], at.records[1]
    peak = xp.empty_like(scores[:, :1])
    own, total, part = (xp.empty(rest.shape, rest.dtype) for _ in range(3))
    share = smoothing / scores.shape[1]
    tape: Tape = []
    call(tape, scores.max, axis=1, out=peak, keepdims=True)
    call(tape, xp.subtract, scores, peak, out=scores)
    call(tape, backend.take_rows, scores.reshape(-1, 1), labels, own[..., None])
    call(tape, scores.sum, axis=1, out=part)
    call(tape, xp.multiply, part, share, out=part)
    call(tape, xp.multiply, own, 1 - smoothing, out=aim)
    call(tape, xp.add, aim, part, out=aim)
    call(tape, xp.exp, scores, out=scores)
    call(tape, scores.sum, axis=1, out=total)
    call(tape, xp.exp, aim, out=rest)
    call(tape, xp.subtract, total, rest, out=rest)
    call(tape, xp.divide, at.weights, total, out=total)
    call(tape, xp.multiply, scores, total[:, None, :], out=scores)  # w p
    call(tape, xp.multiply, at.weights, share, out=part)
    call(tape, xp.subtract, scores, part[:, None, :], out=scores)
    call(tape, backend.take_rows, scores.reshape(-1, 1), labels, own[..., None])
    call(tape, xp.multiply, at.weights, 1 - smoothing, out=part)
    call(tape, xp.subtract, own, part, out=own)
    call(tape, scores.put, labels, own)
    return tape


def _softmax_values(records: Floats) -> Floats:
    """-ln p_y = ln(rest + exp(own)) - own; log1p keeps losses of 1e-48 that a plain log would call 0."""
    rest, own_logit = records
    return np.asarray(np.log1p(rest + np.expm1(own_logit)) - own_logit)


def _bind_svm(backend: Backend, at: Arrays, options: Mapping[str, Value]) -> Tape:
    """L = Σ_{c != y} max(0, s_c - s_y + margin); at a kink (exactly at the margin) the gradient is 0."""
    xp, scores, labels, loss = backend.xp, at.scores, at.targets[..., 0], at.records[0]
    own, active = xp.empty_like(loss), xp.empty(scores.shape, dtype=bool)
    margin = xp.asarray(options["margin"], dtype=scores.dtype)
    tape: Tape = []
    call(tape, backend.take_rows, scores.reshape(-1, 1), labels, own[..., None])
    call(tape, xp.subtract, own, margin, out=own)
    call(tape, xp.subtract, scores, own[:, None, :], out=scores)
    call(tape, scores.put, labels, 0.0)
    call(tape, xp.maximum, scores, 0, out=scores)
    call(tape, scores.sum, axis=1, out=loss)
    call(tape, xp.greater, scores, 0, out=active)
    call(tape, xp.multiply, active, at.weights[:, None, :], out=scores)
    call(tape, scores.sum, axis=1, out=own)
    call(tape, xp.negative, own, out=own)
    call(tape, scores.put, labels, own)
    return tape


def _svm_sides(scores: Floats, codes: NDArray[Any], options: Mapping[str, Value]) -> Sides:
    own = np.take_along_axis(scores, np.asarray(codes, np.int64)[:, None], axis=1)
    return np.asarray(scores - own + number(options, "margin") > 0)


def bind_pointwise(one: Pointwise, backend: Backend, at: Arrays, options: Mapping[str, Value]) -> Tape:
    """L = Σ_c value(s_c, t_c), dL/ds_c = slope(s_c, t_c)."""
    scores, loss, value = at.scores, at.records[0], backend.xp.empty_like(at.scores)
    weights = backend.xp.broadcast_to(at.weights[:, None, :], scores.shape)
    arrays = {"score": scores, "target": at.targets.transpose(0, 2, 1), "weight": weights}
    numbers = {name: number(options, name) for name in one.parameters}
    tape = backend.bind(one.value_expression, arrays, numbers, value)
    call(tape, value.sum, axis=1, out=loss)
    return tape + backend.bind(one.pullback_expression, arrays, numbers, scores)


def _pointwise_sides(one: Pointwise, scores: Floats, values: NDArray[Any], options: Mapping[str, Value]) -> Sides:
    arrays = {"score": scores, "target": np.broadcast_to(values, scores.shape).astype(scores.dtype)}
    numbers = tuple((name, number(options, name)) for name in one.parameters)
    sides = []
    for expression in one.kink_expressions:
        distance = np.empty_like(scores)
        _EVALUATOR.evaluate(expression, tuple(arrays), tuple(arrays.values()), numbers, distance)
        sides.append(distance > 0)
    return np.concatenate(sides, axis=1)


def over_values(
    name: str,
    doc: str,
    source: str,
    one: Pointwise,
    tasks: tuple[str, ...] = ("regression", "classification"),
    options: tuple[Option, ...] = (),
    **more: Any,
) -> Loss:
    """The row of a loss over values: of its scores one by one."""
    sides = partial(_pointwise_sides, one) if one.kinks else None
    bind = partial(bind_pointwise, one)
    return Loss(
        name, doc, source, tasks, "values", 1, bind, _recorded, options=options, sides=sides, pointwise=one, **more
    )


def _binary_probabilities(scores: Floats) -> Floats:
    return softmax(np.concatenate([np.zeros_like(scores), scores], axis=-1))


def _recorded(records: Floats) -> Floats:
    return np.asarray(records[0])


_REDUCTION = Option("reduction", "mean", "Over the samples of a batch.", choices=("mean", "sum"))
_EVALUATOR = Evaluator()

LOSSES: Mapping[str, Loss] = {
    row.name: row
    for row in (
        Loss(
            "softmax",
            "Cross-entropy of the softmax: -ln p_y, mean over samples.",
            "Bishop, Pattern Recognition and Machine Learning, eq. 4.108",
            ("classification",),
            "class",
            2,
            _bind_softmax,
            _softmax_values,
            softmax,
            (
                Option(
                    "label_smoothing",
                    0.0,
                    "ε: the right class counts 1 - ε, and every class ε/C more (Szegedy et al. 2016, section 7).",
                    0.0,
                    0.99,
                    later=True,
                ),
            ),
        ),
        Loss(
            "svm",
            "Multiclass hinge: Σ over wrong classes of max(0, s_c - s_y + margin), mean over samples.",
            "Weston & Watkins 1999, Support vector machines for multi-class pattern recognition",
            ("classification",),
            "class",
            1,
            _bind_svm,
            _recorded,
            options=(Option("margin", 1.0, "Lead the right class must have.", 0.0, 1e6, low_open=True),),
            sides=_svm_sides,
        ),
        over_values(
            "squared_error",
            "Σ (score - target)² per sample; classification uses one-hot targets.",
            "Gauss 1809; no factor 1/2",
            Pointwise("(score - target)**2", "2 * (score - target)"),
            options=(_REDUCTION,),
        ),
        over_values(
            "huber",
            "r²/2 for |r| <= delta, delta (|r| - delta/2) beyond: outliers pull with a bounded force.",
            "Huber 1964, Robust estimation of a location parameter",
            Pointwise(  # with r = score - target, and h = r held within ±delta: h (r - h/2)
                "maximum(minimum(score - target, delta), -delta)"
                " * (score - target - 0.5 * maximum(minimum(score - target, delta), -delta))",
                "maximum(minimum(score - target, delta), -delta)",
                ("delta",),
                ("score - target - delta", "score - target + delta"),
            ),
            options=(
                Option(
                    "delta",
                    1.0,
                    "Residual, in standard deviations of the target, where it turns linear.",
                    0.0,
                    1e6,
                    low_open=True,
                ),
                _REDUCTION,
            ),
        ),
        over_values(
            "absolute_error",
            "Σ |score - target| per sample: fits the median; classification uses one-hot targets.",
            "Laplace 1774",
            Pointwise(  # 0 where they are equal; NaN stays NaN
                "abs(score - target)",
                "where(score > target, 1, where(score < target, -1, score - target))",
                kinks=("score - target",),
            ),
            options=(_REDUCTION,),
        ),
        over_values(
            "binary_cross_entropy",
            "-ln of the right class's probability from one output: σ(score) is the second of two classes.",
            "Bishop, Pattern Recognition and Machine Learning, eq. 4.90",
            Pointwise(  # with m = score for the first class and -score for the second: ln(1 + e^m), nothing cancels
                "softplus(score * (1 - 2*target))", "sigmoid(score * (1 - 2*target)) * (1 - 2*target)"
            ),
            ("classification",),
            probabilities=_binary_probabilities,
            one_output=True,
        ),
    )
}


def default_loss(task: str) -> str:
    """softmax for classification, squared_error for regression."""
    return "softmax" if task == "classification" else "squared_error"


def value_and_gradient(
    loss: Loss,
    backend: Backend,
    scores: Floats,
    targets: NDArray[np.generic],
    options: Mapping[str, Value] | None = None,
) -> tuple[Floats, Floats]:
    """Loss (n,) and unweighted gradient (n, C) of raw scores (n, C), through the bound tape.

    `targets` are class codes (n,) or values (n, C). For tests, checks and explanations, not for training.
    """
    chosen = {o.name: o.default for o in loss.options} | dict(options or {})
    count, width = scores.shape
    columns = backend.to_device(np.ascontiguousarray(scores.T)[None])
    if loss.target == "class":
        targets = (targets * count + np.arange(count))[:, None]
    at = Arrays(
        columns,
        backend.to_device(targets[None]),
        backend.to_device(np.ones((1, count), scores.dtype)),
        backend.zeros((loss.n_records, 1, count), scores.dtype),
    )
    play(loss.bind(backend, at, chosen))
    values = loss.values(backend.to_host(at.records).astype(np.float64))[0]
    return values, np.ascontiguousarray(backend.to_host(columns)[0].T.reshape(count, width))
