"""Explanations against what can be computed by hand, or is known of the data they are taken on."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernels.errors import InvalidInput
from nets.explain.inputs import input_names
from nets.explain.registry import EXPLANATIONS
from nets.explain.subject import Subject
from nets.explain.templates import featurisers
from nets.prepare import prepare
from nets.scoring import evaluate
from nets.table import Column, Image, Table, TableInfo
from nets.weights import Predictor
from tests.nets.support import blobs, line, member_for, run, spec_for

Document = dict[str, Any]


def trained(table: Table, image: Image | None = None, **spec: Any) -> Subject:
    """A job's result on its own data set."""
    settings = {"training": {"epochs": 30}} | spec
    member = member_for(table, **settings)
    weights = run(member).outcomes[0].parameters
    assert member.data.preprocessing is not None
    predictor = Predictor(member.spec, table.info, member.data.preprocessing, weights)
    return Subject(predictor, table, predictor.scores, image)


def untrained(table: Table, parameters: dict[str, np.ndarray], image: Image | None = None, **spec: Any) -> Subject:
    """A job with the given weights."""
    resolved = spec_for(table, **spec)
    preprocessing = prepare(table, resolved).preprocessing
    assert preprocessing is not None
    predictor = Predictor(resolved, table.info, preprocessing, parameters)
    return Subject(predictor, table, predictor.scores, image)


def explained(subject: Subject, name: str, **asked: Any) -> Document:
    row = EXPLANATIONS[name]
    assert row.missing(subject.known) is None
    return row.explain(subject, {option.name: option.default for option in row.options} | asked)


def test_confusion_counts_what_evaluate_counts_and_its_figures_follow_from_it():
    subject = trained(blobs(rows=300))
    found = explained(subject, "confusion", rows="all")
    measured = evaluate(subject.predictor, subject.table, subject.predictor.scores)
    assert measured.confusion is not None
    matrix = np.array(found["matrix"])
    assert np.array_equal(matrix, measured.confusion)
    assert found["metrics"]["accuracy"] == measured.metrics["accuracy"]
    first = found["per_class"][0]
    assert first["precision"] == matrix[0, 0] / matrix[:, 0].sum()
    assert first["recall"] == matrix[0, 0] / matrix[0].sum()
    assert first["f1"] == pytest.approx(2 / (1 / first["precision"] + 1 / first["recall"]))
    assert sum(one["support"] for one in found["per_class"]) == found["n_rows"] == 300
    wrong = matrix - np.diag(matrix.diagonal())
    assert [one["count"] for one in found["most_confused"]] == sorted(wrong[wrong > 0], reverse=True)


def test_rows_are_those_that_the_job_held_back():
    subject = trained(blobs(rows=100), training={"validation_fraction": 0.3, "epochs": 1})
    sizes = {
        part: explained(subject, "confusion", rows=part)["n_rows"] for part in ("auto", "train", "validation", "all")
    }
    assert sizes == {"auto": 30, "train": 70, "validation": 30, "all": 100}
    tested = trained(blobs(rows=100), training={"validation_fraction": 0.3, "test_fraction": 0.2, "epochs": 1})
    sizes = {part: explained(tested, "confusion", rows=part)["n_rows"] for part in ("train", "validation", "test")}
    assert sizes == {"train": 56, "validation": 24, "test": 20}
    alone = trained(blobs(rows=100), training={"validation_fraction": 0.0, "epochs": 1})
    assert explained(alone, "confusion")["rows"] == "train"
    with pytest.raises(InvalidInput, match=r"/query/rows.*has no such rows: must be one of auto, train, all"):
        explained(alone, "confusion", rows="validation")


def test_another_table_is_taken_whole_and_its_classes_go_by_name():
    subject = trained(blobs(rows=300))
    own = explained(subject, "confusion", rows="all")
    order = [2, 0, 1]
    names = subject.table.info.classes
    info = replace(subject.table.info, classes=tuple(names[k] for k in order))
    turned = Table(info, subject.table.x, np.array([order.index(c) for c in subject.table.y]))
    elsewhere = replace(subject, table=turned, foreign=True)
    assert explained(elsewhere, "confusion")["matrix"] == own["matrix"]
    assert (
        explained(elsewhere, "calibration")["brier_score"]
        == explained(subject, "calibration", rows="all")["brier_score"]
    )
    with pytest.raises(InvalidInput, match=r"/query/rows.*not split for this job"):
        explained(elsewhere, "confusion", rows="validation")


def test_calibration_of_two_classes_is_that_of_the_second_ones_probability():
    x = np.log(np.array([0.1] * 10 + [0.9] * 10) / (1 - np.array([0.1] * 10 + [0.9] * 10)))[:, None]
    y = np.array([0] * 8 + [1] * 2 + [0] * 1 + [1] * 9)
    table = Table.from_arrays(x, y, standardize=False)
    weights = {"W1": np.array([[0.0, 1.0]]), "b1": np.zeros(2)}
    settings = {"net": {"hidden": []}, "training": {"validation_fraction": 0.0, "precision": "float64"}}
    found = explained(untrained(table, weights, **settings), "calibration", bins=5)
    low, *empty, high = found["bins"]
    assert (low["count"], low["observed"], high["count"], high["observed"]) == (10, 0.2, 10, 0.9)
    assert (low["stated"], high["stated"]) == (pytest.approx(0.1), pytest.approx(0.9))
    assert all(one["count"] == 0 and one["stated"] is None for one in empty)
    assert found["expected_calibration_error"] == pytest.approx(0.05)
    assert found["maximum_calibration_error"] == pytest.approx(0.1)
    brier = (8 * 0.1**2 + 2 * 0.9**2 + 9 * 0.1**2 + 0.9**2) / 20
    assert found["brier_score"] == pytest.approx(brier)
    assert found["brier_score_all_classes"] == pytest.approx(2 * brier)


def test_calibration_of_more_classes_is_that_of_the_predicted_ones_probability():
    subject = trained(blobs(rows=300))
    found = explained(subject, "calibration", rows="all", bins=10)
    scores = subject.predictor.scores(subject.table.x).astype(np.float64)
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    stated, hit = chances.max(axis=1), chances.argmax(axis=1) == subject.table.y
    assert found["brier_score"] == pytest.approx(((stated - hit) ** 2).mean())
    bins = np.minimum((stated * 10).astype(int), 9)
    gaps = [abs(stated[bins == k].mean() - hit[bins == k].mean()) * (bins == k).mean() for k in np.unique(bins)]
    assert found["expected_calibration_error"] == pytest.approx(sum(gaps))
    assert sum(one["count"] for one in found["bins"]) == 300


@pytest.mark.parametrize("standardize", [False, True])
def test_a_template_is_what_a_pixel_adds_to_the_score(standardize):
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(60, 12)) * np.arange(1, 13)
    table = Table.from_arrays(x, rng.integers(3, size=60), standardize=standardize)
    weights = {"W1": rng.normal(size=(12, 3)), "b1": rng.normal(size=3)}
    settings = {"net": {"hidden": []}, "training": {"precision": "float64"}}
    subject = untrained(table, weights, Image(2, 2, 3), **settings)
    found = explained(subject, "templates")
    assert (found["of"], found["image"]) == ("classes", {"height": 2, "width": 2, "channels": 3})
    assert [one["name"] for one in found["templates"]] == ["0", "1", "2"]
    templates = np.array([one["weights"] for one in found["templates"]])
    assert templates.shape == (3, 2, 2, 3)
    step = np.zeros((1, 12))
    step[0, 7] = 1.0  # row 1, column 0, channel 1
    gained = subject.predictor.scores(x[:1] + step) - subject.predictor.scores(x[:1])
    np.testing.assert_allclose(gained[0], templates[:, 1, 0, 1], rtol=1e-9)


def test_templates_of_hidden_units_come_by_their_weight_in_the_net():
    table = blobs(features=4)
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(4, 6)), rng.normal(size=(6, 3))
    second[2], second[5] = 0, 100
    weights = {"W1": first, "b1": np.zeros(6), "W2": second, "b2": np.zeros(3)}
    found = explained(untrained(table, weights, net={"hidden": [6]}), "templates", limit=5)
    assert (found["of"], found["n_units"], found["image"]) == ("hidden units", 6, None)
    assert found["templates"][0]["unit"] == 5
    assert 2 not in [one["unit"] for one in found["templates"]]
    assert found["inputs"] == ["x0", "x1", "x2", "x3"]
    np.testing.assert_allclose(found["templates"][0]["weights"], first[:, 5], rtol=1e-6)


def test_inputs_are_named_after_their_columns():
    columns = (
        Column("age", missing=3),
        Column("sky", "categorical", ("sun", "rain")),
        Column("born", "datetime"),
        Column("zip", "categorical", tuple(map(str, range(100)))),
    )
    info = TableInfo(10, columns, "regression")
    names = input_names(info)
    assert len(names) == info.n_inputs == len(set(names))
    assert names[:4] == ["age", "age is missing", "sky = sun", "sky = rain"]
    assert names[4:7] == ["born", "born (sine of day)", "born (cosine of day)"]
    assert names[-1] == "zip, others"


def test_the_boundary_is_what_the_net_predicts_there():
    subject = trained(blobs(features=2, rows=200))
    found = explained(subject, "boundary", resolution=15)
    assert (len(found["x"]), len(found["y"]), found["resolution"]) == (15, 15, 15)
    for i, j in ((0, 0), (3, 11), (14, 2)):
        told = subject.predictor.predict(np.array([[found["x"][j], found["y"][i]]]))
        assert found["classes"][found["predicted"][i][j]] == told.predictions[0]
        assert told.probabilities is not None
        assert found["probability"][i][j] == pytest.approx(told.probabilities.max(), abs=1e-4)
    points = np.concatenate([[part["x"], part["y"]] for part in found["points"].values()], axis=1)
    assert points.shape == (2, 200)
    assert found["x"][0] < points[0].min()
    assert found["y"][-1] > points[1].max()
    train = subject.parts.train
    assert found["points"]["train"]["truth"] == subject.table.y[train].tolist()


def test_the_boundary_of_a_regression_is_a_field_in_the_targets_unit():
    subject = trained(line(features=2))
    found = explained(subject, "boundary", resolution=10)
    told = subject.predictor.predict(np.array([[found["x"][4], found["y"][7]]]))
    assert found["values"][7][4] == pytest.approx(told.predictions[0], rel=1e-5)
    assert "predicted" not in found


def test_the_column_that_matters_is_the_most_important_and_a_useless_one_is_none():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, 3))
    x[:, 2] = rng.integers(2, size=500)
    y = ((x[:, 2] == 1) ^ (x[:, 0] > 1.5)).astype(int)
    columns = (Column("some"), Column("none"), Column("most", "categorical", ("a", "b")))
    table = Table(TableInfo(500, columns, "classification", ("no", "yes")), x, y)
    subject = trained(table)
    found = explained(subject, "importance", rows="all", repeats=8)
    assert [one["name"] for one in found["columns"]] == ["most", "some", "none"]
    assert found["metric"] == "accuracy"
    most, some, none = found["columns"]
    assert most["mean"] == pytest.approx(0.43, abs=0.08), "a shuffled coin is right half the time"
    assert 0 < some["mean"] < 0.2
    assert abs(none["mean"]) < 0.03
    assert explained(subject, "importance", rows="all", repeats=8) == found, "the shuffles are the same every time"


def test_importance_is_the_loss_of_what_the_column_alone_carried():
    subject = trained(line(features=3), training={"epochs": 60})  # slopes 3, 6, 9
    found = explained(subject, "importance", metric="score", rows="all", repeats=20)
    assert (found["metric"], [one["name"] for one in found["columns"]]) == ("r2", ["x2", "x1", "x0"])
    assert found["baseline"] > 0.95
    spread = float(np.var(subject.table.y))
    expected = 2 * 9**2 * float(np.var(subject.table.x[:, 2])) / spread  # R² falls by twice the share of the variance
    assert found["columns"][0]["mean"] == pytest.approx(expected, rel=0.15)
    by_loss = explained(subject, "importance", metric="loss", rows="all")
    assert by_loss["metric"] == "loss"
    assert by_loss["columns"][0]["mean"] > 0


def test_of_many_columns_the_heaviest_are_shuffled_and_the_rest_is_named():
    subject = trained(blobs(features=6))
    found = explained(subject, "importance", columns=2)
    norms = np.linalg.norm(subject.predictor.layout.named(subject.predictor.flat)["W1"], axis=1)
    assert {column for one in found["columns"] for column in one["columns"]} == set(np.argsort(-norms)[:2].tolist())
    assert found["left_out"] == 4
    assert "only the 2 columns" in found["note"]


def test_an_images_pixels_are_shuffled_with_their_channels_in_patches_as_small_as_are_allowed():
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=300)
    x = rng.uniform(0, 0.1, size=(300, 5, 4, 3))
    x[:, 4, 3, 1] = y  # the last pixel's second channel tells it all
    subject = trained(Table.from_arrays(x.reshape(300, 60), y), Image(5, 4, 3))
    for most, side, count in ((256, 1, 20), (19, 2, 6), (1, 5, 1)):
        found = explained(subject, "importance", columns=most, rows="all")
        assert (found["patch"], len(found["columns"]), found["left_out"]) == (side, count, 0)
        assert sorted(c for one in found["columns"] for c in one["columns"]) == list(range(60))
        assert 58 in found["columns"][0]["columns"]
        assert found["columns"][0]["mean"] > 0.3
    assert found["image"] == {"height": 5, "width": 4, "channels": 3}
    assert found["columns"][0]["name"] == "rows 0..4, columns 0..3"


def test_rows_weigh_nothing_in_explanations_and_their_column_is_no_input():
    rng = np.random.default_rng(0)
    columns = (Column("a"), Column("weight"), Column("b"))
    x = np.stack([rng.normal(size=200), rng.uniform(1, 2, 200), rng.normal(size=200)], axis=1)
    table = Table(TableInfo(200, columns, "classification", ("no", "yes")), x, (x[:, 0] > x[:, 2]).astype(int))
    settings = {"training": {"sample_weight": "weight", "epochs": 30}}
    resolved = spec_for(table, **settings)
    data = prepare(table, resolved)
    assert data.preprocessing is not None
    weights = run(member_for(table, **settings)).outcomes[0].parameters
    info = table.info.weighted_by("weight")
    predictor = Predictor(resolved, info, data.preprocessing, weights)
    subject = Subject(predictor, table, predictor.scores)
    assert explained(subject, "boundary", resolution=10)["columns"] == ["a", "b"]
    assert {one["name"] for one in explained(subject, "importance")["columns"]} == {"a", "b"}
    assert explained(subject, "confusion")["metrics"]["accuracy"] > 0.9


def test_histograms_count_every_weight_and_find_dead_units():
    table = blobs(features=4)
    rng = np.random.default_rng(0)
    first = rng.normal(size=(4, 5))
    weights = {"W1": first, "b1": np.array([0, 0, -100.0, 0, -100.0]), "W2": rng.normal(size=(5, 3)), "b2": np.zeros(3)}
    subject = untrained(table, weights, net={"hidden": [5]})
    found = explained(subject, "histograms", bins=12)
    hidden, output = found["layers"]
    assert sum(hidden["weights"]["counts"]) == 20
    assert len(hidden["weights"]["edges"]) == 13
    assert hidden["weights"]["min"] == pytest.approx(first.min(), rel=1e-6)
    assert hidden["activations"]["dead_units"] == 0.4
    assert hidden["activations"]["zeros"] == hidden["activations"]["saturated"] >= 0.4
    assert (output["name"], "activations" in output) == ("output", False)
    x = subject.predictor.preprocessing.transform(subject.cells(subject.parts.train), np.dtype(np.float64))
    a = np.maximum(x @ first + weights["b1"], 0)
    scores = a @ weights["W2"]
    chances = np.exp(scores - scores.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    chances[np.arange(len(x)), subject.truth(subject.parts.train)] -= 1
    gradient = a.T @ chances / len(x)
    assert output["gradients"]["std"] == pytest.approx(gradient.std(), rel=1e-4)
    assert output["gradients"]["max"] == pytest.approx(gradient.max(), rel=1e-4)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ["sigmoid", "gelu", {"name": "custom", "expression": "x * sigmoid(x)"}])
def test_histograms_of_any_net_leave_its_weights_alone(activation, batch_norm):
    net = {"hidden": [6, 5], "activation": activation, "batch_norm": batch_norm, "dropout": 0.2}
    subject = trained(blobs(), net=net, training={"epochs": 2})
    before = subject.predictor.flat.copy()
    found = explained(subject, "histograms")
    assert np.array_equal(subject.predictor.flat, before)
    assert [layer["name"] for layer in found["layers"]] == ["hidden 1", "hidden 2", "output"]
    assert all(sum(layer["gradients"]["counts"]) > 0 for layer in found["layers"])
    again = explained(replace(subject, scores=subject.predictor.scores), "histograms")
    assert again == found


def test_the_documentation_names_every_explanation_with_its_parameters():
    text = (Path(__file__).parents[2] / "docs" / "explanations.md").read_text()
    for name, row in EXPLANATIONS.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        named = {option.name for option in row.options} | ({"dataset"} if row.elsewhere else set())
        assert set(re.findall(r"`(\w+)`", line.rpartition("|")[0].rpartition("|")[2])) == named, name


LACKING = {
    ("confusion", "numbers"): "has no classes",
    ("calibration", "numbers"): "has no classes",
    ("calibration", "svm"): "the loss svm gives scores",
    ("boundary", "four columns"): "this one has 4 columns",
    ("templates", "wide"): "holds no images, and 100 inputs",
}


@pytest.mark.parametrize(("name", "case"), LACKING)
def test_what_a_job_cannot_have_is_told(name, case):
    table = {"numbers": line(), "wide": blobs(features=100)}.get(case, blobs())
    spec = {"loss": "svm"} if case == "svm" else {}
    reason = EXPLANATIONS[name].missing(trained(table, training={"epochs": 1}, **spec).known)
    assert reason is not None
    assert LACKING[name, case] in reason


def test_templates_need_a_spec_without_featurisers():
    assert featurisers({"net": {}}) == featurisers({"features": [{"name": "raw"}]}) == []
    assert featurisers({"features": [{"name": "raw"}, {"name": "hog", "cell": 8}]}) == ["hog"]


def test_templates_need_inputs_that_are_the_pixels():
    table = blobs(features=100)
    known = trained(table, Image(10, 11, 1), training={"epochs": 1}).known
    assert EXPLANATIONS["templates"].missing(known) == "the net's 100 inputs are not the 110 pixels of an image"
    assert EXPLANATIONS["templates"].missing(replace(known, image=Image(10, 10, 1))) is None
