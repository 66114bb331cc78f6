"""The trainer against PyTorch's own optimizers, clipping and normalisation, step by step; where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernels.random import permutation
from nets.optimizers import OPTIMIZERS
from tests.nets.support import blobs, member_for, run

pytestmark = pytest.mark.torch

EPOCHS, BATCH, SEED = 4, 32, 3
CASES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {  # our optimizer; theirs, with its settings
    "sgd": ({"name": "sgd", "learning_rate": 0.05, "momentum": 0.0}, "SGD", {"lr": 0.05}),
    "momentum": ({"name": "sgd", "learning_rate": 0.05, "momentum": 0.9}, "SGD", {"lr": 0.05, "momentum": 0.9}),
    "nesterov": (
        {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": True},
        "SGD",
        {"lr": 0.05, "momentum": 0.9, "nesterov": True},
    ),
    "adam": (
        {"name": "adam", "learning_rate": 0.01, "beta1": 0.8, "beta2": 0.99},
        "Adam",
        {"lr": 0.01, "betas": (0.8, 0.99)},
    ),
    "adamw": (
        {"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.3},
        "AdamW",
        {"lr": 0.01, "weight_decay": 0.3},
    ),
    "adagrad": ({"name": "adagrad", "learning_rate": 0.05}, "Adagrad", {"lr": 0.05, "eps": 1e-8}),
    "rmsprop": ({"name": "rmsprop", "learning_rate": 0.01, "decay": 0.8}, "RMSprop", {"lr": 0.01, "alpha": 0.8}),
}


def test_every_optimizer_with_a_gradient_is_compared() -> None:
    assert {case[0]["name"] for case in CASES.values()} == {n for n, row in OPTIMIZERS.items() if not row.searches}


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
@pytest.mark.parametrize("l2", [0.0, 0.01])
@pytest.mark.parametrize("name", CASES)
def test_training_is_that_of_pytorch(name: str, l2: float, clip_norm: float | None, *, batch_norm: bool) -> None:
    ours, kind, settings = CASES[name]
    if "weight_decay" not in ours:  # else it has a decay of its own
        ours, settings = {**ours, "l2": l2}, {**settings, "weight_decay": 2 * l2}
    member = member_for(
        blobs(),
        net={"hidden": [9, 7], "activation": "tanh", "batch_norm": batch_norm, "bias": not batch_norm},
        optimizer=ours,
        schedule="constant",
        training={
            "epochs": EPOCHS,
            "batch_size": BATCH,
            "seed": SEED,
            "precision": "float64",
            "clip_norm": clip_norm,
        },
    )
    recorder = run(member)
    expected, curve = theirs(member, kind, settings, clip_norm, batch_norm=batch_norm)
    np.testing.assert_allclose([p["train_loss"] for p in recorder.points[0]], curve, rtol=1e-9)
    for tensor, array in recorder.outcomes[0].parameters.items():
        if tensor.startswith("running_var"):
            continue  # theirs counts n/(n-1) times; held against the formula in test_regularisation
        np.testing.assert_allclose(array, expected[tensor], rtol=1e-7, atol=1e-10, err_msg=tensor)


def theirs(
    member: Any, kind: str, settings: dict[str, Any], clip_norm: float | None, *, batch_norm: bool
) -> tuple[dict[str, np.ndarray], list[float]]:
    """The same net from the same weights on the same batches, in PyTorch's own words."""
    import torch
    from torch import nn

    start = member.layout.named(member.initial_parameters())
    layers: list[Any] = []
    named: dict[str, Any] = {}
    for layer in (1, 2, 3):
        weights = start[f"W{layer}"]
        linear = nn.Linear(*weights.shape, bias=not batch_norm, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(weights.T.copy()))
        layers.append(linear)
        named[f"W{layer}"] = (linear.weight, True)
        if not batch_norm:  # the norm takes a bias before it away: its gradient is rounding
            nn.init.zeros_(linear.bias)
            named[f"b{layer}"] = (linear.bias, False)
        if layer < 3 and batch_norm:
            norm = nn.BatchNorm1d(weights.shape[1], momentum=0.1, dtype=torch.float64)
            layers.append(norm)
            named |= {f"gamma{layer}": (norm.weight, False), f"beta{layer}": (norm.bias, False)}
        layers += [nn.Tanh()] if layer < 3 else []
    net = nn.Sequential(*layers)
    groups = [{"params": [p for p, is_weight in named.values() if is_weight]}]
    groups.append({"params": [p for p, is_weight in named.values() if not is_weight], "weight_decay": 0.0})
    optimizer = getattr(torch.optim, kind)(groups, **settings)
    x, y = torch.tensor(member.data.x_train), torch.tensor(member.data.y_train)
    curve = []
    for epoch in range(EPOCHS):
        order, total = permutation(SEED, epoch, len(x)), 0.0
        for first in range(0, len(x), BATCH):
            rows = torch.tensor(order[first : first + BATCH])
            loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            if clip_norm is not None:
                clip(net.parameters(), clip_norm)
            optimizer.step()
            total += float(loss.detach()) * len(rows)
        curve.append(total / len(x))
    found = {name: parameter.detach().numpy() for name, (parameter, _) in named.items()}
    found |= {name: array.T for name, array in found.items() if name.startswith("W")}
    norms = [module for module in net if isinstance(module, nn.BatchNorm1d)]
    found |= {f"running_mean{index}": norm.running_mean.numpy() for index, norm in enumerate(norms, start=1)}
    return found, curve


def clip(parameters: Any, limit: float) -> None:
    """Their `clip_grad_norm_` without the 1e-6 that it adds to the norm."""
    import torch

    gradients = [p.grad for p in parameters]
    norm = torch.sqrt(sum((g**2).sum() for g in gradients))
    for g in gradients:
        g.mul_(min(1.0, limit / float(norm)))
