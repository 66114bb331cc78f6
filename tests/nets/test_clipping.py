"""Clipping by norm: right at every size of a gradient, and nothing to a neighbour without a limit."""

from __future__ import annotations

import numpy as np
import pytest

from nets.clipping import bind_clipping
from nets.engines import COMPILED_VARIABLE
from nets.table import Table
from nets.tape import play
from nets.trainer import Ending
from tests.nets.support import BACKEND, assert_same_arrays, member_for, run


def clipped(gradient: np.ndarray, *limits: float | None) -> np.ndarray:
    out = gradient.copy()
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # as in a run
        play(bind_clipping(BACKEND, limits, out))
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_long_gradient_gets_the_limit_as_its_norm_at_every_size(dtype):
    info, rng = np.finfo(dtype), np.random.default_rng(0)
    direction = rng.normal(size=50)
    direction /= np.linalg.norm(direction)
    for exponent in np.linspace(np.log10(info.tiny) + 6, np.log10(info.max) - 2, 9):
        gradient = (direction * 10**exponent).astype(dtype)[None]
        limit = 10 ** (exponent - 2)
        expected = direction * limit
        np.testing.assert_allclose(clipped(gradient, limit)[0], expected, rtol=40 * info.eps, err_msg=f"{exponent}")
        assert np.array_equal(clipped(gradient, 2 * 10**exponent), gradient), "a short one stays as it is"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_limit_and_no_gradient_change_nothing(dtype):
    huge = np.full((1, 4), np.finfo(dtype).max / 1e4, dtype)
    stack = np.concatenate([huge, huge, 0 * huge])
    found = clipped(stack, None, 1.0, 1.0)
    assert np.array_equal(found[[0, 2]], stack[[0, 2]])
    assert np.linalg.norm(found[1]) == pytest.approx(1.0)
    assert bind_clipping(BACKEND, [None, None], huge) == []


def test_a_broken_gradient_stays_visible():
    for bad in (np.nan, np.inf):
        assert not np.isfinite(clipped(np.array([[1.0, bad]]), 1.0)).all()


def test_a_limit_of_one_model_changes_no_bit_of_its_neighbour(monkeypatch):
    monkeypatch.setenv(COMPILED_VARIABLE, "0")
    x = np.random.default_rng(0).standard_normal((60, 3))
    table = Table.from_arrays(x * 1e10, x @ [1, 2, 3], "regression", standardize=False)
    options = {"net": {"hidden": []}, "optimizer": {"name": "adam", "learning_rate": 1e-3, "l2": 0.0}}
    free, held = (member_for(table, **options, training={"epochs": 2, "clip_norm": limit}) for limit in (None, 1.0))
    together, alone = run(free, held), run(free)
    assert [outcome.kind for outcome in together.outcomes.values()] == [Ending.COMPLETED] * 2
    assert together.curve(0) == alone.curve(0)
    assert_same_arrays(together.outcomes[0].parameters, alone.outcomes[0].parameters)
    moved = together.outcomes[1].parameters["W1"] - held.layout.named(held.initial_parameters())["W1"]
    assert np.abs(moved).min() > 0, "a gradient whose squares overflow is shortened, not dropped"
