"""Each loss alone: values and gradients at extreme scores, and what predictions make of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from nets.losses import LOSSES, value_and_gradient
from nets.member import Member
from nets.prepare import prepare
from nets.spec import TrainingSpec
from nets.table import Table
from nets.trainer import Ending
from nets.weights import Predictor, pack
from tests.nets.support import BACKEND, blobs, line, member_for, run, spec_for


def of(name: str, scores: list, targets: list, dtype: type = np.float64, **options: object):
    return value_and_gradient(LOSSES[name], BACKEND, np.array(scores, dtype), np.array(targets), options)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary_cross_entropy_neither_overflows_nor_cancels(dtype):
    scores, targets = [[-1000.0], [-60.0], [0.0], [60.0], [1000.0]] * 2, [[0.0]] * 5 + [[1.0]] * 5
    loss, slope = of("binary_cross_entropy", scores, targets, dtype)
    tiny = math.exp(-60)
    np.testing.assert_allclose(loss, [0, tiny, math.log(2), 60, 1000, 1000, 60, math.log(2), tiny, 0], rtol=1e-5)
    np.testing.assert_allclose(slope[:, 0], [0, tiny, 0.5, 1, 1, -1, -1, -0.5, -tiny, 0], rtol=1e-5)


def test_binary_cross_entropy_is_the_softmax_of_the_score_and_zero():
    rng = np.random.default_rng(0)
    scores, codes = rng.normal(size=(40, 1)) * 5, rng.integers(2, size=40)
    one, slope = of("binary_cross_entropy", scores.tolist(), codes[:, None].tolist())
    two, slopes = of("softmax", np.hstack([0 * scores, scores]).tolist(), codes.tolist())
    np.testing.assert_allclose(one, two, rtol=1e-12)
    np.testing.assert_allclose(slope[:, 0], slopes[:, 1], rtol=1e-12)


def test_huber_is_half_the_square_inside_and_linear_outside():
    residuals = np.array([[-7.0], [-2.0], [-1.0], [0.0], [0.5], [2.0], [5.0]])
    loss, slope = of("huber", residuals.tolist(), np.zeros((7, 1)).tolist(), delta=2.0)
    np.testing.assert_allclose(loss, [12, 2, 0.5, 0, 0.125, 2, 8], rtol=1e-15)
    assert slope[:, 0].tolist() == [-2, -2, -1, 0, 0.5, 2, 2]
    wide, _ = of("huber", residuals.tolist(), np.zeros((7, 1)).tolist(), delta=100.0)
    np.testing.assert_allclose(wide, of("squared_error", residuals.tolist(), np.zeros((7, 1)).tolist())[0] / 2)


def test_absolute_error_has_no_slope_where_it_is_right():
    loss, slope = of("absolute_error", [[1.0, -2.0], [3.0, 3.0]], [[0.0, 0.0], [3.0, 4.0]])
    assert loss.tolist() == [3, 1]
    assert slope.tolist() == [[1, -1], [0, -1]]


def test_label_smoothing_of_nothing_keeps_every_bit_and_its_least_loss_is_the_targets_entropy():
    rng = np.random.default_rng(1)
    scores, codes = (rng.normal(size=(30, 5)) * 4).tolist(), rng.integers(5, size=30).tolist()
    for plain, none in zip(
        of("softmax", scores, codes), of("softmax", scores, codes, label_smoothing=0.0), strict=True
    ):
        assert np.array_equal(plain, none)
    target = np.full(4, 0.05)
    target[2] += 0.8
    loss, slope = of("softmax", [np.log(target).tolist()], [2], label_smoothing=0.2)
    assert loss[0] == pytest.approx(-(target * np.log(target)).sum(), rel=1e-14)
    np.testing.assert_allclose(slope, 0, atol=3e-16)
    far, steep = of("softmax", [[2000.0, -2000.0, 0.0]], [1], np.float32, label_smoothing=0.1)
    assert np.isfinite(far).all()
    np.testing.assert_allclose(steep[0], [1 - 0.1 / 3, -0.9 - 0.1 / 3, -0.1 / 3], rtol=1e-6)


@pytest.mark.parametrize("name", [name for name, row in LOSSES.items() if row.sides])
def test_sides_change_exactly_where_the_slope_jumps(name):
    row, options = LOSSES[name], {o.name: o.default for o in LOSSES[name].options}
    grid = np.linspace(-3, 3, 1201)[:, None] + 1e-4
    codes = row.target == "class"
    scores = np.hstack([grid, 0 * grid]) if codes else grid
    targets = np.ones(len(grid), int) if codes else np.zeros((len(grid), 1))
    sides = row.sides(scores, targets, options)
    _, slope = of(name, scores.tolist(), targets.tolist())
    bend = np.abs(np.diff(slope[:, 0], n=2)) > 1e-3 if name == "huber" else np.abs(np.diff(slope[:, 0])) > 0.5
    crossed = (sides[1:] != sides[:-1]).any(axis=1)
    assert crossed.sum() == {"svm": 1, "absolute_error": 1, "huber": 2}[name]
    assert np.abs(grid[1:][crossed, 0, None] - grid[: len(bend)][bend, 0][None]).min(axis=1).max() < 0.02


def test_one_output_tells_two_classes_apart_through_a_whole_run():
    table = blobs(rows=300, classes=2)
    member = member_for(table, loss="binary_cross_entropy", training={"epochs": 20})
    outcome = run(member).outcomes[0]
    assert outcome.kind is Ending.COMPLETED
    assert outcome.parameters["b2"].shape == (1,)
    assert outcome.metrics["val_accuracy"] > 0.9
    arrays = pack(outcome.parameters, member.data.preprocessing, member.spec, table.info, outcome.metrics)
    found = Predictor.from_arrays(arrays).predict(table.x)
    assert found.probabilities.shape == (300, 2)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-12)
    assert found.predictions == [table.info.classes[c] for c in found.probabilities.argmax(axis=1)]
    assert np.mean(np.array(found.predictions) == np.array(table.info.classes)[table.y]) > 0.9


def test_outliers_move_the_robust_losses_little():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((200, 1))
    y = 2 * x[:, 0]
    y[:10] += 100
    slopes = {}
    for loss in ("squared_error", "huber", "absolute_error"):
        member = member_for(
            Table.from_arrays(x, y, "regression"), net={"hidden": []}, loss=loss,
            optimizer={"name": "adam", "learning_rate": 0.05, "l2": 0.0},
            training={"epochs": 200, "validation_fraction": 0.0},
        )  # fmt: skip
        w = run(member).outcomes[0].parameters
        centre = w["b1"][0] * member.data.preprocessing.target_std + member.data.preprocessing.target_mean
        slopes[loss] = abs(float(centre))
    assert slopes["absolute_error"] < 0.2
    assert slopes["huber"] < slopes["squared_error"] / 3


def test_row_weights_of_a_table_multiply_those_of_classes():
    table = blobs(rows=90)
    weight = np.linspace(0, 2, 90)
    spec = spec_for(table, training={"class_weight": {"class 1": 3.0}, "validation_fraction": 0.0})
    weighted = prepare(Table(table.info, table.x, table.y, weight), spec)
    np.testing.assert_allclose(weighted.row_weight, weight * np.where(table.y == 1, 3.0, 1.0))


def test_a_row_of_weight_zero_is_as_if_it_were_not_there():
    table = line(rows=64)
    x, y = np.vstack([table.x, table.x[:8] * 50]), np.concatenate([table.y, table.y[:8] - 1000])
    options = {
        "net": {"hidden": [5], "activation": "tanh"},
        "loss": {"name": "squared_error", "reduction": "sum"},
        "optimizer": {"name": "sgd", "learning_rate": 1e-4},
        "training": {"epochs": 3, "batch_size": 100, "validation_fraction": 0.0, "precision": "float64"},
    }
    small = member_for(table, **options)
    weight = np.concatenate([np.ones(64), np.zeros(8)])
    wide = Table(replace(table.info, n_rows=72), x, y, weight)
    spec = spec_for(wide, **options)
    data = prepare(wide, spec)
    same = replace(
        data,
        x_train=np.vstack([small.data.x_train, data.x_train[64:]]),
        y_train=np.vstack([small.data.y_train, data.y_train[64:]]),
    )
    a, b = run(small).outcomes[0].parameters, run(Member(spec, same)).outcomes[0].parameters
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-10, atol=1e-12)


def test_a_resolved_spec_of_older_settings_is_unchanged():
    shown = spec_for(blobs(), loss="softmax").to_json()
    assert shown["loss"] == "softmax"
    smoothed = spec_for(blobs(), loss={"name": "softmax", "label_smoothing": 0.1}).to_json()
    assert smoothed["loss"] == {"name": "softmax", "label_smoothing": 0.1}
    assert TrainingSpec.parse(smoothed).loss == spec_for(blobs(), loss={"name": "softmax", "label_smoothing": 0.1}).loss
