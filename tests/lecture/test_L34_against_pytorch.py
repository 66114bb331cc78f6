"""Row L34 once more, against PyTorch: every activation with every loss of the tables.

PyTorch is no dependency: central differences (test_L33_L34_every_net.py) prove the same everywhere. Where it is not
installed these tests are deselected, and the last line of a run counts them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernels.operations import ACTIVATIONS
from nets.losses import LOSSES
from tests.lecture.parts import assert_close, outputs_of, play_net, random_parameters, targets_for

pytestmark = pytest.mark.torch

ACTIVATION_CASES = [*((name, {}) for name in ACTIVATIONS), ("leaky_relu", {"alpha": 0.3}), ("elu", {"alpha": 2.5})]
LOSS_CASES = [
    *((name, {}) for name in LOSSES),
    ("softmax", {"label_smoothing": 0.2}),
    ("svm", {"margin": 0.4}),
    ("huber", {"delta": 0.3}),
]


def theirs_of(name: str, numbers: dict[str, float]) -> Any:
    """PyTorch's activation of this name."""
    import torch
    import torch.nn.functional as F

    return {
        "identity": lambda z: z,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "relu": torch.relu,
        "leaky_relu": lambda z: F.leaky_relu(z, numbers.get("alpha", 0.01)),
        "elu": lambda z: F.elu(z, numbers.get("alpha", 1.0)),
        "gelu": lambda z: F.gelu(z, approximate="tanh"),
        "gelu_erf": F.gelu,
        "silu": F.silu,
        "softplus": F.softplus,
        "selu": F.selu,
    }[name]


def their_losses(name: str, options: dict[str, float]) -> Any:
    """PyTorch's loss of every row: (scores (B, C), targets) -> (B,). Its multi_margin_loss divides by C."""
    import torch.nn.functional as F

    margin, delta = options.get("margin", 1.0), options.get("delta", 1.0)
    smoothing = options.get("label_smoothing", 0.0)
    return {
        "softmax": lambda s, t: F.cross_entropy(s, t, reduction="none", label_smoothing=smoothing),
        "svm": lambda s, t: F.multi_margin_loss(s, t, reduction="none", margin=margin) * s.shape[1],
        "squared_error": lambda s, t: ((s - t) ** 2).sum(dim=1),
        "huber": lambda s, t: F.huber_loss(s, t, reduction="none", delta=delta).sum(dim=1),
        "absolute_error": lambda s, t: F.l1_loss(s, t, reduction="none").sum(dim=1),
        "binary_cross_entropy": lambda s, t: F.binary_cross_entropy_with_logits(s, t, reduction="none").sum(dim=1),
    }[name]


@pytest.mark.parametrize(("loss", "options"), LOSS_CASES)
@pytest.mark.parametrize(("activation", "numbers"), ACTIVATION_CASES)
def test_L34_gradients_are_those_of_pytorch(activation, numbers, loss, options):
    import torch

    ours = random_parameters((4, 6, 5, outputs_of(loss)), 34)
    rng = np.random.default_rng(34)
    x, upstream, targets = rng.normal(size=(9, 4)), rng.normal(size=9), targets_for(loss, 9, 34)
    theirs = {name: torch.tensor(array, requires_grad=True) for name, array in ours.items()}
    a = torch.tensor(x)
    for layer in (1, 2):
        a = theirs_of(activation, numbers)(a @ theirs[f"W{layer}"] + theirs[f"b{layer}"])
    losses = their_losses(loss, options)(a @ theirs["W3"] + theirs["b3"], torch.tensor(targets))
    (losses * torch.tensor(upstream)).sum().backward()
    played = play_net(
        ours, x, activation, loss=loss, targets=targets, upstream=upstream, numbers=numbers, options=options
    )
    np.testing.assert_allclose(played.losses, losses.detach().numpy(), rtol=1e-10, atol=1e-12)
    expected = {name: tensor.grad.numpy() for name, tensor in theirs.items()}
    assert_close(played.gradients, expected, rtol=1e-9, atol=1e-11)
