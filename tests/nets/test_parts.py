"""Which rows train, validate and test: drawn, or named by a column; nothing is learnt from those that test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.errors import InvalidInput
from nets.member import Member
from nets.parts import Sizes, input_table, inputs_of, parts_of, sizes_of
from nets.prepare import prepare, prepare_folds
from nets.resolve import memory_estimate_bytes, resolve
from nets.spec import TrainingSpec
from nets.table import Column, Table, TableInfo
from nets.training_spec import TrainingOptions
from tests.nets.support import assert_same_arrays, blobs, line, run, spec_for

FOLD = {"column": "fold", "validation": ["val"], "test": ["test"]}


def options(**training: Any) -> TrainingOptions:
    return TrainingSpec.parse({"training": training}).training


def with_column(table: Table, cells: np.ndarray, column: Column, place: int = 1) -> Table:
    columns = list(table.info.columns)
    columns.insert(place, column)
    x = np.insert(np.asarray(table.x, float), place, cells, 1)
    return Table(replace(table.info, columns=tuple(columns)), x, table.y)


def marked(table: Table, seed: int = 0) -> tuple[Table, np.ndarray]:
    """The table with a column `fold` of texts, and its codes: 0 trains, 1 validates, 2 tests."""
    codes = np.random.default_rng(seed).permutation(np.arange(table.info.n_rows) % 5) // 2
    return with_column(table, codes, Column("fold", "categorical", ("train", "val", "test"))), codes


def refused(table: Table, **training: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        parts_of(table, options(**training))
    (error,) = caught.value.errors
    return f"{error.pointer} {error.detail}"


# ---- draws


@settings(max_examples=60)
@given(
    st.integers(8, 200),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.1, 0.3]),
    st.sampled_from([None, 0.1, 0.25]),
    st.booleans(),
)
def test_parts_are_disjoint_complete_of_the_resolved_sizes_and_the_same_again(n, seed, validation, test, stratified):
    table = blobs(n, classes=2, seed=1)
    training = options(seed=seed, validation_fraction=validation, test_fraction=test, stratify=stratified)
    try:
        parts = parts_of(table, training)
    except InvalidInput:
        assert not stratified or n < 20
        return
    everything = np.concatenate([parts.train, parts.val, parts.test])
    assert sorted(everything) == list(range(n))
    assert parts.sizes() == sizes_of(n, training)
    for rows in (parts.train, parts.val, parts.test):
        assert (np.diff(rows) > 0).all()
    again = parts_of(table, training)
    assert all(np.array_equal(getattr(parts, name), getattr(again, name)) for name in ("train", "val", "test"))


def test_test_rows_are_put_aside_before_the_others_are_split():
    table = blobs(200, classes=4)
    parts = parts_of(table, options(test_fraction=0.25, validation_fraction=0.2))
    assert parts.sizes() == Sizes(120, 30, 50)
    shares = np.bincount(table.y) / 200
    for rows in (parts.test, parts.val):
        assert np.abs(np.bincount(table.y[rows], minlength=4) / len(rows) - shares).max() < 0.05


def test_a_plain_draw_does_not_keep_shares_and_a_stratified_one_is_what_it_was():
    table = blobs(300, classes=3)
    plain, kept = (parts_of(table, options(stratify=choice)) for choice in (False, "auto"))
    assert kept.val[:8].tolist() == parts_of(table, options(stratify=True)).val[:8].tolist()
    assert plain.val.tolist() != kept.val.tolist()
    exact = np.bincount(table.y) * 0.2
    assert np.abs(np.bincount(table.y[kept.val]) - exact).max() <= 1
    assert np.abs(np.bincount(table.y[plain.val]) - exact).max() > 1


def test_a_plain_draw_that_leaves_a_class_without_a_training_row_is_refused():
    x, y = np.arange(20.0)[:, None], np.array([0] * 19 + [1])
    table = Table.from_arrays(x, y, classes=["often", "rare"])
    lost = [seed for seed in range(40) if 19 in _val_rows(20, seed)]
    assert lost
    said = refused(table, stratify=False, seed=lost[0])
    assert said == '/training/stratify is false and leaves no training row for class "rare"'
    assert 19 in parts_of(table, options(seed=lost[0])).train


def _val_rows(n: int, seed: int) -> list[int]:
    table = Table.from_arrays(np.zeros((n, 1)), np.zeros(n), "regression")
    return parts_of(table, options(seed=seed)).val.tolist()


# ---- by column


@pytest.mark.parametrize("kind", ["text", "number", "boolean"])
def test_a_column_says_which_rows_validate_and_test(kind):
    table, codes = marked(blobs(60))
    split: dict[str, Any] = dict(FOLD)
    if kind == "number":
        table = with_column(blobs(60), codes + 3, Column("fold"))
        split = {"column": "fold", "validation": [4], "test": [5.0]}
    if kind == "boolean":
        codes = (codes == 2) * 2
        table = with_column(blobs(60), codes / 2, Column("fold", "boolean", ("no", "Yes")))
        split = {"column": "fold", "test": ["yes"]}
    training = options(split=split, validation_fraction=0.0) if kind == "boolean" else options(split=split)
    parts = parts_of(table, training)
    for part, rows in enumerate((parts.train, parts.val, parts.test)):
        assert rows.tolist() == np.flatnonzero(codes == part).tolist()


def test_validation_rows_are_drawn_from_those_that_the_column_does_not_test():
    table, codes = marked(blobs(100))
    parts = parts_of(table, options(split={"column": "fold", "test": ["test"]}, validation_fraction=0.25))
    assert parts.test.tolist() == np.flatnonzero(codes == 2).tolist()
    assert parts.sizes() == Sizes(60, 20, 20)


def test_the_column_is_no_input_and_cannot_be_learnt_from():
    plain = blobs(80)
    table, codes = marked(plain)
    spec = resolve(TrainingSpec.parse({"training": {"split": FOLD}}), table.info, Sizes(32, 32, 16))
    data = prepare(table, spec)
    assert data.n_inputs == data.x_train.shape[1] == 4
    assert data.x_train.shape[0] == (codes == 0).sum()
    assert data.x_val.shape[0] == (codes == 1).sum()
    assert [c.name for c in inputs_of(table.info, spec.training).columns] == ["x0", "x1", "x2", "x3"]
    alone = input_table(table, spec.training)
    np.testing.assert_array_equal(alone.x[:], plain.x)
    np.testing.assert_array_equal(alone.x[np.array([5, 2]), 3], plain.x[[5, 2], 3])


def test_no_bit_of_a_run_depends_on_the_rows_that_test():
    """Other cells and labels in the test rows, the same weights, folds and curve."""
    table, codes = marked(blobs(90))
    spoiled = Table(table.info, table.x.copy(), table.y.copy())
    spoiled.x[codes == 2, 2:] = 1e6
    spoiled.y[codes == 2] = 0
    sizes = parts_of(table, options(split=FOLD)).sizes()
    training = {"split": FOLD, "epochs": 4, "folds": 3, "batch_size": 8}
    runs = []
    for one in (table, spoiled):
        spec = resolve(TrainingSpec.parse({"training": training}), one.info, sizes)
        runs.append(run(Member(spec, prepare(one, spec), None, prepare_folds(one, spec))))
    first, second = runs
    assert_same_arrays(first.outcomes[0].parameters, second.outcomes[0].parameters)
    assert first.outcomes[0].metrics == second.outcomes[0].metrics
    assert "fold3_val_loss" in first.outcomes[0].metrics
    assert first.curve() == second.curve()


def test_folds_are_dealt_from_the_rows_that_do_not_test():
    table, _ = marked(line(100))
    spec = resolve(TrainingSpec.parse({"training": {"split": FOLD, "folds": 4}}), table.info, Sizes(40, 40, 20))
    folds = prepare_folds(table, spec)
    assert [len(fold.x_val) for fold in folds] == [20] * 4
    assert [len(fold.x_train) for fold in folds] == [60] * 4


def test_the_parts_that_a_data_set_came_in_split_it_without_a_column():
    table = blobs(50)
    table = Table(replace(table.info, parts=(("train", 40), ("test", 10))), table.x, table.y)
    parts = parts_of(table, options(split={"column": "part", "test": ["test"]}))
    assert parts.test.tolist() == list(range(40, 50))
    assert parts.sizes() == Sizes(32, 8, 10)
    about = inputs_of(table.info, options(split={"column": "part", "test": ["test"]}))
    assert about == inputs_of(table.info, options()) == blobs(50).info
    assert TableInfo.from_json(table.info.to_json()) == table.info
    assert "parts" not in about.to_json()
    known = '/training/split/test/0 is "dev"; no row has it; must be one of "train", "test"'
    assert refused(table, split={"column": "part", "test": ["dev"]}) == known


REFUSALS = {
    "unknown column": ({"column": "f"}, '/training/split/column is "f"; must be one of the columns x0, fold, x1'),
    "value no row has": (
        {"validation": ["dev"]},
        '/training/split/validation/0 is "dev"; no row has it; must be one of',
    ),
    "value of another kind": ({"validation": [1]}, "/training/split/validation/0 is 1; no row has it"),
    "no training row": ({"validation": ["train", "val"]}, "/training/split leaves no row to train on"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_split_that_cannot_be_is_refused_with_what_can(case):
    table, _ = marked(blobs(60, features=2))
    changes, said = REFUSALS[case]
    assert refused(table, split=FOLD | changes).startswith(said)


def test_a_column_that_cannot_split_is_refused():
    table, codes = marked(blobs(60, features=1))
    dates = with_column(blobs(60), codes, Column("fold", "datetime"))
    assert "holds dates" in refused(dates, split={"column": "fold", "test": [1]})
    holes = with_column(blobs(60), codes, Column("fold", missing=3))
    assert "missing in 3 rows" in refused(holes, split={"column": "fold", "test": [1]})
    numbers = with_column(blobs(60), codes, Column("fold"))
    assert '/training/split/test/0 is "2"; must be a number' in refused(
        numbers, split={"column": "fold", "test": ["2"]}
    )
    assert "is 7; no row has it" in refused(numbers, split={"column": "fold", "test": [7]})
    alone = Table(replace(table.info, columns=table.info.columns[1:]), table.x[:, 1:], table.y)
    with pytest.raises(InvalidInput, match="the only column"):
        inputs_of(alone.info, options(split=FOLD))
    with pytest.raises(InvalidInput, match="the sample_weight"):
        inputs_of(table.info, options(split=FOLD, sample_weight="fold"))


def test_a_class_that_the_column_leaves_without_a_training_row_is_refused():
    table, codes = marked(blobs(60))
    y = np.where(codes == 0, np.minimum(table.y, 1), table.y)
    table = Table(table.info, table.x, y)
    assert refused(table, split=FOLD) == '/training/split leaves no training row for class "class 2"'


# ---- specs


@pytest.mark.parametrize(
    ("training", "said"),
    [
        ({"test_fraction": 0.2, "test_dataset": "iris"}, "/training/test_dataset: is given, and so is test_fraction"),
        ({"split": FOLD, "test_fraction": 0.2}, "/training/test_fraction: is given, and so is split.test"),
        ({"split": FOLD, "validation_fraction": 0.2}, "/training/validation_fraction: is given, and so is split.val"),
        ({"split": FOLD, "validation_dataset": "iris"}, "/training/validation_dataset: is given, and so is split.val"),
        ({"split": {"column": "f", "validation": [1], "test": [1.0]}}, "/training/split/test: holds 1.0, which valid"),
        ({"split": {"column": "f"}}, "/training/split: names neither validation nor test"),
        ({"split": {"column": "f", "test": []}}, "/training/split/test: is []; must hold at least 1"),
        ({"split": {"column": "f", "test": [None]}}, "/training/split/test/0: is null; must be a text, a number"),
        ({"stratify": "yes"}, '/training/stratify: is "yes"; must be true, false or "auto"'),
        ({"test_fraction": 0.0}, "/training/test_fraction: is 0.0; must be > 0 and <= 0.9"),
        ({"test_dataset": "../etc"}, '/training/test_dataset: is "../etc"; must be the id of a data set'),
    ],
)
def test_contradictions_are_refused(training, said):
    with pytest.raises(InvalidInput) as caught:
        TrainingSpec.parse({"training": training})
    assert str(caught.value).startswith(said)


def test_a_spec_that_says_nothing_of_parts_keeps_its_bytes_and_one_that_does_comes_back_whole():
    written = spec_for(blobs()).to_json()["training"]
    assert not written.keys() & {"stratify", "split", "test_fraction", "test_dataset", "validation_dataset"}
    table, _ = marked(blobs(60))
    asked = TrainingSpec.parse({"training": {"split": FOLD, "stratify": False}})
    spec = resolve(asked, table.info, Sizes(24, 24, 12))
    assert spec.to_json()["training"]["split"] == FOLD
    assert spec.to_json()["training"]["validation_fraction"] == 0.0
    assert spec.training.batch_size == 24
    assert resolve(TrainingSpec.parse(spec.to_json()), table.info, Sizes(24, 24, 12)) == spec


def test_early_stopping_and_folds_go_by_the_rows_that_validate():
    table, _ = marked(blobs(60))
    stopping = {"split": FOLD, "early_stopping": {"patience": 2}, "folds": 3}
    assert resolve(TrainingSpec.parse({"training": stopping}), table.info, Sizes(24, 24, 12))
    only_test = {"split": {"column": "fold", "test": ["test"]}, "validation_fraction": 0.0}
    for more in ({"early_stopping": {}}, {"folds": 3}):
        with pytest.raises(InvalidInput, match="needs a validation_fraction above 0"):
            resolve(TrainingSpec.parse({"training": only_test | more}), table.info, Sizes(48, 0, 12))
    with pytest.raises(InvalidInput, match="stratify: is true; the task is regression"):
        spec_for(line(), training={"stratify": True})


def test_rows_that_test_take_no_memory_of_a_run():
    info = blobs(1000).info
    spec = resolve(TrainingSpec.parse({"training": {"test_fraction": 0.5}}), info)
    assert memory_estimate_bytes(spec, info, 500) < memory_estimate_bytes(spec, info)


# ---- other data sets


def test_another_data_set_validates_with_columns_and_classes_by_name():
    table = blobs(120)
    other = blobs(60, seed=3)
    order = [2, 0, 3, 1]
    columns = (*(other.info.columns[place] for place in order), Column("more"))
    shuffled_info = TableInfo(60, columns, "classification", ("class 2", "class 0", "class 1"))
    codes = np.array([1, 2, 0])[other.y]
    shuffled = Table(shuffled_info, np.column_stack([other.x[:, order], np.ones(60)]), codes)
    spec = resolve(TrainingSpec.parse({"training": {"validation_dataset": "iris"}}), table.info, Sizes(120, 60))
    direct, aligned = (prepare(table, spec, validation=one) for one in (other, shuffled))
    np.testing.assert_array_equal(direct.x_val, aligned.x_val)
    np.testing.assert_array_equal(direct.y_val, aligned.y_val)
    assert len(direct.x_train) == 120
    np.testing.assert_array_equal(direct.x_val, direct.preprocessing.transform(other.x))
