"""Rows that came apart to test: their number on record, so that a job can keep them apart, and a word about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def with_parts(info: dict[str, Any], n_test: int, warnings: Sequence[str] = ()) -> dict[str, Any]:
    """The content of `info.json` where the last `n_test` rows came to test; with further warnings."""
    said, n_train = [*info["warnings"], *warnings], info["n_rows"] - n_test
    if not (n_test and n_train):
        return info | {"warnings": said}
    apart = '{"column": "part", "test": ["test"]}'
    said.append(f"the last {n_test} of {info['n_rows']} rows are test rows: training.split {apart} tests on them")
    return info | {"parts": [["train", n_train], ["test", n_test]], "warnings": said}
