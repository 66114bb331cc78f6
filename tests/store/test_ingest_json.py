"""JSON and Feather: what their columns become, as those of CSV and Parquet do."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather

from kernels.dates import seconds_of
from kernels.errors import TooLarge
from tests.store.ingest_parts import read, refused, run_process

ROWS: list[dict[str, Any]] = [
    {"size": 1.5, "town": "Köln", "new": True, "when": "31/01/2026", "tags": ["a"], "kind": "big"},
    {"town": None, "size": -2, "new": False, "when": "01/02/2026", "kind": "small"},
    {"size": 1e-3, "town": "Oslo\nNord", "new": None, "when": None, "extra": "7", "kind": "big"},
]


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (lines(ROWS), "t.jsonl"),
        (json.dumps(ROWS), "t.json"),
        (json.dumps(ROWS, indent=2), "t.json"),
        ("\ufeff" + lines(ROWS).replace("\n", "\r\n"), "t.ndjson"),
        (gzip.compress(lines(ROWS).encode()), "t.jsonl.gz"),
    ],
)
def test_keys_are_columns_and_values_are_cells(tmp_path: Path, content: str | bytes, name: str) -> None:
    found = read(tmp_path, content, name, target="kind")
    kinds = {column["name"]: column["kind"] for column in found.info["columns"]}
    assert kinds == {
        "size": "numeric", "town": "categorical", "new": "boolean", "when": "datetime", "extra": "numeric"
    }  # fmt: skip
    np.testing.assert_array_equal(found.x[:, 0], [1.5, -2, 1e-3])
    assert found.column("town")["categories"] == ["Köln", "Oslo\nNord"]
    np.testing.assert_array_equal(found.x[:, 3], [seconds_of("2026-01-31"), seconds_of("2026-02-01"), np.nan])
    np.testing.assert_array_equal(found.x[:, 4], [np.nan, np.nan, 7])
    assert 'column "tags" is left out: it holds lists or objects' in found.info["warnings"]


def test_rows_longer_than_a_piece_are_read(tmp_path: Path) -> None:
    rows = [{"a": n, "text": "ab"[n % 2] * 60_000, "y": "uv"[n % 2]} for n in range(60)]
    found = read(tmp_path, lines(rows), "long.jsonl", features=["a"])
    np.testing.assert_array_equal(found.x[:, 0], np.arange(60))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"a": 1, "y": 2}\n{"a": 1, "y": }\n', "row 2: is no JSON: Expecting value"),
        ('[{"a": 1, "y": 2}, [1, 2]]', 'row 2: begins with "[1, 2]]"; must be an object'),
        ('{"a": NaN, "y": 2}', "row 1: is no JSON"),
        ('{"a": ' + "[" * 100_000, "row 1: is no JSON"),
        ('{"a": ' + "9" * 5_000 + "}", "row 1: is no JSON"),
        ('{"a": 1, "y": [2]}', 'column "y" holds lists or objects; the target must be'),
        ('{"a\\u202e": 1, "y": 2}', "row 1: the name"),
        ("[]", "has no rows"),
        ('{"a": 1e999, "y": 1}', "row 1"),
        ('{"a": 1, "y": "\\ud800"}', 'row 1, column "y": the text holds half a character'),
        ('{"a": "%s", "y": 1}' % ("x" * 70_000), 'row 1, column "a": the text is longer than 65536 characters'),
    ],
)
def test_what_is_no_table_is_refused_with_its_row(tmp_path: Path, content: str, said: str) -> None:
    assert said in refused(tmp_path, content, "t.json", target="y" if "y" in content else None).detail


def arrow(table: pa.Table, **how: Any) -> bytes:
    buffer = io.BytesIO()
    feather.write_feather(table, buffer, **how)
    return buffer.getvalue()


@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
def test_feather_is_read_as_parquet_is(tmp_path: Path, compression: str) -> None:
    table = pa.table(
        {
            "kind": ["big", "small", "big"],
            "town": pa.array(["Köln", None, "Oslo"]).dictionary_encode(),
            "size": [1.5, None, 2.5],
            "tags": [["a"], [], None],
            "when": pa.array([0, 86_400, None], pa.timestamp("s")),
        }
    )
    found = read(tmp_path, arrow(table, compression=compression, chunksize=2), "t.feather", target="kind")
    assert [(c["name"], c["kind"]) for c in found.info["columns"]] == [
        ("town", "categorical"),
        ("size", "numeric"),
        ("when", "datetime"),
    ]
    np.testing.assert_array_equal(found.x, [[0, 1.5, 0], [np.nan, np.nan, 86_400], [1, 2.5, np.nan]])
    assert found.info["classes"] == ["big", "small"]
    assert any('"tags" is left out' in said for said in found.info["warnings"])


def test_feather_that_grows_out_of_bounds_or_is_damaged_is_refused(tmp_path: Path) -> None:
    zeros = pa.table({"a": np.zeros(1 << 26, np.int8), "y": np.zeros(1 << 26, np.int8)})
    with pytest.raises((TooLarge, MemoryError)):
        read(tmp_path / "bomb", arrow(zeros, compression="zstd"), "t.feather")
    folder = tmp_path / "one batch"
    folder.mkdir()
    ran = run_process(folder, [(arrow(zeros, compression="zstd", chunksize=1 << 26), "t.feather")])
    assert (ran.status, ran.error["code"]) == (1, "too_large")
    assert ran.peak_mib < 400
    whole = arrow(pa.table({"a": [1.5, 2.5], "y": ["u", "v"]}))
    assert "is a damaged or unsupported Feather file" in refused(tmp_path, whole[:-30], "t.feather").detail
