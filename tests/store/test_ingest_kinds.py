"""Kinds of columns, inferred and chosen, in every format that has columns."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.dates import seconds_of
from tests.store.file_writers import npy, parquet
from tests.store.ingest_parts import npz, read, refused

DAY = 86_400.0


def csv(header: str, *rows: str) -> str:
    return "\n".join([header, *rows]) + "\n"


@given(st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30), timezones=st.just(datetime.UTC)))
def test_every_moment_is_read_as_python_reads_it(moment: datetime.datetime) -> None:
    for text in (moment.isoformat(), moment.isoformat(" "), moment.isoformat().replace("+00:00", "Z")):
        assert seconds_of(text) == pytest.approx(moment.timestamp(), abs=1e-4)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-02", DAY),
        ("1970-01-01T01:00", 3600.0),
        ("1970-01-01 01:00:00.5+01:00", 0.5),
        ("1970-01-01T00:00-0130", 5400.0),
        ("1969-12-31", -DAY),
        ("1970-13-01", None),
        ("1970-02-30", None),
        ("1970-01-01T24:00", None),
        ("1970-01-01T00:60", None),
        ("02.01.1970", DAY),
        ("2.1.1970", DAY),
        ("02.01.1970 01:00", DAY + 3600.0),
        ("1970/01/02", DAY),
        ("1970/1/2T00:00Z", DAY),
        ("31.13.1970", None),
        ("1.2.3", None),
        ("01/02/1970", None),
        ("2-Jan-1970", DAY),
        ("January 2, 1970", DAY),
        ("2 Jan 1970 1:00 AM", DAY + 3600.0),
        ("Jan 2 1970, 12:30 am", DAY + 1800.0),
        ("1970-01-01 12:00 PM", DAY / 2),
        ("1970-01-01 13:00 PM", None),
        ("Jam 2, 1970", None),
        ("Marseille 2, 1970", None),
        ("1970-01/02", None),
        ("1970/01-02", None),
        ("1970-1-1", None),
        ("19700101", None),
        ("\u0661970-01-01", None),
        ("now", None),
    ],
)
def test_dates_are_read_where_they_can_be_no_others(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


def test_dates_are_found_and_missing_ones_stay_missing(tmp_path: Path) -> None:
    data = csv("when,y", "1970-01-02,a", ",b", "1970-01-01T12:00:00Z,a", "NA,b")
    found = read(tmp_path, data)
    np.testing.assert_array_equal(found.x[:, 0], [DAY, np.nan, DAY / 2, np.nan])
    column = found.column("when")
    assert (column["kind"], column["missing"], column["minimum"], column["maximum"]) == ("datetime", 2, DAY / 2, DAY)


@pytest.mark.parametrize("cells", [["1970-01-02", "soon"], ["soon", "1970-01-02"], ["5", "1970-01-02"]])
def test_dates_among_other_texts_are_categories(tmp_path: Path, cells: list[str]) -> None:
    rows = [f"{cells[n % 2]},{'ab'[n % 2]}" for n in range(6)]
    assert read(tmp_path, csv("when,y", *rows)).column("when")["categories"] == sorted(cells)


def test_dates_far_down_turn_a_column_into_text(tmp_path: Path) -> None:
    rows = [f"1970-01-{n % 28 + 1:02d},{'ab'[n % 2]}" for n in range(200_000)]
    found = read(tmp_path, csv("when,y", *rows, "later,a"))
    assert len(found.column("when")["categories"]) == 29
    assert not np.isnan(found.x).any()


def test_a_target_of_dates_is_classes(tmp_path: Path) -> None:
    assert read(tmp_path, csv("x,day", "1,1970-01-01", "2,1970-01-02")).info["classes"] == ["1970-01-01", "1970-01-02"]


def sources(**columns: list[Any]) -> list[tuple[bytes | str, str]]:
    """One table of numbers as every format holds it."""
    rows = zip(*columns.values(), strict=True)
    array = np.array(list(columns.values()), np.float64).T
    return [
        (csv(",".join(columns), *(",".join(map(str, row)) for row in rows)), "t.csv"),
        (parquet(**columns), "t.parquet"),
        (npy(array), "t.npy"),
        (npz(X=array[:, :-1], y=array[:, -1]), "t.npz"),
    ]


@pytest.mark.parametrize("place", range(4))
def test_numbers_become_categories_booleans_and_dates_where_that_is_said(tmp_path: Path, place: int) -> None:
    data, filename = sources(x0=[7, 3, 7, 12], x1=[0, 1, 1, 0], x2=[5, 6, 7, 8], y=[0, 1, 0, 1])[place]
    kinds: dict[str, Any] = {"x0": {"kind": "categorical"}, "x1": {"kind": "boolean"}}
    target = "y" if filename != "t.npy" else "x3"
    found = read(tmp_path, data, filename, columns=kinds, target=target)
    assert [c["kind"] for c in found.info["columns"]] == ["categorical", "boolean", "numeric"]
    assert found.column("x0")["categories"] == ["12", "3", "7"]
    assert found.column("x1")["categories"] == ["0", "1"]
    np.testing.assert_array_equal(found.x, [[2, 0, 5], [1, 1, 6], [2, 1, 7], [0, 0, 8]])
    if filename != "t.csv":
        dated = read(tmp_path / "dated", data, filename, columns={"x2": {"kind": "datetime"}}, target=target)
        assert dated.column("x2")["kind"] == "datetime"


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_texts_become_numbers_and_dates_where_that_is_said(tmp_path: Path, form: str) -> None:
    number, when = ["1", "2.5", "", "4"], ["1970-01-02", "", "1970-01-01", "1970-01-03"]
    data = (
        csv("n,w,y", *(f"{n},{w},{y}" for n, w, y in zip(number, when, "abab", strict=True)))
        if form == "csv"
        else parquet(n=[n or None for n in number], w=[w or None for w in when], y=list("abab"))
    )
    kinds = {"n": {"kind": "numeric"}, "w": {"kind": "datetime"}}
    found = read(tmp_path, data, f"t.{form}", columns=kinds)
    assert [c["kind"] for c in found.info["columns"]] == ["numeric", "datetime"]
    np.testing.assert_array_equal(found.x, [[1, DAY], [2.5, np.nan], [np.nan, 0], [4, 2 * DAY]])


def test_parquet_dates_and_truth_values_have_their_kinds(tmp_path: Path) -> None:
    days = [datetime.date(1970, 1, 2), None, datetime.date(1970, 1, 1)]
    moments = pa.array([0, None, 1_500_000_000], pa.timestamp("ns", "Europe/Berlin"))
    found = read(tmp_path, parquet(d=days, m=moments, b=[True, None, True], y=[1.5, 2.5, 4.0]), "t.parquet")
    assert [c["kind"] for c in found.info["columns"]] == ["datetime", "datetime", "boolean"]
    np.testing.assert_array_equal(found.x, [[DAY, 0, 1], [np.nan] * 3, [0, 1.5, 1]])


CELLS = csv("a,b,y", "1,x,0", "2,y,1", "3,z,0", "4,x,1")


@pytest.mark.parametrize(
    ("columns", "pointer", "said"),
    [
        ([], "/options/columns", "must be an object such as"),
        ({"a": "numeric"}, "/options/columns/a", 'must be {"kind": …} with one of numeric, categorical'),
        ({"a": {"kind": "text"}}, "/options/columns/a", "must be"),
        ({"a": {"kind": "numeric", "scale": 2}}, "/options/columns/a", "must be"),
        ({"c/d": {"kind": "numeric"}}, "/options/columns/c~1d", 'is no feature; they are "a", "b"'),
        ({"y": {"kind": "numeric"}}, "/options/columns/y", "is the target; say with task what it is"),
        ({"b": {"kind": "numeric"}}, "/file/2/b", '"x" is not a number'),
        ({"b": {"kind": "datetime"}}, "/file/2/b", '"x" is no date-time; write it like 2026-01-31'),
        ({"a": {"kind": "boolean"}}, "/options/columns/a", 'is boolean, but the column holds "2"'),
    ],
)
def test_kinds_that_do_not_fit_are_refused(tmp_path: Path, columns: Any, pointer: str, said: str) -> None:
    error = refused(tmp_path, CELLS, columns=columns)
    assert error.pointer == pointer
    assert said in error.detail


def test_parquet_texts_that_do_not_fit_are_named_by_row(tmp_path: Path) -> None:
    data = parquet(b=["1", "2", "x"], y=[1.5, 2.5, 4.0])
    error = refused(tmp_path, data, "t.parquet", columns={"b": {"kind": "numeric"}})
    assert (error.row, error.column, error.detail) == (3, "b", 'row 3, column "b": "x" is not a number')


def test_a_chosen_column_is_no_identifier(tmp_path: Path) -> None:
    data = csv("id,n,y", *(f"id{n},{n},{'ab'[n % 2]}" for n in range(80)))
    assert [c["name"] for c in read(tmp_path / "auto", data).info["columns"]] == ["n"]
    found = read(tmp_path / "said", data, columns={"id": {"kind": "categorical"}})
    assert len(found.column("id")["categories"]) == 80


def test_the_record_tells_the_options_back_as_json(tmp_path: Path) -> None:
    from store.ingest.options import IngestOptions

    asked = {"columns": {"b": {"kind": "boolean"}, "a": {"kind": "categorical"}}}
    assert IngestOptions.from_json(asked).to_json() == asked
    assert IngestOptions.from_json(IngestOptions.from_json(asked).to_json()) == IngestOptions.from_json(asked)
