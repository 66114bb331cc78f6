"""Parquet: every kind of column as it was written, nulls as missing; footers that lie are refused in little memory."""

from __future__ import annotations

import datetime
import decimal
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kernels.errors import InvalidInput, TooLarge
from store.ingest.limits import MAX_COLUMNS
from store.ingest.parquet import checked_names
from tests.store.file_writers import bomb, parquet, written
from tests.store.ingest_parts import LIMITS, read, refused, run_process

N = 12
Y = pa.array(["no", "yes"] * (N // 2))


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint64(), pa.int64(), pa.float16(), pa.float32(), pa.float64(), pa.decimal128(9, 2)]
)
def test_numbers_of_every_type_with_their_nulls(tmp_path: Path, kind: Any) -> None:
    values = [decimal.Decimal(n) if pa.types.is_decimal(kind) else n for n in range(N - 1)]
    numbers = np.float16(values) if kind == pa.float16() else values
    column = pa.array([*numbers, None], kind)
    found = read(tmp_path, parquet(a=column, y=Y), "t.parquet")
    np.testing.assert_array_equal(found.x[:, 0], [*range(N - 1), np.nan])
    assert found.column("a")["kind"] == "numeric"
    assert found.column("a")["missing"] == 1


def test_equal_names_among_very_many_are_found_at_once() -> None:
    """CPU time, which others do not share; comparing each name with all before it takes minutes."""
    names = [f"c{place}" for place in range(MAX_COLUMNS - 1)]
    before = time.process_time()
    with pytest.raises(InvalidInput, match=names[-1]):
        checked_names(SimpleNamespace(names=[*names, names[-1]]))
    assert time.process_time() - before < 5.0


@pytest.mark.parametrize("encode", [False, True])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_texts_and_dictionaries_are_categories(tmp_path: Path, encode: bool, kind: Any) -> None:
    texts = pa.array(["red", None, "blue", "red"] * (N // 4), kind)
    table = pa.table({"c": texts.dictionary_encode() if encode else texts, "y": Y.dictionary_encode() if encode else Y})
    found = read(tmp_path, written(table, row_group_size=5, use_dictionary=encode), "t.parquet")
    assert found.column("c")["categories"] == ["blue", "red"]
    np.testing.assert_array_equal(found.x[:, 0], [1, np.nan, 0, 1] * (N // 4))
    assert found.info["classes"] == ["no", "yes"]
    np.testing.assert_array_equal(found.y, [0, 1] * (N // 2))


def test_dictionaries_of_numbers_are_numbers(tmp_path: Path) -> None:
    column = pa.array([5, 9, 5, None] * (N // 4)).dictionary_encode()
    found = read(tmp_path, parquet(n=column, y=Y), "t.parquet")
    np.testing.assert_array_equal(found.x[:, 0], [5, 9, 5, np.nan] * (N // 4))


def test_columns_are_chosen_and_others_may_be_of_any_type(tmp_path: Path) -> None:
    table = {"a": np.arange(N) / 2, "deep": [[1, 2]] * N, "b": np.arange(N) % 3 == 0, "y": Y}
    every = read(tmp_path / "all", parquet(**table), "t.parquet")
    assert [column["name"] for column in every.info["columns"]] == ["a", "b"]
    assert any(said.startswith('column "deep" is left out: it has the type list') for said in every.info["warnings"])
    named = refused(tmp_path / "named", parquet(**table), "t.parquet", features=["a", "deep"])
    assert named.detail.startswith('column "deep" has the type list')
    found = read(tmp_path, parquet(**table), "t.parquet", features=["a"], target="b")
    assert found.info["classes"] == ["false", "true"]
    np.testing.assert_array_equal(found.x[:, 0], np.arange(N) / 2)


@pytest.mark.parametrize(
    ("column", "options", "said"),
    [
        ([1.0, float("nan"), None], {}, 'row 2, column "a": nan is not a finite number'),
        ([1.0, 2.0, None], {"missing": "error"}, 'row 3, column "a": the value is missing (null)'),
        (["u", None, "v"], {"missing": "error"}, 'row 2, column "a": the value is missing (null)'),
    ],
)
def test_cells_that_are_refused_are_named(tmp_path: Path, column: list[Any], options: Any, said: str) -> None:
    error = refused(tmp_path, parquet(a=column, y=[1.5, 2.5, 4.0]), "t.parquet", **options)
    assert (error.column, error.detail) == ("a", said)


def test_nan_is_missing_where_that_was_asked_for(tmp_path: Path) -> None:
    data = parquet(a=[1.0, float("nan"), None, 4.0], y=[1.5, 2.5, 4.0, 1.0])
    assert read(tmp_path / "impute", data, "t.parquet", missing="impute").column("a")["missing"] == 2
    assert len(read(tmp_path / "drop", data, "t.parquet", missing="drop").x) == 2


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (parquet(a=[1], y=["u"])[:-9], "is a damaged or unsupported Parquet file"),
        (b"PAR1\x15\x00PAR1", "is a damaged or unsupported Parquet file"),
        (parquet(a=np.arange(0), y=np.arange(0)), "has no rows; at least 1 is needed"),
        (parquet(a=np.arange(3)), "has 1 column; at least one feature and a target are needed"),
        (parquet(**{"a\nb": [1, 2], "y": [1, 2]}), "column 1: the name"),
        (written(pa.table([[1, 2], [3, 4]], names=["a", "a"])), 'has two columns named "a"'),
        (parquet(when=[datetime.time(3)] * 2, y=[1, 2]), 'has no feature that can be used: column "when" is left out'),
        (parquet(a=[1, 2], when=[datetime.time(3)] * 2), 'column "when" has the type time64[us]; must be numbers'),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, data: bytes, said: str) -> None:
    assert said in refused(tmp_path, data, "t.parquet").detail


def test_a_bomb_is_refused_by_its_footer(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="declares 50000000 rows of 2 columns"):
        read(tmp_path, bomb(lies=False), "t.parquet")


def test_a_bomb_whose_footer_lies_meets_the_limit(tmp_path: Path) -> None:
    ran = run_process(tmp_path, [(bomb(lies=True), "t.parquet")], LIMITS)
    assert ran.status == 1
    assert "could not be read within" in ran.error["detail"]
    assert ran.peak_mib < 400


def test_a_text_repeated_by_a_small_file_is_held_once(tmp_path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(np.zeros(60_000, np.int32), pa.array(["q" * 1_000_000]))
    ran = run_process(tmp_path, [(parquet(a=np.arange(60_000), s=texts, y=np.arange(60_000) % 2), "t.parquet")])
    assert "has a text of 1000000 characters" in ran.error["detail"]
    assert ran.peak_mib < 200


def test_many_rows_are_read_in_constant_memory(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).random(1_000_000)
    texts = pa.array(["a", "b", None, "d"] * 250_000)
    data = written(pa.table({"a": numbers, "b": numbers, "c": texts, "y": np.arange(1_000_000) % 2}))
    ran = run_process(tmp_path, [(data, "t.parquet")])
    assert (ran.status, ran.error) == (0, {})
    assert ran.peak_mib < 220


GOOD = parquet(a=[1.0, 2.0, None, 4.0], s=["u", "v", None, "u"], y=[0.5, 1.5, 2.5, 3.5])


def test_places_beyond_the_dictionary_are_refused(tmp_path: Path) -> None:
    """Every byte of the pages' data, not only those that a random run happens to change."""
    for value in (6, 255):
        for place in range(150, 230):
            data = GOOD[:place] + bytes([value]) + GOOD[place + 1 :]
            with suppress(InvalidInput, TooLarge, MemoryError):
                read(tmp_path / f"{place}-{value}", data, "t.parquet", format="parquet")


@settings(max_examples=150)
@example(place=179, value=6)
@given(place=st.integers(0, len(GOOD) - 1), value=st.integers(0, 255))
def test_any_changed_byte_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, place: int, value: int) -> None:
    data = GOOD[:place] + bytes([value]) + GOOD[place + 1 :]
    with suppress(InvalidInput, TooLarge, MemoryError):
        read(tmp_path_factory.mktemp("fuzz"), data, "t.parquet", format="parquet")
