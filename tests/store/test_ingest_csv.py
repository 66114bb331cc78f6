"""CSV: what is read is what was written, and what cannot be read is named by row and column."""

from __future__ import annotations

import csv
import io
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.ingest.limits import MAX_CATEGORIES
from tests.store.ingest_parts import GOOD, read, refused


def test_numbers_and_labels_are_read_as_written(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD)
    np.testing.assert_array_equal(found.x, [[1, 2.5], [-3, 400], [0.5, 6]])
    np.testing.assert_array_equal(found.y, [0, 1, 0])
    assert found.x.dtype == np.float64
    assert found.y.dtype == np.int64
    assert found.info["classes"] == ["x", "y"]
    assert found.info["task"] == "classification"
    assert found.info["standardize"] is True
    assert found.column("b") == {
        "name": "b",
        "kind": "numeric",
        "categories": [],
        "missing": 0,
        "cardinality": 3,
        "minimum": 2.5,
        "maximum": 400.0,
    }


def test_target_and_features_are_chosen_by_name(tmp_path: Path) -> None:
    found = read(tmp_path, "id,y,a,b\n7,p,1,2\n8,q,3,4\n", target="y", features=["b", "a"])
    assert [column["name"] for column in found.info["columns"]] == ["b", "a"]
    np.testing.assert_array_equal(found.x, [[2, 1], [4, 3]])
    assert found.info["classes"] == ["p", "q"]


@pytest.mark.parametrize(
    ("options", "pointer", "said"),
    [
        ({"target": "z"}, "/options/target", 'is "z"; the columns are "a", "b", "kind"'),
        ({"target": "knid"}, "/options/target", 'the columns are "a", "b", "kind"; did you mean "kind"?'),
        ({"features": ["a", "z"]}, "/options/features", 'names "z"'),
        ({"features": ["a", "kind"]}, "/options/features", 'names the target "kind"'),
        ({"task": "regression"}, "/options/task", 'the target "kind" holds text such as "x"'),
    ],
)
def test_wrong_choice_of_columns_names_the_option(
    tmp_path: Path, options: dict[str, object], pointer: str, said: str
) -> None:
    error = refused(tmp_path, GOOD, **options)
    assert error.pointer == pointer
    assert said in error.detail


def test_kinds_are_inferred_and_reported(tmp_path: Path) -> None:
    text = "n,flag,colour,y\n1,yes,red,0\n2,no,blue,1\n3,Yes,red,0\n4,no,,1\n"
    found = read(tmp_path / "mixed", text)
    assert found.column("flag")["kind"] == "categorical"  # three spellings
    found = read(tmp_path / "plain", text.replace("Yes", "yes"))
    assert [column["kind"] for column in found.info["columns"]] == ["numeric", "boolean", "categorical"]
    assert found.column("flag")["categories"] == ["no", "yes"]
    assert found.column("colour")["categories"] == ["blue", "red"]
    assert found.column("colour")["missing"] == 1
    assert found.column("colour")["cardinality"] == 2
    np.testing.assert_array_equal(found.x, [[1, 1, 1], [2, 0, 0], [3, 1, 1], [4, 0, np.nan]])


def test_a_text_below_numbers_makes_the_column_categories(tmp_path: Path) -> None:
    """The text comes long after the first chunk, so the file is read twice."""
    many = 60_000
    lines = ["a,b,c,d,e,y"] + [f"{i % 7},1,2,3,4,{i % 2}" for i in range(many)] + ["seven,1,2,3,4,0"]
    found = read(tmp_path, "\n".join(lines))
    assert found.column("a")["kind"] == "categorical"
    assert found.column("a")["categories"] == ["0", "1", "2", "3", "4", "5", "6", "seven"]
    assert found.x.shape == (many + 1, 5)
    assert found.x[-1, 0] == 7
    assert f'column "a" holds numbers and texts (row {many + 2}: "seven"): categories' in found.info["warnings"]


def test_suspicious_columns_are_warned_of(tmp_path: Path) -> None:
    lines = ["constant,empty,name,y"] + [f"5,,person {i},{i % 2}" for i in range(60)]
    found = read(tmp_path / "all", "\n".join(lines))
    assert [column["name"] for column in found.info["columns"]] == ["constant", "empty"]
    left_out = 'column "name" is left out: 60 different texts in 60 rows look like names or ids'
    assert found.info["warnings"] == [
        f"{left_out}; list it in features to use it",
        'column "constant" has the same value in every row',
        'column "empty" has no value in any row',
    ]
    asked = read(tmp_path / "asked", "\n".join(lines), features=["name"])
    assert asked.column("name")["cardinality"] == 60


def test_rare_categories_share_the_code_behind_the_last(tmp_path: Path) -> None:
    rows = [f"c{i:03d}" for i in range(MAX_CATEGORIES + 44)]
    lines = ["c,y"] + [f"{c},{i % 2}" for i, c in enumerate(rows[:MAX_CATEGORIES] * 2 + rows[MAX_CATEGORIES:])]
    found = read(tmp_path, "\n".join(lines), features=["c"])
    assert found.column("c")["categories"] == rows[:MAX_CATEGORIES]
    assert found.x[2 * MAX_CATEGORIES :, 0].tolist() == [MAX_CATEGORIES] * 44
    assert found.column("c")["missing"] == 0
    assert 'column "c" has 300 categories; the 256 most frequent are kept' in found.info["warnings"][0]


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('\n",;|\t'), max_size=12).map(
    lambda text: "t" + text
)


@st.composite
def tables(draw: st.DrawFn) -> list[list[float | str]]:
    n_rows = draw(st.integers(1, 12))
    kinds = draw(st.lists(st.sampled_from([NUMBERS, TEXTS]), min_size=1, max_size=4))
    columns = [draw(st.lists(kind, min_size=n_rows, max_size=n_rows)) for kind in kinds]
    return [list(row) for row in zip(*columns, strict=True)]


@settings(max_examples=120)
@given(table=tables(), delimiter=st.sampled_from(",;\t|"))
def test_any_table_written_as_csv_is_read_back_equal(table: list[list[float | str]], delimiter: str) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, quoting=csv.QUOTE_NONNUMERIC)
    names = [f"c{index}" for index in range(len(table[0]))]
    writer.writerow([*names, "target"])
    writer.writerows([*row, float(index) + 0.5] for index, row in enumerate(table))
    with tempfile.TemporaryDirectory() as folder:
        found = read(Path(folder), buffer.getvalue(), delimiter=delimiter, features=names, task="regression")
    np.testing.assert_array_equal(found.y, np.arange(len(table)) + 0.5)
    for index, column in enumerate(found.info["columns"]):
        for row, read_back in zip(table, found.x[:, index], strict=True):
            value = column["categories"][int(read_back)] if column["kind"] == "categorical" else read_back
            assert value == row[index]
            if isinstance(value, float):
                assert math.copysign(1, value) == math.copysign(1, float(row[index]))


def test_repeated_names_get_numbers(tmp_path: Path) -> None:
    found = read(tmp_path, "x,x,x.2,,x,y\n1,2,3,4,5,p\n2,3,4,5,6,q\n")
    assert [c["name"] for c in found.info["columns"]] == ["x", "x.3", "x.2", "column_4", "x.4"]
    assert 'names that are there already have a number: "x.3", "x.4"' in found.info["warnings"]
