"""Splits and preprocessing: exact sizes, stratified, fitted on training rows alone, the same again from arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.errors import InvalidInput
from nets.parts import split_sizes
from nets.prepare import prepare
from nets.preprocess import Preprocessing
from nets.table import MAX_ONE_HOT, Column, Table, TableInfo
from tests.nets.support import blobs, line, spec_for, split


def mixed() -> Table:
    """Numbers with a hole, a constant, categories with an unknown one, truth values."""
    nan = np.nan
    x = np.array([[1.0, 5, 0, 1], [3.0, 5, 1, 0], [nan, 5, 2, 1], [8.0, 5, nan, 1], [2.0, 5, 7, nan]])
    columns = (
        Column("size", missing=1),
        Column("same"),
        Column("colour", "categorical", ("red", "green", "blue"), 1),
        Column("new", "boolean", missing=1),
    )
    return Table(TableInfo(5, columns, "regression"), x, np.array([1.0, 2, 3, 4, 10]))


def test_mixed_columns_become_standardised_numbers_and_one_hot_categories():
    table = mixed()
    fitted = Preprocessing.fit(table, np.arange(4))
    inputs = fitted.transform(table.x, np.float64)
    assert inputs.shape == (5, table.info.n_inputs) == (5, 8)
    size = np.array([1.0, 3, 3, 8, 2])  # the hole is filled with the median of 1, 3, 8
    np.testing.assert_allclose(inputs[:, 0], (size - 4) / np.std([1, 3, 8]))
    assert inputs[:, 1].tolist() == [0, 0, 1, 0, 0]  # where it was
    assert (inputs[:, 2] == 0).all()  # constant: std 1
    assert inputs[:, 3:6].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]  # missing, unseen: 0
    assert inputs[:, 7].tolist() == [0, 0, 0, 0, 1]
    assert fitted.target_mean == 2.5
    np.testing.assert_allclose(fitted.restore_target(fitted.transform_target(table.y, np.float64)), table.y)


def categorical(codes: list[float], n_categories: int) -> Table:
    column = Column("c", "categorical", tuple(f"c{n:03d}" for n in range(n_categories)))
    info = TableInfo(len(codes), (column,), "regression")
    return Table(info, np.array(codes, float)[:, None], np.arange(float(len(codes))))


def test_a_category_that_no_training_row_had_is_none_of_them():
    table = categorical([0, 2, 2, 1, 3], 3)
    inputs = Preprocessing.fit(table, np.array([0, 1, 2])).transform(table.x)
    assert inputs.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_cells_whose_category_no_training_row_had_are_found():
    table = mixed()
    found = Preprocessing.fit(table, np.arange(4)).unseen(table.x)
    assert np.argwhere(found).tolist() == [[4, 2]]
    few = categorical([0, 2, 2, 1, 3, np.nan], 3)
    assert Preprocessing.fit(few, np.arange(3)).unseen(few.x)[:, 0].tolist() == [False, False, False, True, True, False]
    many = categorical([*range(2 * MAX_ONE_HOT), 2 * MAX_ONE_HOT, np.nan], 2 * MAX_ONE_HOT)
    assert np.flatnonzero(Preprocessing.fit(many, np.arange(9)).unseen(many.x)).tolist() == [2 * MAX_ONE_HOT]


def test_of_many_categories_the_most_frequent_of_the_training_rows_have_inputs_and_the_others_share_one():
    many = 2 * MAX_ONE_HOT + 20
    frequent = [n for n in range(many) if n % 2][:MAX_ONE_HOT]
    rest = [n for n in range(many) if n not in frequent]
    codes = [*frequent * 2, *rest, *rest * 5, many, np.nan]  # the rest is frequent among the other rows
    table = categorical(codes, many)
    train = np.arange(2 * len(frequent) + len(rest))
    inputs = Preprocessing.fit(table, train).transform(table.x)
    assert inputs.shape[1] == table.info.n_inputs == MAX_ONE_HOT + 1
    hot = dict(zip(codes, inputs.argmax(axis=1), strict=True))
    assert sorted(hot[n] for n in frequent) == list(range(len(frequent)))
    assert {hot[n] for n in rest} == {MAX_ONE_HOT}
    assert hot[many] == MAX_ONE_HOT
    assert inputs[-1].tolist() == [0] * (MAX_ONE_HOT + 1)
    assert (inputs[:-1].sum(axis=1) == 1).all()


def test_a_date_time_is_its_place_and_its_phase_in_day_week_and_year():
    day, midnight = 86400.0, 20_000 * 86400.0
    cells = np.array([midnight, midnight + day / 4, midnight + 7 * day, np.nan])
    info = TableInfo(4, (Column("when", "datetime", missing=1),), "regression", standardize=False)
    table = Table(info, cells[:, None], np.arange(4.0))
    fitted = Preprocessing.fit(table, np.arange(3))
    inputs = fitted.transform(table.x, np.float64)
    assert inputs.shape == (4, info.n_inputs) == (4, 8)
    assert fitted.median[0] == cells[1]
    np.testing.assert_allclose(inputs[:, 0], (np.where(np.isnan(cells), cells[1], cells) - fitted.mean) / fitted.std)
    np.testing.assert_allclose(inputs[:3, 1:3], [[0, 1], [1, 0], [0, 1]], atol=1e-9)
    np.testing.assert_allclose(inputs[0, 3:5], inputs[2, 3:5], atol=1e-9)  # a week later
    assert np.abs(inputs[0, 5:7] - inputs[2, 5:7]).max() > 0.05  # another day of the year
    np.testing.assert_array_equal(inputs[3, :7], inputs[1, :7])  # missing: the median
    assert inputs[:, 7].tolist() == [0, 0, 0, 1]


def test_a_categorical_column_without_categories_is_one_input_of_zeros():
    columns = (Column("empty", "categorical", (), 4), Column("x"))
    table = Table(TableInfo(4, columns, "regression"), np.array([[np.nan, i] for i in range(4)]), np.arange(4.0))
    data = prepare(table, spec_for(table, training={"validation_fraction": 0.0}))
    assert data.x_train.shape == (4, table.info.n_inputs) == (4, 2)
    assert (data.x_train[:, 0] == 0).all()


def test_statistics_see_training_rows_only():
    table = blobs()
    rows = np.arange(100)
    fitted = Preprocessing.fit(table, rows)
    inputs = fitted.transform(table.x[rows], np.float64)
    np.testing.assert_allclose(inputs.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(inputs.std(axis=0), 1, rtol=1e-12)
    assert abs(fitted.transform(table.x, np.float64).mean(axis=0)).max() > 1e-3


def test_preprocessing_survives_its_arrays():
    table = mixed()
    fitted = Preprocessing.fit(table, np.arange(5))
    again = Preprocessing.from_arrays(fitted.arrays())
    assert np.array_equal(again.transform(table.x), fitted.transform(table.x))
    assert again.target_std == fitted.target_std


def test_unstandardised_tables_pass_through_and_blocks_change_nothing(monkeypatch):
    x = np.random.default_rng(0).integers(0, 255, (50, 7), dtype=np.uint8)
    table = Table.from_arrays(x, np.arange(50) % 2, standardize=False)
    fitted = Preprocessing.fit(table, np.arange(50))
    whole = fitted.transform(x)
    assert np.array_equal(whole, x.astype(np.float32))
    monkeypatch.setattr("nets.preprocess._BLOCK", 21)
    assert np.array_equal(fitted.transform(x), whole)


@given(st.lists(st.integers(1, 40), min_size=2, max_size=6), st.floats(0.05, 0.5), st.integers(0, 9))
def test_splits_are_disjoint_exact_and_stratified(counts, fraction, seed):
    y = np.repeat(np.arange(len(counts)), counts)
    table = Table.from_arrays(np.zeros((len(y), 1)), y)
    n_train, n_val = split_sizes(len(y), fraction)
    if n_val > len(y) - len(counts):
        with pytest.raises(InvalidInput, match="no training row"):
            split(table, seed, fraction)
        return
    train, val = split(table, seed, fraction)
    assert (len(train), len(val)) == (n_train, n_val)
    assert sorted([*train, *val]) == list(range(len(y)))
    assert (np.diff(train) > 0).all()
    assert set(y[train]) == set(y)
    if min(counts) > 4:
        share = np.bincount(y[val], minlength=len(counts)) - np.array(counts) * n_val / len(y)
        assert (np.abs(share) < 2).all()


def test_a_split_depends_on_the_seed_and_on_nothing_else():
    table = blobs()
    assert all(np.array_equal(a, b) for a, b in zip(split(table, 1, 0.2), split(table, 1, 0.2), strict=True))
    assert not np.array_equal(split(table, 1, 0.2)[1], split(table, 2, 0.2)[1])
    assert len(split(line(), 0, 0.0)[1]) == 0


def test_balanced_class_weights_give_every_class_the_same_total():
    table = Table.from_arrays(np.zeros((30, 1)), np.repeat([0, 1, 2], [20, 6, 4]))
    data = prepare(table, spec_for(table, training={"class_weight": "balanced", "validation_fraction": 0.0}))
    totals = [data.row_weight[data.y_train == c].sum() for c in range(3)]
    np.testing.assert_allclose(totals, 10)


def test_class_weights_that_leave_nothing_are_refused():
    table = blobs()
    nothing = dict.fromkeys(table.info.classes, 0.0)
    with pytest.raises(InvalidInput, match="every class"):
        spec_for(table, training={"class_weight": nothing})


def test_stopping_by_an_r2_that_is_not_defined_is_refused():
    flat = Table.from_arrays(line().x, np.full(len(line().y), 5.0), "regression")
    stopping = {"epochs": 2, "early_stopping": {"metric": "val_r2"}}
    with pytest.raises(InvalidInput, match="all the same") as caught:
        prepare(flat, spec_for(flat, training=stopping))
    assert caught.value.errors[0].pointer == "/training/early_stopping/metric"
    assert len(prepare(line(), spec_for(line(), training=stopping)).y_val)


def test_arrays_that_do_not_fit_their_description_are_refused():
    info = blobs().info
    with pytest.raises(InvalidInput, match="x has shape"):
        Table(info, np.zeros((3, 4)), np.zeros(3))
    with pytest.raises(InvalidInput, match="y has shape"):
        Table(info, blobs().x, np.zeros(3))
