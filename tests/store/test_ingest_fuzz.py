"""Broken and hostile bytes: every file is read or refused with one of our errors, nothing else comes out."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.errors import InvalidInput, TooLarge
from tests.store.file_writers import batch, idx, npy, tar
from tests.store.ingest_parts import Read, npz, read_files

TABLE = b'a,b,"c d",y\n1,2.5,x,p\n-3,,"y ""z""",q\n4,1e3,x,p\n0,1,y,q\n'
ARRAYS = npz(X=np.arange(24.0).reshape(6, 4), y=np.array([0, 1, 0, 1, 0, 1]))
IMAGES = npz(X=np.arange(96, dtype=np.uint8).reshape(6, 4, 4), y=np.array(["a", "b"] * 3))


def read_or_refused(data: bytes, filename: str, *more: tuple[bytes, str], **options: Any) -> Read | None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = read_files(Path(folder), [(data, filename), *more], **options)
        except (InvalidInput, TooLarge) as error:
            message = str(error)
            message.encode("utf-8")
            assert 0 < len(message) < 20_000
            return None
    json.dumps(found.info, allow_nan=False).encode("utf-8")
    assert found.x.shape == (found.info["n_rows"], len(found.info["columns"]))
    assert found.y.shape == (found.info["n_rows"],)
    assert not np.isinf(found.x).any()
    for index, column in enumerate(found.info["columns"]):
        values = found.x[:, index]
        assert int(np.isnan(values).sum()) == column["missing"]
        if column["categories"]:
            assert np.nanmax(values) <= len(column["categories"])
    return found


EDITS = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 6), st.binary(max_size=6)),
    min_size=1,
    max_size=4,
)


def edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """Replace, cut and insert a few bytes."""
    for place, cut, new in edits:
        at = place % (len(data) + 1)
        data = data[:at] + new + data[at + cut :]
    return data


@settings(max_examples=300)
@given(edits=EDITS)
def test_damaged_tables_are_read_or_refused(edits: list[tuple[int, int, bytes]]) -> None:
    read_or_refused(edited(TABLE, edits), "a.csv")


@settings(max_examples=100)
@given(edits=EDITS)
def test_damaged_gzip_files_are_read_or_refused(edits: list[tuple[int, int, bytes]]) -> None:
    read_or_refused(edited(gzip.compress(TABLE), edits), "a.csv.gz")


@settings(max_examples=300)
@given(data=st.sampled_from([ARRAYS, IMAGES]), edits=EDITS)
def test_damaged_archives_are_read_or_refused(data: bytes, edits: list[tuple[int, int, bytes]]) -> None:
    read_or_refused(edited(data, edits), "a.npz")


PIXELS = np.arange(48, dtype=np.uint8).reshape(6, 4, 2)
LABELS = (idx(np.array([0, 1] * 3, np.uint8)), "labels")
BATCH = batch(np.zeros((4, 32, 32, 3), np.uint8), np.array([0, 1, 0, 1]))
CIFAR = gzip.decompress(tar(data_batch_1__bin=BATCH, batches__meta__txt=b"a\nb\n"))


@settings(max_examples=200)
@given(edits=EDITS, zipped=st.booleans())
def test_damaged_idx_pairs_are_read_or_refused(edits: list[tuple[int, int, bytes]], zipped: bool) -> None:
    data = edited(gzip.compress(idx(PIXELS)), edits) if zipped else edited(idx(PIXELS), edits)
    read_or_refused(data, "images", LABELS, format="idx")


@settings(max_examples=200)
@given(edits=EDITS)
def test_damaged_npy_files_are_read_or_refused(edits: list[tuple[int, int, bytes]]) -> None:
    read_or_refused(edited(npy(np.arange(20.0).reshape(5, 4)), edits), "t.npy", format="npy")


@settings(max_examples=150)
@given(edits=EDITS, zipped=st.booleans())
def test_damaged_cifar_archives_are_read_or_refused(edits: list[tuple[int, int, bytes]], zipped: bool) -> None:
    data = edited(gzip.compress(CIFAR), edits) if zipped else edited(CIFAR, edits)
    read_or_refused(data, "c.tar", format="cifar10")


@settings(max_examples=200)
@given(data=st.binary(max_size=1100), form=st.sampled_from(["npy", "npz", "parquet", "cifar10", "csv"]))
def test_any_bytes_said_to_be_of_a_format_are_read_or_refused(data: bytes, form: str) -> None:
    read_or_refused(data, "upload", format=form)


@settings(max_examples=200)
@given(text=st.text(st.sampled_from('ab01.,;\t|"\n\r -_+eénaNI?'), max_size=60))
def test_any_small_text_is_read_or_refused(text: str) -> None:
    read_or_refused(text.encode(), "a.csv")


@settings(max_examples=100)
@given(data=st.binary(max_size=80), filename=st.sampled_from(["a.csv", "a.npz", "a", "a.csv.gz"]))
def test_any_bytes_are_read_or_refused(data: bytes, filename: str) -> None:
    read_or_refused(data, filename)


def test_the_undamaged_files_are_read() -> None:
    for data, filename in ((TABLE, "a.csv"), (gzip.compress(TABLE), "a.csv.gz"), (ARRAYS, "a.npz"), (IMAGES, "a.npz")):
        assert read_or_refused(data, filename) is not None
    assert read_or_refused(idx(PIXELS), "images", LABELS) is not None
    assert read_or_refused(CIFAR, "c.tar") is not None
