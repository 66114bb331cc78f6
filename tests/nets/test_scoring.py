"""Evaluation of trained weights: figures as scikit-learn's, losses as the trainer's, columns and classes by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from kernels.errors import InvalidInput
from nets import scoring
from nets.losses import LOSSES
from nets.scoring import Evaluation, evaluate
from nets.table import Column, Table, TableInfo
from nets.tallies import MAX_RANKED_ROWS, ClassTally, NumberTally, ranked
from nets.weights import Predictor
from tests.nets.support import blobs, line, member_for, run

LOSS_NAMES = [name for name, loss in LOSSES.items() if "classification" in loss.tasks]


def two_classes() -> Table:
    table = blobs()
    keep = table.y < 2
    info = replace(table.info, n_rows=int(keep.sum()), classes=table.info.classes[:2])
    return Table(info, table.x[keep], table.y[keep])


def fitted(table: Table, **settings: object) -> tuple[Predictor, dict[str, float]]:
    """A predictor after a few epochs on all rows, and the trainer's own figures."""
    training = {"epochs": 3, "validation_fraction": 0.0}
    member = member_for(table, training=training, **settings)
    outcome = run(member).outcomes[0]
    predictor = Predictor(member.spec, table.info, member.data.preprocessing, outcome.parameters)
    return predictor, outcome.metrics


def measured(predictor: Predictor, table: Table) -> Evaluation:
    return evaluate(predictor, table, predictor.scores)


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_losses_and_accuracy_are_the_trainers(loss: str) -> None:
    table = two_classes()
    predictor, own = fitted(table, loss={"name": loss})
    found = measured(predictor, table).metrics
    assert found["loss"] == pytest.approx(own["train_loss"], rel=2e-5)
    assert found["accuracy"] == pytest.approx(own["train_accuracy"], abs=1e-12)


@pytest.mark.parametrize("block", [7, 4096])
def test_figures_of_classes_are_scikit_learns(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(scoring, "BLOCK_ROWS", block)
    for table in (blobs(), two_classes()):
        noisy = np.random.default_rng(3).permutation(table.y)
        table = Table(table.info, table.x, np.where(np.arange(len(noisy)) % 3, table.y, noisy))
        predictor, _ = fitted(table)
        found = measured(predictor, table)
        said = predictor.predict(table.x)
        codes = np.array([table.info.classes.index(name) for name in said.predictions])
        np.testing.assert_array_equal(found.confusion, metrics.confusion_matrix(table.y, codes))
        expected = {
            "accuracy": metrics.accuracy_score(table.y, codes),
            "balanced_accuracy": metrics.balanced_accuracy_score(table.y, codes),
            "macro_f1": metrics.f1_score(table.y, codes, average="macro"),
        }
        if len(table.info.classes) == 2:
            expected["auc"] = metrics.roc_auc_score(table.y, said.probabilities[:, 1])
        assert set(found.metrics) == {"loss", *expected}
        for name, value in expected.items():
            assert found.metrics[name] == pytest.approx(value, abs=1e-6), name


@given(
    st.lists(st.booleans(), min_size=2, max_size=30).filter(lambda labels: 0 < sum(labels) < len(labels)),
    st.randoms(use_true_random=False),
)
def test_auc_counts_ties_half(labels, random):
    lead = np.array([random.choice([-1.0, 0.0, 0.5, 2.0]) for _ in labels])
    truth = np.array(labels)
    assert ranked(lead[truth], lead[~truth]) == pytest.approx(metrics.roc_auc_score(labels, lead))


def test_figures_of_numbers_are_in_the_targets_unit() -> None:
    table = line()
    table = Table(table.info, table.x, table.y * 1000 + 5000)
    predictor, own = fitted(table)
    found = measured(predictor, table)
    said = np.array(predictor.predict(table.x).predictions)
    assert found.confusion is None
    assert found.metrics["rmse"] == pytest.approx(metrics.mean_squared_error(table.y, said) ** 0.5)
    assert found.metrics["mae"] == pytest.approx(metrics.mean_absolute_error(table.y, said))
    assert found.metrics["r2"] == pytest.approx(metrics.r2_score(table.y, said))
    assert found.metrics["loss"] == pytest.approx(own["train_loss"], rel=2e-5)


def test_what_is_not_defined_is_none() -> None:
    table = two_classes()
    predictor, _ = fitted(table)
    alone = table.y == 0
    one = Table(replace(table.info, n_rows=int(alone.sum())), table.x[alone], table.y[alone])
    assert measured(predictor, one).metrics["auc"] is None
    flat = line()
    flat = Table(flat.info, flat.x, flat.y * 0)
    assert measured(fitted(line())[0], flat).metrics["r2"] is None


def test_numbers_far_from_zero_have_their_spread_in_blocks_of_any_size() -> None:
    truth = 1e9 + np.random.default_rng(0).normal(size=1000)
    said = truth + 0.1
    for block in (1, 7, 1000):
        tally = NumberTally()
        for start in range(0, 1000, block):
            tally.add(truth[start : start + block], said[start : start + block])
        assert tally.figures()["r2"] == pytest.approx(metrics.r2_score(truth, said), rel=1e-6)


def test_of_more_rows_than_are_ranked_there_is_no_auc() -> None:
    codes = np.array([0, 1, 1])
    for n_rows, known in ((3, True), (MAX_RANKED_ROWS + 1, False)):
        tally = ClassTally(2, n_rows)
        tally.add(codes, codes, np.array([0.0, 1.0, 2.0]))
        figures = tally.figures()
        assert np.isfinite(figures["auc"]) == known
        assert figures["accuracy"] == 1.0


def people(order: list[str], categories: tuple[str, ...], classes: tuple[str, ...], *, scramble: bool) -> Table:
    """The same people whatever the order of columns, categories and classes."""
    rng = np.random.default_rng(0)
    age, town, works = rng.normal(40, 9, 60), rng.integers(0, 3, 60), rng.integers(0, 2, 60)
    names = np.array(["bonn", "kiel", "ulm"])[town]
    answers = np.array(["no", "yes"])[(age > 40).astype(int)]
    cells = {
        "age": (Column("age"), age),
        "town": (Column("town", "categorical", categories), [categories.index(name) for name in names]),
        "works": (Column("works", "boolean", ("false", "true")), works),
        "note": (Column("note"), rng.normal(size=60)),
    }
    x = np.stack([np.asarray(cells[name][1], np.float64) for name in order], axis=1)
    info = TableInfo(60, tuple(cells[name][0] for name in order), "classification", classes)
    table = Table(info, x, np.array([classes.index(name) for name in answers]))
    assert scramble == (order != ["age", "town", "works"])
    return table


def test_columns_categories_and_classes_go_by_name() -> None:
    own = people(["age", "town", "works"], ("bonn", "kiel", "ulm"), ("no", "yes"), scramble=False)
    other = people(["note", "works", "town", "age"], ("ulm", "paris", "kiel", "bonn"), ("yes", "no"), scramble=True)
    predictor, _ = fitted(own)
    assert measured(predictor, other).metrics == measured(predictor, own).metrics
    np.testing.assert_array_equal(measured(predictor, other).confusion, measured(predictor, own).confusion)


def test_a_table_that_does_not_fit_is_refused_by_name() -> None:
    own = people(["age", "town", "works"], ("bonn", "kiel", "ulm"), ("no", "yes"), scramble=False)
    predictor, _ = fitted(own)
    short = Table(replace(own.info, columns=own.info.columns[1:]), own.x[:, 1:], own.y)
    number = replace(own.info, columns=(Column("age", "categorical", ("old",)), *own.info.columns[1:]))
    for table, said in (
        (short, "has no column 'age'"),
        (Table(number, own.x * 0, own.y), "has 'age' as categorical; the job was trained on numeric"),
        (Table(replace(own.info, classes=("no", "perhaps")), own.x, own.y), "has the class 'perhaps'"),
        (Table(replace(own.info, task="regression", classes=()), own.x, own.y * 1.0), "has the task regression"),
    ):
        with pytest.raises(InvalidInput, match="/dataset") as caught:
            measured(predictor, table)
        assert said in caught.value.errors[0].detail


@pytest.mark.parametrize("unit", [1e-300, 1e-120, 1e120, 1e300])
def test_quantities_of_any_size_are_learnt_and_measured_alike(unit: float) -> None:
    table = line()
    usual, _ = fitted(table)
    scaled = Table(table.info, table.x * unit, table.y * unit)
    other, _ = fitted(scaled)
    expected, found = measured(usual, table).metrics, measured(other, scaled).metrics
    for name in ("rmse", "mae"):
        assert found[name] == pytest.approx(expected[name] * unit, rel=1e-3)
    assert found["r2"] == pytest.approx(expected["r2"], abs=1e-3)


def test_figures_beyond_all_numbers_are_not_defined() -> None:
    tally = NumberTally()
    tally.add(np.zeros(3), np.zeros(3))
    tally.add(np.full(3, 1e300), np.zeros(3))
    assert not np.isfinite(tally.figures()["rmse"])
