"""CSV: what is read is what was written, and what cannot be read is named by row and column."""

from __future__ import annotations

import csv
import gzip
import io
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.errors import InvalidInput, TooLarge
from store.ingest.csv_columns import MISSING_TEXTS, is_number
from store.ingest.csv_table import looks_like_header
from store.ingest.csv_text import TextFile, sniff_delimiter
from store.ingest.limits import MAX_CATEGORIES, MAX_FIELD_CHARACTERS
from tests.store.file_writers import gzipped
from tests.store.ingest_parts import LIMITS, read, refused

GOOD = "a,b,kind\n1,2.5,x\n-3,4e2,y\n+.5,6.,x\n"


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


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_endings_are_found(tmp_path: Path, delimiter: str, ending: str) -> None:
    text = GOOD.replace(",", delimiter).replace("\n", ending)
    np.testing.assert_array_equal(read(tmp_path, text).x, [[1, 2.5], [-3, 400], [0.5, 6]])


DIVIDING = st.text(alphabet='a;,|\t"\n', max_size=5)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(",;\t|"),
    st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(DIVIDING, min_size=n, max_size=n), min_size=1, max_size=3)),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_what_stands_in_quotes_divides_no_row(
    delimiter: str, rows: list[list[str]], ending: str, number_first: bool
) -> None:
    """Any quoted texts that hold the other delimiters, quotes and line breaks, beside numbers without quotes."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_NONNUMERIC, lineterminator=ending)
    writer.writerows([index, *row] if number_first else [*row, index] for index, row in enumerate(rows))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(text.getvalue().encode())
        assert sniff_delimiter(TextFile.of(path, LIMITS, None)) == delimiter


@pytest.mark.parametrize(
    "text",
    [
        '"size; cm","colour; shade",y\n1,"a; b",p\n2,"c; d",q\n',
        '1,"a;b"\n2,"c;d"\n',
        'note,y\n5" pipe,1\n7" pipe,2\n',
        'a , "b;c;d" ,y\n1, "e;f;g" ,p\n',
    ],
)
def test_a_comma_divides_beside_quoted_semicolons(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert sniff_delimiter(TextFile.of(tmp_path / "a.csv", LIMITS, None)) == ","


def test_semicolons_win_over_decimal_commas(tmp_path: Path) -> None:
    found = read(tmp_path, "a;b;y\n1,5;2,5;x\n3,5;4,5;z\n")
    np.testing.assert_array_equal(found.x, [[1.5, 2.5], [3.5, 4.5]])


def test_byte_order_mark_and_gzip_are_transparent(tmp_path: Path) -> None:
    plain = read(tmp_path / "plain", GOOD)
    packed = read(tmp_path / "packed", gzip.compress(b"\xef\xbb\xbf" + GOOD.encode()), "table.csv.gz")
    np.testing.assert_array_equal(plain.x, packed.x)
    assert [column["name"] for column in packed.info["columns"]] == ["a", "b"]


def test_quoted_fields_hold_delimiters_quotes_and_line_breaks(tmp_path: Path) -> None:
    found = read(tmp_path, 'name,n,y\n"a, ""b""\nc",1,p\nplain,2,q\n"a, ""b""\nc",3,p\n')
    assert found.column("name")["categories"] == ['a, "b"\nc', "plain"]
    np.testing.assert_array_equal(found.x[:, 0], [0, 1, 0])


def test_blank_lines_are_left_out_and_counted_as_rows_of_the_file(tmp_path: Path) -> None:
    found = read(tmp_path / "good", "a,y\n1,p\n\n2,q\n\n")
    assert found.info["n_rows"] == 2
    assert refused(tmp_path / "bad", "a,y\n1,p\n\n2_0,q\n").row == 4


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("a,b\n1,2\n3,4\n", True),
        ("1.5,2,x\n3,4,y\n", False),
        ("x,y\np,q\n", True),
        ("0,1,2\n5.5,6,7\n5.1,2,3\n", True),
        ("label,0,1\n3,5,6\n4,7,8\n", True),
        ("?,1\n2,3\n", False),
    ],
)
def test_header_is_inferred(text: str, header: bool) -> None:
    rows = [line.split(",") for line in text.split()]
    assert looks_like_header(rows[0], rows[1:]) is header


def test_header_can_be_said(tmp_path: Path) -> None:
    named = read(tmp_path / "named", "1,2\n5,0\n6,1\n", header=True)
    assert named.info["target"] == "2"
    unnamed = read(tmp_path / "unnamed", "a,p\nb,q\na,p\n", header=False)
    assert unnamed.info["n_rows"] == 3
    assert unnamed.info["target"] == "column_2"


def test_target_and_features_are_chosen_by_name(tmp_path: Path) -> None:
    found = read(tmp_path, "id,y,a,b\n7,p,1,2\n8,q,3,4\n", target="y", features=["b", "a"])
    assert [column["name"] for column in found.info["columns"]] == ["b", "a"]
    np.testing.assert_array_equal(found.x, [[2, 1], [4, 3]])
    assert found.info["classes"] == ["p", "q"]


@pytest.mark.parametrize(
    ("options", "pointer", "said"),
    [
        ({"target": "z"}, "/options/target", 'is "z"; the columns are "a", "b", "kind"'),
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


WORDS = "size;origin;label\n1;Köln;grün\n2;Málaga;rot\n3;Köln;grün\n"


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (WORDS.encode("utf-16"), {}),
        (b"\xfe\xff" + WORDS.encode("utf-16-be"), {}),
        (gzip.compress(WORDS.encode("utf-16")), {}),
        (WORDS.encode("utf-16-le"), {"encoding": "utf-16"}),
        (WORDS.encode("cp1252"), {"encoding": "cp1252"}),
        (WORDS.encode("latin-1"), {"encoding": "latin-1"}),
        (WORDS.encode(), {"encoding": "utf-8"}),
    ],
    ids=["utf-16", "big end first", "gzipped", "no mark", "cp1252", "latin-1", "utf-8"],
)
@pytest.mark.parametrize("filename", ["words.csv", "words"])
def test_the_encoding_is_found_by_its_mark_or_named(
    tmp_path: Path, data: bytes, options: dict[str, str], filename: str
) -> None:
    info = read(tmp_path, data, filename, format="csv" if "encoding" in options else None, **options).info
    assert info["classes"] == ["grün", "rot"]
    assert info["columns"][1]["categories"] == ["Köln", "Málaga"]


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("a,b,y\n1,2,p\n".encode("utf-16")[:-1], None),
        ("a,b,y\n1,2,p\n".encode("utf-16") + b"\x00\xd8x\x00", None),
        (b"a,b,y\n1,2,\x81\n", "cp1252"),
    ],
    ids=["half a character", "half a pair", "a byte without a character"],
)
def test_what_is_not_in_its_encoding_is_refused(tmp_path: Path, data: bytes, encoding: str | None) -> None:
    error = refused(tmp_path, data, "t.csv", **({} if encoding is None else {"encoding": encoding}))
    assert f"is not {encoding or 'utf-16'}" in error.detail
    assert error.row is not None


@pytest.mark.parametrize(
    ("data", "row", "column", "said"),
    [
        (b"a,b,y\n1,2,p\n3,4\n", 3, "y", "the row has 2 fields; the first row has 3"),
        (b"a,b,y\n1,2,p\n3,4,q,5\n", 3, "4", "the row has 4 fields; the first row has 3"),
        (b"a,b,y\n1,2,p\n3,caf\xe9,q\n", 3, "b", "byte 0xe9 is not UTF-8"),
        (b"a,b,y\n1,\xff,p\n", 2, "b", "byte 0xff is not UTF-8"),
        (b'a,b,y\n1,2,p\n3,"4,q\n5,6,p\n', 3, "b", "a quote is opened and not closed"),
        (b'a,b,y\n1,2,p\n3,"4"5,q\n', 3, "b", '"5" follows a closing quote'),
        (b"a,b,y\n1,2,p\n3," + b"9" * (MAX_FIELD_CHARACTERS + 1) + b",q\n", 3, "b", "the field is longer than 65536"),
        (b'a,b,y\n1,2,p\n3,"' + b"4\n" * MAX_FIELD_CHARACTERS, 3, "b", "a quote is opened and not closed"),
        (b'a,"b\x07",y\n1,2,p\n', 1, "2", "control characters"),
        (b"a," + b"b" * 201 + b",y\n1,2,p\n", 1, "2", "has 201 characters; must be 1..200"),
    ],
)
def test_a_broken_file_is_refused_with_its_place(tmp_path: Path, data: bytes, row: int, column: str, said: str) -> None:
    error = refused(tmp_path, data)
    assert (error.row, error.column) == (row, column)
    assert said in error.detail


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"\n\n", "has no rows"),
        (b"a,b,y\n", "has no rows; at least 1 is needed"),
        (b"a,y\n1,\n2,\n", "has no rows with a target"),
        (b"a\n1\n2\n", "has 1 column; at least one feature and a target are needed"),
        (b"a,y\n1,p\n2,p\n", 'the target "y" has one class, "p"; at least 2 are needed'),
        (gzip.compress(GOOD.encode(), mtime=0)[:-9], "is a damaged gzip file"),
        (gzip.compress(b"a" * 999, 0, mtime=0).replace(b"aaaa", b"bbbb", 1), "is a damaged gzip file"),
    ],
)
def test_a_file_without_content_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    error = refused(tmp_path, data)
    assert error.pointer == "/file"
    assert said in error.detail


def test_a_gzip_bomb_is_refused(tmp_path: Path) -> None:
    bomb = gzipped(b"a,y\n" + b"1,0\n" * (20 << 20))
    with pytest.raises(TooLarge, match="inflates to more than"):
        read(tmp_path, bomb)


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


@pytest.mark.parametrize("text", ["1", "-1.5", "+.5", "2.", "1e5", "1E-05", "007"])
def test_strict_numbers(text: str) -> None:
    assert is_number(text)


@pytest.mark.parametrize("text", ["", ".", "1_0", "0x10", "1e", "nan", "1 2", "٣", "--1", "1d5"])
def test_not_strict_numbers(text: str) -> None:
    assert not is_number(text)


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


@settings(max_examples=120, deadline=None)
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


def test_repeated_names_get_numbers(tmp_path: Path) -> None:
    found = read(tmp_path, "x,x,x.2,,x,y\n1,2,3,4,5,p\n2,3,4,5,6,q\n")
    assert [c["name"] for c in found.info["columns"]] == ["x", "x.3", "x.2", "column_4", "x.4"]
    assert 'names that are there already have a number: "x.3", "x.4"' in found.info["warnings"]


def test_lines_of_blanks_are_no_rows(tmp_path: Path) -> None:
    found = read(tmp_path, "a,b,y\n1,2,p\n  \n\n3,4,q\n,,\n \n")
    np.testing.assert_array_equal(found.x, [[1, 2], [3, 4]])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_of_comments_before_a_table_are_no_rows(tmp_path: Path, end: str) -> None:
    text = end.join(["# made by me, in May", "#", "a,b,y", "1,2,p", "3,x,q", ""])
    found = read(tmp_path / "comments", text)
    assert [c["name"] for c in found.info["columns"]] == ["a", "b"]
    assert refused(tmp_path / "number", text, columns={"b": {"kind": "numeric"}}).row == 5
    header = read(tmp_path / "header", "# by me\n#id;b;y\n1;2;p\n3;4;q\n")
    assert [c["name"] for c in header.info["columns"]] == ["#id", "b"]
    data = read(tmp_path / "data", "#f00,1,p\n#0f0,2,q\nred,3,p\n")
    assert data.info["n_rows"] == 3


def test_amounts_and_shares_are_categories_where_they_are_meant_so(tmp_path: Path) -> None:
    text = "off,y\n10%,1.5\n20%,2.5\n10%,3.5\n"
    found = read(tmp_path / "said", text, columns={"off": {"kind": "categorical"}})
    assert found.column("off")["categories"] == ["10%", "20%"]
    found = read(tmp_path / "mixed", text.replace("20%", "none"))
    assert found.column("off")["categories"] == ["10%", "none"]


def test_utf_16_without_its_mark_is_told_from_other_text(tmp_path: Path) -> None:
    said = "looks like UTF-16 without its mark; save it in UTF-8"
    assert refused(tmp_path / "big", WORDS.encode("utf-16-be")).detail == said
    assert refused(tmp_path / "little", WORDS.encode("utf-16-le")).detail == f'{said}, or send "encoding": "utf-16"'
