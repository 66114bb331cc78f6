"""CSV: how text divides into rows and fields, whatever its encoding, and where it is broken."""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.errors import TooLarge
from store.ingest.csv_table import distinct_names, looks_like_header
from store.ingest.csv_text import TextFile, sniff_delimiter
from store.ingest.limits import MAX_COLUMNS, MAX_FIELD_CHARACTERS
from tests.store.file_writers import gzipped
from tests.store.ingest_parts import GOOD, LIMITS, read, refused, run_process


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_endings_are_found(tmp_path: Path, delimiter: str, ending: str) -> None:
    text = GOOD.replace(",", delimiter).replace("\n", ending)
    np.testing.assert_array_equal(read(tmp_path, text).x, [[1, 2.5], [-3, 400], [0.5, 6]])


DIVIDING = st.text(alphabet='a;,|\t"\n', max_size=5)


@settings(max_examples=100)
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


def test_rows_of_long_fields_are_not_held_all_at_once(tmp_path: Path) -> None:
    """63 MiB pass through a process that has 30 MiB to begin with."""
    text = b"a" * MAX_FIELD_CHARACTERS
    ran = run_process(tmp_path, [(b"n,text,y\n" + b"1,%s,p\n2,%s,q\n" % (text, text) * 500, "t.csv")], features=["n"])
    assert (ran.status, ran.error) == (0, {})
    assert ran.peak_mib < 64


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


def test_equal_names_of_very_many_columns_are_told_apart_at_once() -> None:
    """CPU time, which others do not share; trying every number from 2 on for each takes minutes."""
    before = time.process_time()
    names = distinct_names(["x"] * MAX_COLUMNS)
    assert (names[1], names[-1]) == ("x.2", f"x.{MAX_COLUMNS}")
    assert time.process_time() - before < 5.0


def test_header_can_be_said(tmp_path: Path) -> None:
    named = read(tmp_path / "named", "1,2\n5,0\n6,1\n", header=True)
    assert named.info["target"] == "2"
    unnamed = read(tmp_path / "unnamed", "a,p\nb,q\na,p\n", header=False)
    assert unnamed.info["n_rows"] == 3
    assert unnamed.info["target"] == "column_2"


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


def test_utf_16_without_its_mark_is_told_from_other_text(tmp_path: Path) -> None:
    said = "looks like UTF-16 without its mark; save it in UTF-8"
    assert refused(tmp_path / "big", WORDS.encode("utf-16-be")).detail == said
    assert refused(tmp_path / "little", WORDS.encode("utf-16-le")).detail == f'{said}, or send "encoding": "utf-16"'
