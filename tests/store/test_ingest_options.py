"""Options and formats: strict types, stable names, and what a target is."""

from __future__ import annotations

import gzip
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernels.errors import InvalidInput
from store.ingest.formats import FORMATS, detect
from store.ingest.options import IngestOptions, Source
from store.ingest.targets import target_of_numbers
from tests.store.ingest_parts import npz


@pytest.mark.parametrize(
    ("data", "pointer", "said"),
    [
        (
            {"hue": 1},
            "/options/hue",
            "is not an option; known are columns, dates, decimal, delimiter, encoding, features",
        ),
        ({"Targt": "y"}, "/options/Targt", 'is not an option; did you mean "target"?'),
        ({"name": 5}, "/options/name", "is 5; must be a string"),
        ({"name": "a\nb"}, "/options/name", "control characters, line breaks and bidirectional marks"),
        ({"name": "../x"}, "/options/name", "must not contain ../"),
        ({"name": "x" * 201}, "/options/name", "has 201 characters; must be 1..200"),
        ({"name": "\ud800"}, "/options/name", "control characters"),
        ({"task": "clustering"}, "/options/task", 'is "clustering"; must be one of auto, classification, regression'),
        ({"missing": "ignore"}, "/options/missing", 'is "ignore"; must be one of error, impute, drop'),
        ({"standardize": 1}, "/options/standardize", "is 1; must be true or false"),
        ({"header": "yes"}, "/options/header", "must be true or false"),
        ({"features": "a"}, "/options/features", "must be a list of column names"),
        ({"features": []}, "/options/features", "has 0 names; must be 1..65536"),
        ({"features": ["a", "b", "a"]}, "/options/features", 'names "a" more than once'),
        ({"part": "validation"}, "/options/part", "must be one of train, test"),
        ({"delimiter": "::"}, "/options/delimiter", "must be one ASCII character"),
        ({"delimiter": '"'}, "/options/delimiter", "must be one ASCII character"),
    ],
)
def test_wrong_options_are_refused_by_pointer(data: dict[str, Any], pointer: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        IngestOptions.from_json(data)
    [error] = caught.value.errors
    assert error.pointer == pointer
    assert said in error.detail


def test_all_wrong_options_are_named_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        IngestOptions.from_json({"task": 1, "missing": 2, "x": 3})
    assert {e.pointer for e in caught.value.errors} == {"/options/task", "/options/missing", "/options/x"}


def test_of_very_many_unknown_options_the_first_are_named_soon() -> None:
    began = time.monotonic()
    with pytest.raises(InvalidInput) as caught:
        IngestOptions.from_json({f"targe{number}": 1 for number in range(50_000)})
    assert len(caught.value.errors) == 10
    assert time.monotonic() - began < 1


def test_null_and_default_options_are_the_same() -> None:
    assert IngestOptions.from_json({"name": None, "task": "auto"}) == IngestOptions()
    assert IngestOptions().to_json() == {}
    full = {"features": ["a"], "missing": "drop", "name": "n", "standardize": False, "task": "regression"}
    assert IngestOptions.from_json(full).to_json() == full


@pytest.mark.parametrize(
    ("content", "filename", "expected"),
    [
        (b"a,b\n", "table.csv", "csv"),
        (b"a,b\n", "TABLE.TSV", "csv"),
        (b"a,b\n", "no-ending", "csv"),
        (npz(X=np.zeros(1)), "arrays.npz", "npz"),
        (npz(X=np.zeros(1)), "named-wrongly.csv", "npz"),
        (b"\x93NUMPY\x01\x00", "no-ending", "npy"),
        (b"PAR1\x15\x04", "no-ending", "parquet"),
        (b"PAR1,b\n", "table.csv", "csv"),
        (gzip.compress(bytes(257) + b"ustar", mtime=0), "cifar-10-binary.tar.gz", "cifar10"),
        (b"anything", "data_batch_1.bin", "cifar10"),
    ],
)
def test_formats_are_recognised_by_content_then_name(
    tmp_path: Path, content: bytes, filename: str, expected: str
) -> None:
    path = tmp_path / "upload"
    path.write_bytes(content)
    assert detect([Source(path, filename)], IngestOptions()) is FORMATS[expected]


@pytest.mark.parametrize(
    ("content", "filename", "options", "said"),
    [
        (b"\x00\x01\x02", "photo.png", {}, '"photo.png" is of no known format; name one in format: csv, npz, npy'),
        (b"a,b\n", "arrays.npz", {}, '"arrays.npz" does not begin like a file of format npz'),
        (b"a,b\n", "a.csv", {"format": "xlsx"}, 'is "xlsx"; must be one of csv, npz, npy'),
    ],
)
def test_unknown_formats_are_refused(
    tmp_path: Path, content: bytes, filename: str, options: dict[str, Any], said: str
) -> None:
    path = tmp_path / "upload"
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        detect([Source(path, filename)], IngestOptions.from_json(options))
    assert said in str(caught.value)


def test_the_number_of_files_must_be_the_formats(tmp_path: Path) -> None:
    source = Source(tmp_path / "upload", "a.csv")
    source.path.write_bytes(b"a,b\n")
    with pytest.raises(InvalidInput, match="came with 2 files; csv takes 1"):
        detect([source, source], IngestOptions())
    with pytest.raises(InvalidInput, match="is missing"):
        detect([], IngestOptions())


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ([0, 1, 1, 0], "classification"),
        ([4, 9], "classification"),
        ([0, 1, 2] * 3, "classification"),
        ([1, 2, 3, 4], "regression"),
        ([0.5, 1, 1, 0], "regression"),
        (list(range(101)) * 3, "regression"),
        (list(range(100)) * 3, "classification"),
    ],
)
def test_the_task_is_inferred_by_the_documented_rule(values: list[float], task: str) -> None:
    assert target_of_numbers("y", np.array(values, np.float64), "auto").task == task


def test_a_guess_between_labels_and_quantities_is_told() -> None:
    target = target_of_numbers("quality", np.array([3.0, 4, 5] * 5), "auto")
    [warning] = target.warnings
    assert warning.startswith('the target "quality" has 3 different whole numbers and is taken for classes')
    assert target_of_numbers("y", np.array([2.0, 2, 2]), "regression").warnings == (
        'the target "y" has the same value in every row',
    )
    assert target_of_numbers("y", np.array([1.0, 1, 2]), "auto").warnings == (
        '1 of 2 classes have one row only, such as "2"',
    )
