"""Rows L22-L27 and L31: two and three layers, activations, the forward pass."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from kernels.operations import ACTIVATIONS
from nets.net_spec import NetSpec
from nets.preprocess import Preprocessing
from nets.table import Table
from nets.weights import Predictor, pack
from tests.lecture.parts import play_net, random_parameters
from tests.nets.support import BACKEND, blobs, member_for, run, spec_for


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("hidden", [(), (1,), (100,), (3, 20), (8, 7, 6, 5), (2,) * 12])
def test_L22_any_depth_and_any_widths_with_or_without_biases(hidden, bias):
    parameters = random_parameters((4, *hidden, 3), bias=bias)
    x = np.random.default_rng(0).normal(size=(6, 4))
    a = x
    for layer in range(1, len(hidden) + 2):
        z = a @ parameters[f"W{layer}"] + (parameters[f"b{layer}"] if bias else 0)
        a = np.maximum(0, z)
    np.testing.assert_allclose(play_net(parameters, x).scores, z, rtol=1e-11, atol=1e-13)
    member = member_for(blobs(), net={"hidden": list(hidden), "bias": bias}, training={"epochs": 1})
    trained = run(member).outcomes[0].parameters
    assert {name: array.shape for name, array in trained.items()} == {n: a.shape for n, a in parameters.items()}


@pytest.mark.parametrize("hidden", [(7,), (6, 7)])
def test_L24_without_an_activation_a_stack_is_one_linear_map(hidden):
    parameters = random_parameters((5, *hidden, 3), bias=False)
    x = np.random.default_rng(24).normal(size=(9, 5))
    product = np.linalg.multi_dot(list(parameters.values()))  # (W₃W₂W₁)ᵀ, (D, C)
    assert product.T.shape == (3, 5)
    scores = play_net(parameters, x, "identity").scores
    np.testing.assert_allclose(scores, play_net({"W1": product}, x).scores, rtol=1e-12, atol=1e-13)
    assert np.abs(scores - play_net(parameters, x, "relu").scores).max() > 0.1, "with one it is not"


def test_L24_biases_collapse_too():
    p = random_parameters((5, 7, 3))
    x = np.random.default_rng(24).normal(size=(9, 5))
    linear = {"W1": p["W1"] @ p["W2"], "b1": p["b1"] @ p["W2"] + p["b2"]}
    np.testing.assert_allclose(play_net(p, x, "identity").scores, play_net(linear, x).scores, rtol=1e-12, atol=1e-13)


def activate(name: str, x: np.ndarray, **parameters: float) -> np.ndarray:
    out = np.empty_like(x)
    BACKEND.activate(ACTIVATIONS[name], x, {**ACTIVATIONS[name].defaults, **parameters}, out)
    return out


def test_L25_activations_are_the_slides_formulas():
    x = np.linspace(-10, 10, 4001)
    same = {"rtol": 1e-13, "atol": 1e-15}
    np.testing.assert_allclose(activate("sigmoid", x), 1 / (1 + np.exp(-x)), **same)
    np.testing.assert_allclose(activate("tanh", x), np.tanh(x), **same)
    np.testing.assert_allclose(activate("relu", x), np.maximum(0, x), **same)
    np.testing.assert_allclose(activate("leaky_relu", x, alpha=0.1), np.maximum(0.1 * x, x), **same)
    for alpha in (1.0, 0.5, 2.0):
        elu = np.where(x >= 0, x, alpha * (np.exp(x) - 1))
        np.testing.assert_allclose(activate("elu", x, alpha=alpha), elu, rtol=1e-12, atol=1e-15)
    gelu = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(activate("gelu", x), gelu, rtol=1e-9, atol=1e-15)


def test_L25_gelu_at_1_and_its_distance_from_the_exact_form():
    at_1 = float(activate("gelu", np.ones(1))[0])
    assert at_1 == pytest.approx(0.5 * (1 + math.tanh(math.sqrt(2 / math.pi) * 1.044715)), rel=1e-15)
    assert round(at_1, 6) == 0.841192
    x = np.linspace(-10, 10, 200_001)
    exact = np.array([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x[::100]])
    np.testing.assert_allclose(activate("gelu_erf", x)[::100], exact, rtol=1e-12, atol=1e-15)
    gap = np.abs(activate("gelu", x) - activate("gelu_erf", x)).max()
    assert f"{gap:.2e}" == "4.73e-04"


def test_L25_relu_is_the_default():
    assert [one.name for one in spec_for(blobs(), net={"hidden": [5, 4]}).net.activation] == ["relu", "relu"]


LAYERS_COUNTED_OTHERWISE = re.compile(r"\b(?:[2-9]|two|three|four)[- ]layers?\b(?! of)", re.I)


def test_L26_users_read_of_hidden_layers_and_no_other_count():
    """Of "2-layer" and "1-hidden-layer", which mean the same, only the second is used where users read."""
    root = Path(__file__).parent.parent.parent
    pages = [root / "README.md", *(root / "docs").glob("*.md")]
    pages += [path for kind in ("*.html", "*.js") for path in (root / "service" / "static").rglob(kind)]
    pages += [*(root / "mlpq").rglob("*.py"), *(root / "nets").glob("spec*.py"), root / "nets" / "options.py"]
    assert len(pages) > 10
    assert LAYERS_COUNTED_OTHERWISE.search("a 3-layer net")
    for page in pages:
        found = LAYERS_COUNTED_OTHERWISE.search(page.read_text("utf-8"))
        assert found is None, f"{page.name}: {found and found[0]}"
    assert NetSpec.model_fields.keys() >= {"hidden"}


def trained_predictor() -> tuple[Predictor, dict[str, np.ndarray]]:
    """A trained sigmoid net 3 → 4 → 4 → 1, as its weights file gives it back."""
    rng = np.random.default_rng(27)
    x = rng.normal(size=(80, 3))
    table = Table.from_arrays(x, np.sin(x.sum(axis=1)), "regression", standardize=False)
    member = member_for(
        table, net={"hidden": [4, 4], "activation": "sigmoid"}, training={"epochs": 5, "precision": "float64"}
    )
    outcome = run(member).outcomes[0]
    preprocessing = Preprocessing.fit(table, np.arange(80))
    arrays = pack(outcome.parameters, preprocessing, member.spec, table.info, outcome.metrics)
    return Predictor.from_arrays(arrays), arrays


def test_L27_three_lines_reproduce_a_trained_sigmoid_net():
    predictor, arrays = trained_predictor()
    W1, W2, W3 = (arrays[f"W{i}"].T for i in (1, 2, 3))
    b1, b2, b3 = (arrays[f"b{i}"][:, None] for i in (1, 2, 3))
    f = lambda x: 1.0 / (1.0 + np.exp(-x))  # noqa: E731 - the slide's own line
    x = np.random.default_rng(1).normal(size=(3, 1))
    h1 = f(np.dot(W1, x) + b1)
    h2 = f(np.dot(W2, h1) + b2)
    out = np.dot(W3, h2) + b3
    assert (h1.shape, h2.shape, out.shape) == ((4, 1), (4, 1), (1, 1))
    np.testing.assert_allclose(predictor.scores(x.T), out.T, rtol=1e-13)


class Neuron:
    """The slide's neuron."""

    def __init__(self, weights, bias):
        self.weights, self.bias = weights, bias

    def neuron_tick(self, inputs):
        cell_body_sum = np.sum(inputs * self.weights) + self.bias
        return 1.0 / (1.0 + math.exp(-cell_body_sum))  # the firing rate
