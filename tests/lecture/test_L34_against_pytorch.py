"""Row L34 once more, against PyTorch, where it is installed; where it is not, this module holds no test.

PyTorch is no dependency: central differences (test_L33_L34_every_net.py) prove the same everywhere.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from tests.lecture.parts import assert_close, outputs_of, play_net, random_parameters, targets_for

if find_spec("torch") is not None:
    import torch
    import torch.nn.functional as F

    THEIR_ACTIVATIONS = {
        "identity": lambda z: z,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "relu": torch.relu,
        "leaky_relu": lambda z: F.leaky_relu(z, 0.01),
        "elu": F.elu,
        "gelu": lambda z: F.gelu(z, approximate="tanh"),
        "gelu_erf": F.gelu,
        "silu": F.silu,
        "softplus": F.softplus,
        "selu": F.selu,
    }
    THEIR_LOSSES = {  # (scores (B, C), targets) -> losses (B,); multi_margin_loss divides by C
        "softmax": lambda s, t: F.cross_entropy(s, t, reduction="none"),
        "svm": lambda s, t: F.multi_margin_loss(s, t, reduction="none") * s.shape[1],
        "squared_error": lambda s, t: ((s - t) ** 2).sum(dim=1),
    }

    @pytest.mark.parametrize("loss", THEIR_LOSSES)
    @pytest.mark.parametrize("activation", THEIR_ACTIVATIONS)
    def test_L34_gradients_are_those_of_pytorch(activation, loss):
        ours = random_parameters((4, 6, 5, outputs_of(loss)), 34)
        rng = np.random.default_rng(34)
        x, upstream, targets = rng.normal(size=(9, 4)), rng.normal(size=9), targets_for(loss, 9, 34)
        theirs = {name: torch.tensor(array, requires_grad=True) for name, array in ours.items()}
        a = torch.tensor(x)
        for layer in (1, 2):
            a = THEIR_ACTIVATIONS[activation](a @ theirs[f"W{layer}"] + theirs[f"b{layer}"])
        losses = THEIR_LOSSES[loss](a @ theirs["W3"] + theirs["b3"], torch.tensor(targets))
        (losses * torch.tensor(upstream)).sum().backward()
        played = play_net(ours, x, activation, loss=loss, targets=targets, upstream=upstream)
        np.testing.assert_allclose(played.losses, losses.detach().numpy(), rtol=1e-10, atol=1e-12)
        expected = {name: tensor.grad.numpy() for name, tensor in theirs.items()}
        assert_close(played.gradients, expected, rtol=1e-9, atol=1e-11)
