"""CSV: what a cell says: a number, an amount, a text, nothing; and what only looks like a number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kernels.errors import InvalidInput
from store.ingest.csv_columns import MISSING_TEXTS, is_number
from tests.store.ingest_parts import read, refused


def test_a_slip_in_a_column_of_numbers_is_named(tmp_path: Path) -> None:
    lines = ["a,y"] + [f"{i}.25,{i % 2}" for i in range(100)]
    lines[50] = "oops,1"
    error = refused(tmp_path, "\n".join(lines))
    assert (error.row, error.column) == (51, "a")
    assert error.detail == 'row 51, column "a": "oops" is not a number, as the column\'s other values are'


@pytest.mark.parametrize("missing", sorted(MISSING_TEXTS))
def test_missing_cells_are_nan_and_counted(tmp_path: Path, missing: str) -> None:
    found = read(tmp_path, f"a,c,y\n1,u,p\n{missing},{missing},q\n3,v,p\n")
    np.testing.assert_array_equal(found.x, [[1, 0], [np.nan, np.nan], [3, 1]])
    assert [column["missing"] for column in found.info["columns"]] == [1, 1]


def test_missing_policies(tmp_path: Path) -> None:
    text = "a,c,y\n1,u,p\n,v,q\n3,,p\n4,v,q\n"
    dropped = read(tmp_path / "drop", text, missing="drop")
    np.testing.assert_array_equal(dropped.x, [[1, 0], [4, 1]])
    assert "2 rows have missing cells and are left out" in dropped.info["warnings"]
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path / "error", text, missing="error")
    assert [(e.row, e.column) for e in caught.value.errors] == [(3, "a"), (4, "c")]  # type: ignore[attr-defined]
    assert "the value is missing" in caught.value.errors[0].detail


def test_rows_without_a_target_are_left_out_with_a_warning(tmp_path: Path) -> None:
    found = read(tmp_path, "a,y\n1,p\n2,\n3,q\n")
    np.testing.assert_array_equal(found.x, [[1], [3]])
    assert "1 rows have no target and are left out" in found.info["warnings"]


@pytest.mark.parametrize("text", ["nan", "NaN", "inf", "-Infinity"])
def test_written_nan_and_infinity_need_a_policy(tmp_path: Path, text: str) -> None:
    data = f"a,y\n1,p\n{text},q\n3,q\n"
    error = refused(tmp_path / "default", data)
    assert (error.row, error.column, error.pointer) == (3, "a", "/file/3/a")
    assert f'"{text}" is not a finite number' in error.detail
    assert refused(tmp_path / "strict", data, missing="error").row == 3
    np.testing.assert_array_equal(read(tmp_path / "impute", data, missing="impute").x, [[1], [np.nan], [3]])
    np.testing.assert_array_equal(read(tmp_path / "drop", data, missing="drop").x, [[1], [3]])


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("1_000", "digits may not be grouped by underscores"),
        ("1_0.5", "digits may not be grouped by underscores"),
        ("'1,5'", "the decimal sign is a point"),
        ("'1,000'", "digits may not be grouped"),
        ("１２", "digits must be 0-9"),
        ("٣", "digits must be 0-9"),
        ("1e999", "is beyond the range of float64"),
    ],
)
def test_what_only_looks_like_a_number_is_refused_with_its_place(tmp_path: Path, bad: str, said: str) -> None:
    quoted = bad.replace("'", '"')
    error = refused(tmp_path, f"a,b,y\n1,2,p\n3,{quoted},q\n5,6,p\n")
    assert (error.row, error.column) == (3, "b")
    assert said in error.detail
    assert bad.strip("'") in error.detail


@pytest.mark.parametrize("text", ["1", "-1.5", "+.5", "2.", "1e5", "1E-05", "007"])
def test_strict_numbers(text: str) -> None:
    assert is_number(text)


@pytest.mark.parametrize("text", ["", ".", "1_0", "0x10", "1e", "nan", "1 2", "٣", "--1", "1d5"])
def test_not_strict_numbers(text: str) -> None:
    assert not is_number(text)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("1,234", "digits may not be grouped"),
        ("1.234.567", "digits may not be grouped"),
        ("350.000 €", 'it may be two; send "thousands": "." or "decimal": "."'),
        ("€ 1,234", 'digits may not be grouped; send "thousands": ","'),
    ],
)
@pytest.mark.parametrize("place", [0, 1], ids=["feature", "target"])
def test_numbers_as_people_write_them_are_no_categories_by_accident(
    tmp_path: Path, value: str, said: str, place: int
) -> None:
    rows = [["1", "2"], ["3", "4"], ["5", "6"]]
    for row in rows:
        row[place] = value
    error = refused(tmp_path / "all", "a;y\n" + "".join(";".join(row) + "\n" for row in rows))
    assert (error.row, error.column) == (2, "ay"[place])
    assert f'"{value}" is not a number: {said}' in error.detail


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *(("$350,000", 350_000), ("-$3.50", -3.5), ("€ 12", 12), ("99 EUR", 99), ("12.5%", 12.5), ("3 %", 3)),
        *(("183.309,00 €", 183_309), ("$1,500.50", 1500.5), ("¥1,234,567", 1_234_567), ("12,50 €", 12.5)),
    ],
)
@pytest.mark.parametrize("place", [0, 1], ids=["feature", "target"])
def test_amounts_of_one_sign_are_numbers(tmp_path: Path, value: str, number: float, place: int) -> None:
    rows = [["7", "7"], ["8", "8"]]
    rows[0][place], rows[1][place] = value, value.replace("2", "1").replace("3", "4").replace("9", "8")
    found = read(tmp_path, "a;y\n" + "".join(";".join(row) + "\n" for row in rows))
    classes = found.info["classes"]
    seen = found.x[0, 0] if place == 0 else float(classes[found.y[0]]) if classes else found.y[0]
    assert seen == pytest.approx(number)
    assert any("holds amounts in" in said for said in found.info["warnings"])


def test_one_sign_means_one_in_every_cell(tmp_path: Path) -> None:
    error = refused(tmp_path / "mixed", "off,y\n10%,1.5\n0.2,2.5\n")
    assert "the column's other values have the sign %" in error.detail
    error = refused(tmp_path / "two", "price,y\n$10,1.5\n€5,2.5\n")
    assert (error.row, "it goes without the currency" in error.detail) == (3, True)
    assert "it goes without" in refused(tmp_path / "late", "price,y\n10,1.5\n€5,2.5\n").detail


def test_amounts_and_shares_are_categories_where_they_are_meant_so(tmp_path: Path) -> None:
    text = "off,y\n10%,1.5\n20%,2.5\n10%,3.5\n"
    found = read(tmp_path / "said", text, columns={"off": {"kind": "categorical"}})
    assert found.column("off")["categories"] == ["10%", "20%"]
    found = read(tmp_path / "mixed", text.replace("20%", "none"))
    assert found.column("off")["categories"] == ["10%", "none"]
