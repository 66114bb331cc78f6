"""How people write tables: decimal commas, signs between thousands, amounts, blanks between fields, odd first lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernels.dates import seconds_of
from store.ingest.number_text import NumberText
from tests.store.ingest_parts import read, refused

COMMA = "decimal comma"


def table(delimiter: str, *cells: str) -> str:
    lines = [f'"{cell}"{delimiter}{n}{delimiter}{"uv"[n % 2]}' for n, cell in enumerate(cells)]
    return "\n".join([delimiter.join(("a", "b", "y")), *lines, ""])


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize(
    ("cells", "numbers", "decimal", "thousands"),
    [
        (("1,5", "-2,25", "3", ",5"), [1.5, -2.25, 3, 0.5], ",", None),
        (("1,5e3", "2", "0,123", "12,345"), [1500, 2, 0.123, 12.345], ",", None),
        (("1.234,5", "7", "1.234.567,25", "0,5"), [1234.5, 7, 1234567.25, 0.5], ",", "."),
        (("1 234,5", "7", "1\u00a0234\u202f567", "0,5"), [1234.5, 7, 1234567, 0.5], ",", " "),
        (("1,234.5", "7", "1,234,567", "0.5"), [1234.5, 7, 1234567, 0.5], ".", ","),
        (("1'234.5", "7", "1’234", "0.5"), [1234.5, 7, 1234, 0.5], ".", "'"),
        (("1.234", "2.345", "3.5", "4"), [1.234, 2.345, 3.5, 4], ".", None),
        (("1.234", "2.345", "3.456", "4"), [1.234, 2.345, 3.456, 4], ".", None),
    ],
)
def test_the_way_numbers_are_written_is_found_and_told(
    tmp_path: Path, delimiter: str, cells: tuple[str, ...], numbers: list[float], decimal: str, thousands: str | None
) -> None:
    found = read(tmp_path, table(delimiter, *cells))
    np.testing.assert_array_equal(found.x[:, 0], numbers)
    text = found.info["text"]
    assert (text["delimiter"], text["decimal"], text["thousands"]) == (delimiter, decimal, thousands)
    is_usual = decimal == "." and thousands is None
    assert any("numbers are read with" in said for said in found.info["warnings"]) != is_usual


def test_targets_and_missing_cells_are_written_alike(tmp_path: Path) -> None:
    found = read(tmp_path, "a;price\n1,5;10,25\n;20,5\nNA;30,75\n2,5;\n3;1,125\n")
    np.testing.assert_array_equal(found.x[:, 0], [1.5, np.nan, np.nan, 3])
    np.testing.assert_array_equal(found.y, [10.25, 20.5, 30.75, 1.125])
    assert found.info["task"] == "regression"


def test_a_file_without_a_header_may_have_decimal_commas(tmp_path: Path) -> None:
    found = read(tmp_path, "1,5;2,5;u\n3,5;4,5;v\n")
    assert not found.info["text"]["header"]
    np.testing.assert_array_equal(found.x, [[1.5, 2.5], [3.5, 4.5]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            table(";", "1,234", "2,345", "3,456"),
            '"1,234" is not a number: digits may not be grouped; send "thousands": "," if',
        ),
        (table("\t", "1.234.567", "2.345.678"), '"1.234.567" is not a number: digits may not be grouped'),
        (table(",", "1,5", "2,5"), '"1,5" is not a number: the decimal sign is a point; send "decimal": ","'),
        ("a;b;y\n1,5;2.5;u\n2,5;3.5;v\n", '"1,5" is not a number: the decimal sign is a point'),
        (table(";", "1,5", "2,5", "3.5"), '"1,5" is not a number: the decimal sign is a point'),
    ],
)
def test_what_may_mean_two_numbers_is_not_guessed(tmp_path: Path, text: str, said: str) -> None:
    error = refused(tmp_path, text)
    assert error.row == 2
    assert said in error.detail


def test_a_decimal_point_among_decimal_commas_is_named(tmp_path: Path) -> None:
    rows = [f"{n},5;{n};{'uv'[n % 2]}" for n in range(6_000)]
    rows[5_900] = "5900.5;1;u"
    error = refused(tmp_path, "a;b;y\n" + "\n".join(rows) + "\n")
    assert (error.row, error.column) == (5_902, "a")
    assert '"5900.5" is not a number: the decimal sign is a comma; send "decimal": "."' in error.detail


@pytest.mark.parametrize(
    ("options", "number"),
    [
        ({"decimal": ","}, 1.234),
        ({"thousands": ","}, 1234),
        ({"decimal": ".", "thousands": ","}, 1234),
        ({"decimal": ",", "thousands": "."}, 1.234),
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_what_is_said_holds(tmp_path: Path, options: dict[str, Any], number: float, delimiter: str) -> None:
    found = read(tmp_path, table(delimiter, "1,234", "5", "6"), **options)
    assert found.x[0, 0] == number
    assert not [said for said in found.info["warnings"] if COMMA in said and len(options) == 2]


@pytest.mark.parametrize(
    ("options", "pointer", "said"),
    [
        ({"decimal": ";"}, "/options/decimal", 'is ";"; must be one of "." ","'),
        ({"decimal": 1}, "/options/decimal", "is 1; must be a string"),
        ({"thousands": "_"}, "/options/thousands", 'is "_"; must be one of "," "." " " "\'"'),
        ({"decimal": ",", "thousands": ","}, "/options/thousands", 'is ",", the decimal sign as well'),
    ],
)
def test_wrong_signs_are_refused(tmp_path: Path, options: dict[str, Any], pointer: str, said: str) -> None:
    error = refused(tmp_path, table(";", "1,5", "2,5"), **options)
    assert (error.pointer, error.detail) == (pointer, said)


def test_amounts_are_numbers_where_that_is_said(tmp_path: Path) -> None:
    text = "cost,off,price\n$1200,10%,350 EUR\n-$7.5,2.5 %,€ 99\n3,,$1\n"
    said = {name: {"kind": "numeric"} for name in ("cost", "off")}
    found = read(tmp_path, text, columns=said, task="regression")
    np.testing.assert_array_equal(found.x, [[1200, 10], [-7.5, 2.5], [3, np.nan]])
    np.testing.assert_array_equal(found.y, [350, 99, 1])


def test_house_prices_with_dollars_and_commas_are_read(tmp_path: Path) -> None:
    text = 'area,price\n1500,"$208,500"\n1700,"$1,340,000"\n900,"$98,000"\n'
    found = read(tmp_path, text)
    np.testing.assert_array_equal(found.y, [208_500, 1_340_000, 98_000])


BLANKS = "  0.00632  18.00   2.310  0  24.00\n  0.02731   0.00   7.070  0  21.60\n 10.02729   0.00   7.070  1  34.70 \n"


def test_blanks_divide_where_nothing_else_does(tmp_path: Path) -> None:
    found = read(tmp_path / "aligned", BLANKS)
    assert found.info["text"]["delimiter"] == " "
    np.testing.assert_array_equal(found.x[2], [10.02729, 0, 7.07, 1])
    np.testing.assert_array_equal(found.y, [24.0, 21.6, 34.7])
    text = 'mpg cyl\t"name"\n18 8\t"chevrolet chevelle"\n15 8\t"ford"\n'
    tabs = read(tmp_path / "tabs", text, target="mpg", task="regression", delimiter=" ")
    assert tabs.column("name")["categories"] == ["chevrolet chevelle", "ford"]
    said = read(tmp_path / "said", "a b\n1 2.5\n2 3.5\n", delimiter=" ")
    np.testing.assert_array_equal(said.y, [2.5, 3.5])


def test_a_first_line_may_name_the_delimiter(tmp_path: Path) -> None:
    found = read(tmp_path, "\ufeffsep=;\r\na;b\r\n1;2,5\r\n2;3,5\r\n")
    assert [found.info["target"], *(c["name"] for c in found.info["columns"])] == ["b", "a"]
    np.testing.assert_array_equal(found.y, [2.5, 3.5])


@pytest.mark.parametrize("text", ["a,b,y,\n1,2,u,\n3,4,v,\n", "1,2,u,\n3,4,v,\n5,6,u,\n"])
def test_delimiters_at_the_end_of_lines_make_no_target(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, text)
    assert found.info["classes"] == ["u", "v"]
    assert found.info["n_features"] == 2
    assert "the last column has neither a name nor values and is left out" in found.info["warnings"]


def test_a_file_that_nothing_divides_says_so(tmp_path: Path) -> None:
    said = refused(tmp_path, "made by hand\na,b\n1,2\n").detail
    assert "has 1 column" in said
    assert '"," does not divide its first row, "made by hand"; delimiter names another sign' in said


@pytest.mark.parametrize(
    "text", ["1.5", "1,5", "1.234,5", "1 234", "1'234.5", "x", "", "-", ",", ".", "1,2,3", "1..5", "٣,5"]
)
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("thousands", ["", " ", "'", ".", ","])
def test_what_is_a_number_is_one_for_float(text: str, decimal: str, thousands: str) -> None:
    writing = NumberText(decimal, thousands)
    if decimal != thousands and writing.is_number(text):
        assert writing.amount(f"€{text}") == writing.plain(text) == repr(float(writing.plain(text))).removesuffix(".0")


def test_a_column_that_counts_the_rows_is_told(tmp_path: Path) -> None:
    lines = [f"{n},{n * n % 7},{'uv'[n % 2]}" for n in range(1, 61)]
    told = 'column "Id" counts the rows; unless their order means something, leave it out with features'
    assert told in read(tmp_path / "ids", "\n".join(["Id,a,y", *lines, ""])).info["warnings"]
    named = read(tmp_path / "named", "\n".join(["Id,a,y", *lines, ""]), features=["Id", "a"])
    assert told not in named.info["warnings"]
    mixed = read(tmp_path / "mixed", "\n".join(["Id,a,y", *reversed(lines), ""]))
    assert told not in mixed.info["warnings"]


def test_labels_that_differ_in_case_or_blanks_are_told(tmp_path: Path) -> None:
    found = read(tmp_path, "a,b,y\n1,x ,Yes\n2,x,no\n3,z,yes\n4,z,no\n")
    assert 'column "b" tells "x" and "x " apart' in found.info["warnings"]
    assert 'column "y" tells "Yes" and "yes" apart' in found.info["warnings"]


def test_dates_that_may_be_two_are_told(tmp_path: Path) -> None:
    lines = [f"{n % 12 + 1:02d}/{n % 11 + 1:02d}/2024,{'uv'[n % 2]}" for n in range(20)]
    text = "\n".join(["when,y", *lines, ""])
    told = 'column "when" holds dates such as "01/01/2024", which may be two, and is text; send "dates": "dmy"'
    assert any(told in said for said in read(tmp_path / "told", text).info["warnings"])
    assert 'which may be two; send "dates"' in refused(tmp_path, text, columns={"when": {"kind": "datetime"}}).detail
    for order, moment in (("dmy", "2024-01-02"), ("mdy", "2024-02-01")):
        said = read(tmp_path / order, text.replace("02/02/2024", "01/02/2024"), dates=order)
        assert said.column("when")["order"] == order
        assert said.x[1, 0] == seconds_of("2024-02-01" if order == "dmy" else "2024-01-02"), moment


@pytest.mark.parametrize("decided", ["31/01/2024", "1/31/24 9:05 PM", "01-31-2024"])
@pytest.mark.parametrize("place", [0, 1, 11])
def test_one_day_above_12_tells_the_order_of_a_column(tmp_path: Path, decided: str, place: int) -> None:
    texts = [f"{n:02d}/0{n % 3 + 1}/2024" for n in range(1, 12)]
    texts.insert(place, decided)
    order = "dmy" if decided.startswith("31") else "mdy"
    found = read(tmp_path, "\n".join(["when,y", *(f"{text},{'uv'[n % 2]}" for n, text in enumerate(texts)), ""]))
    assert (found.column("when")["kind"], found.column("when")["order"]) == ("datetime", order)
    np.testing.assert_array_equal(found.x[:, 0], [seconds_of(text, order) for text in texts])


def test_columns_of_dates_follow_the_one_that_is_certain(tmp_path: Path) -> None:
    text = "a,b,y\n01/02/2024,31/01/2024,u\n03/04/2024,01/02/2024,v\n"
    found = read(tmp_path / "one", text)
    assert found.column("a")["order"] == found.column("b")["order"] == "dmy"
    np.testing.assert_array_equal(found.x[:, 0], [seconds_of("2024-02-01"), seconds_of("2024-04-03")])
    none = read(tmp_path / "none", "a,b,y\n01/13/2024,1,u\n13/01/2024,2,v\n")
    assert none.column("a")["kind"] == "categorical"


def test_a_zero_has_no_sign_in_the_report(tmp_path: Path) -> None:
    column = read(tmp_path, "a,y\n-0,1.5\n-0.0,2.5\n").column("a")
    assert str(column["minimum"]) == str(column["maximum"]) == "0.0"
