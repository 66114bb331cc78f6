"""A tiny independent float64 trainer, written from the formulas alone: textbook loops, no shared code."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

F = Callable[[np.ndarray], np.ndarray]


def _erf(z: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf, otypes=[float])(z)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


C = math.sqrt(2 / math.pi)


def _gelu_slope(z: np.ndarray) -> np.ndarray:
    t = np.tanh(C * (z + 0.044715 * z**3))
    return 0.5 * (1 + t) + 0.5 * z * (1 - t**2) * C * (1 + 3 * 0.044715 * z**2)


ACTIVATIONS: dict[str, tuple[F, F]] = {
    "identity": (lambda z: z, np.ones_like),
    "sigmoid": (_sigmoid, lambda z: _sigmoid(z) * (1 - _sigmoid(z))),
    "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.01 * z), lambda z: np.where(z > 0, 1, 0.01)),
    "elu": (lambda z: np.where(z > 0, z, np.exp(z) - 1), lambda z: np.where(z > 0, 1, np.exp(z))),
    "gelu": (lambda z: 0.5 * z * (1 + np.tanh(C * (z + 0.044715 * z**3))), _gelu_slope),
    "gelu_erf": (
        lambda z: 0.5 * z * (1 + _erf(z / math.sqrt(2))),
        lambda z: 0.5 * (1 + _erf(z / math.sqrt(2))) + z * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi),
    ),
    "silu": (lambda z: z * _sigmoid(z), lambda z: _sigmoid(z) * (1 + z * (1 - _sigmoid(z)))),
    "softplus": (lambda z: np.log(1 + np.exp(z)), _sigmoid),
    "selu": (
        lambda z: 1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * (np.exp(z) - 1)),
        lambda z: 1.0507009873554805 * np.where(z > 0, 1, 1.6732632423543772 * np.exp(z)),
    ),
}


def loss_and_slope(name: str, s: np.ndarray, y: np.ndarray, **options: float) -> tuple[np.ndarray, np.ndarray]:
    """Per-sample loss (n,) and dL/ds (n, C)."""
    n = np.arange(len(s))
    if name == "squared_error":
        t = np.eye(s.shape[1])[y] if y.ndim == 1 else y
        return ((s - t) ** 2).sum(1), 2 * (s - t)
    if name == "huber":
        t = np.eye(s.shape[1])[y] if y.ndim == 1 else y
        r, delta = s - t, options.get("delta", 1.0)
        inside = abs(r) <= delta
        return np.where(inside, r**2 / 2, delta * abs(r) - delta**2 / 2).sum(1), np.where(inside, r, delta * np.sign(r))
    if name == "absolute_error":
        t = np.eye(s.shape[1])[y] if y.ndim == 1 else y
        return abs(s - t).sum(1), np.sign(s - t)
    if name == "binary_cross_entropy":
        p = _sigmoid(s[:, 0])
        return -(y * np.log(p) + (1 - y) * np.log(1 - p)), (p - y)[:, None]
    if name == "softmax":
        p, smoothing = np.exp(s) / np.exp(s).sum(1, keepdims=True), options.get("label_smoothing", 0.0)
        t = (1 - smoothing) * np.eye(s.shape[1])[y] + smoothing / s.shape[1]
        return -(t * np.log(p)).sum(1), p - t
    own = s[n, y][:, None]
    margins = np.maximum(0, s - own + 1)
    margins[n, y] = 0
    slope = (margins > 0) * 1.0
    slope[n, y] = -slope.sum(1)
    return margins.sum(1), slope


def train(
    weights: list[np.ndarray],
    biases: list[np.ndarray] | None,
    x: np.ndarray,
    y: np.ndarray,
    orders: list[np.ndarray],
    *,
    batch: int,
    activation: list[str],
    loss: str,
    optimizer: dict[str, float | str | bool],
    reduction: str = "mean",
    row_weight: np.ndarray | None = None,
    clip_norm: float | None = None,
    loss_options: dict[str, float] | None = None,
) -> tuple[list[np.ndarray], list[np.ndarray], list[float]]:
    """Train with the rows of every epoch given in order; returns weights, biases, mean loss per epoch."""
    W, b = [w.astype(float) for w in weights], [v.astype(float) for v in biases or []]
    tensors = W + b
    first, second = [np.zeros_like(t) for t in tensors], [np.zeros_like(t) for t in tensors]
    row_weight = np.ones(len(x)) if row_weight is None else row_weight
    curve, t = [], 0
    for order in orders:
        total = 0.0
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            a, zs = [x[rows]], []
            for layer, w in enumerate(W):
                z = a[-1] @ w + (b[layer] if b else 0)
                zs.append(z)
                a.append(z if layer == len(W) - 1 else ACTIVATIONS[activation[layer]][0](z))
            values, d = loss_and_slope(loss, a[-1], y[rows], **(loss_options or {}))
            total += float((row_weight[rows] * values).sum())
            d = d * row_weight[rows][:, None] / (len(rows) if reduction == "mean" else 1)
            dW, db = [np.zeros(0)] * len(W), [np.zeros(0)] * len(b)
            for layer in reversed(range(len(W))):
                dW[layer] = a[layer].T @ d
                if b:
                    db[layer] = d.sum(0)
                if layer:
                    d = (d @ W[layer].T) * ACTIVATIONS[activation[layer - 1]][1](zs[layer - 1])
            grads = dW + db
            if clip_norm is not None:
                norm = math.sqrt(sum(float((g**2).sum()) for g in grads))
                grads = [g * min(1.0, clip_norm / norm) for g in grads]
            t += 1
            for i, tensor in enumerate(tensors):
                g = grads[i] + (2 * float(optimizer.get("l2", 0.0)) * tensor if i < len(W) else 0)
                lr = float(optimizer["learning_rate"])
                if optimizer["name"] == "sgd":
                    mu = float(optimizer["momentum"])
                    first[i] = mu * first[i] + g
                    tensor -= lr * (g + mu * first[i] if optimizer.get("nesterov") else first[i])
                elif optimizer["name"] in ("adagrad", "rmsprop"):
                    rho = optimizer.get("decay")
                    second[i] = second[i] + g**2 if rho is None else rho * second[i] + (1 - rho) * g**2
                    tensor -= lr * g / (np.sqrt(second[i]) + 1e-8)
                else:
                    if optimizer["name"] == "adamw" and i < len(W):
                        tensor -= lr * float(optimizer["weight_decay"]) * tensor
                    first[i] = 0.9 * first[i] + 0.1 * g
                    second[i] = 0.999 * second[i] + 0.001 * g**2
                    mean, square = first[i] / (1 - 0.9**t), second[i] / (1 - 0.999**t)
                    tensor -= lr * mean / (np.sqrt(square) + 1e-8)
        curve.append(total / len(order) if reduction == "mean" else total)
    return W, b, curve
