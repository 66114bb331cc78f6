"""`training.sample_weight`: one column weighs the rows, is no input, and reaches every loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernels.errors import InvalidInput
from nets.losses import LOSSES
from nets.member import Member
from nets.prepare import prepare, prepare_folds
from nets.spec import TrainingSpec
from nets.table import Column, Table
from nets.weights import Predictor, pack
from tests.nets.support import assert_same_arrays, blobs, line, run, spec_for


def with_column(table: Table, weight: np.ndarray, place: int = 1) -> Table:
    """The table with one more column."""
    columns = list(table.info.columns)
    columns.insert(place, Column("w"))
    return Table(
        replace(table.info, columns=tuple(columns)), np.insert(table.x.astype(float), place, weight, 1), table.y
    )


def member_of(table: Table, **spec) -> Member:
    resolved = spec_for(table, **spec)
    return Member(resolved, prepare(table, resolved), None, prepare_folds(table, resolved))


@pytest.mark.parametrize("loss", LOSSES)
def test_rows_weigh_what_their_column_says_in_every_loss(loss):
    plain = blobs(classes=2, rows=90)
    weight = np.random.default_rng(0).uniform(0, 3, 90)
    training = {"epochs": 3, "batch_size": 16, "precision": "float64"}
    found = member_of(with_column(plain, weight), loss=loss, training={**training, "sample_weight": "w"})
    weighted = replace(plain, weight=weight)
    expected = member_of(weighted, loss=loss, training=training)
    assert np.array_equal(found.data.row_weight, expected.data.row_weight)
    assert_same_arrays(run(found).outcomes[0].parameters, run(expected).outcomes[0].parameters)
    unweighted = run(member_of(plain, loss=loss, training=training)).outcomes[0].parameters
    assert not np.array_equal(run(expected).outcomes[0].parameters["W1"], unweighted["W1"])


def test_weights_of_rows_and_of_classes_multiply_in_folds_as_well():
    weight = np.random.default_rng(0).uniform(0.5, 3, 90)
    training = {"sample_weight": "w", "class_weight": {"class 1": 4.0}, "folds": 3}
    member = member_of(with_column(blobs(rows=90), weight), training=training)
    for data in (member.data, *member.folds):
        assert data.n_inputs == data.x_train.shape[1] == 4
        factor = np.where(data.y_train == 1, 4.0, 1.0)
        assert set(np.round(data.row_weight / factor, 9)) <= set(np.round(weight, 9))


def test_weights_files_know_nothing_of_the_column():
    table = with_column(line(), np.linspace(0, 1, 120), place=0)
    member = member_of(table, training={"sample_weight": "w", "epochs": 3})
    outcome = run(member).outcomes[0]
    arrays = pack(outcome.parameters, member.data.preprocessing, member.spec, table.info.weighted_by("w"), {})
    predictor = Predictor.from_arrays(arrays)
    predictor.verify(arrays["golden_inputs"], arrays["golden_outputs"])
    assert [column.name for column in predictor.info.columns] == ["x0", "x1", "x2"]
    assert len(predictor.predict(table.x[:, 1:]).predictions) == 120


def test_a_spec_shows_it_only_where_it_is_given():
    table = with_column(blobs(), np.ones(150))
    assert "sample_weight" not in spec_for(table).to_json()["training"]
    shown = spec_for(table, training={"sample_weight": "w"}).to_json()
    assert shown["training"]["sample_weight"] == "w"
    assert TrainingSpec.parse(shown).training.sample_weight == "w"


def refused(table: Table, name: object) -> str:
    with pytest.raises(InvalidInput) as caught:
        prepare(table, spec_for(table, training={"sample_weight": name, "validation_fraction": 0.0}))
    (error,) = caught.value.errors
    assert error.pointer == "/training/sample_weight"
    return error.detail


def test_what_cannot_be_a_weight_is_refused_at_the_field():
    table = with_column(blobs(rows=20), np.ones(20))
    assert "must be one of the columns x0, w, x1" in refused(table, "v")
    assert "a string" in refused(table, 5)
    refused(table, "")
    columns = list(table.info.columns)
    for changed, said in ((Column("w", missing=2), "missing in 2 rows"), (Column("w", "boolean"), "is boolean")):
        columns[1] = changed
        assert said in refused(replace(table, info=replace(table.info, columns=tuple(columns))), "w")
    assert "weight of row 7 is -1" in refused(with_column(blobs(rows=20), np.where(np.arange(20) == 7, -1.0, 1.0)), "w")
    assert "weight 0 to every training row" in refused(with_column(blobs(rows=20), np.zeros(20)), "w")
    alone = Table.from_arrays(np.ones((4, 1)), np.array([0, 1, 0, 1]))
    assert "nothing is left" in refused(alone, "x0")
