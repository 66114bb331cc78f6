"""Every explanation of every kind of net on every kind of column is JSON, whatever the weights: no warning, no NaN."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kernels.errors import InvalidInput
from nets.explain.registry import EXPLANATIONS
from nets.explain.subject import Subject
from nets.losses import LOSSES
from nets.member import Member
from nets.prepare import prepare
from nets.table import Column, Table, TableInfo
from nets.weights import Predictor
from tests.nets.support import blobs, line, spec_for


def mixed(task: str = "classification", rows: int = 40) -> Table:
    """Numbers with gaps, many categories, dates, a constant and an empty column."""
    rng = np.random.default_rng(0)
    columns = (
        Column("number", missing=1),
        Column("category", "categorical", tuple(map(str, range(80)))),
        Column("date", "datetime"),
        Column("constant"),
        Column("empty", missing=rows),
    )
    x = np.stack(
        [
            rng.normal(size=rows),
            rng.integers(0, 80, rows).astype(float),
            rng.uniform(0, 2e9, rows),
            np.full(rows, 7.0),
            np.full(rows, np.nan),
        ],
        axis=1,
    )
    x[3, 0] = np.nan
    classes = ("a", "b") if task == "classification" else ()
    y = np.arange(rows) % 2
    return Table(TableInfo(rows, columns, task, classes), x, y if classes else y.astype(float))


def plane(rows: int = 30) -> Table:
    """Two columns of which one is astronomically large."""
    table = blobs(features=2, rows=rows, classes=2)
    return replace(table, x=table.x * [1e140, 1e-140])


TABLES = {
    "two classes": blobs(features=2, classes=2),
    "one output": line(features=2),
    "mixed": mixed(),
    "mixed numbers": mixed("regression"),
    "large and small": plane(),
    "few rows": blobs(rows=4, classes=2, features=2),
    "equal targets": replace(line(features=1), y=np.full(120, 3.0)),
}
NETS: dict[str, dict[str, Any]] = {
    "linear": {"hidden": []},
    "deep": {"hidden": [3] * 6, "activation": "sigmoid"},
    "normalised": {"hidden": [4, 3], "batch_norm": True, "dropout": 0.5},
    "one unit": {"hidden": [1], "bias": False},
    "a formula": {"hidden": [3], "activation": {"name": "custom", "expression": "x * sigmoid(x)"}},
}
SCALES = {"at first": 1.0, "zero": 0.0, "overflowing": 1e30}


def subject_of(table: Table, scale: float, **spec: Any) -> Subject:
    resolved = spec_for(table, **spec)
    data = prepare(table, resolved)
    assert data.preprocessing is not None
    member = Member(resolved, data)
    flat = (member.initial_parameters() * np.float32(scale)).astype(member.dtype)
    predictor = Predictor(resolved, table.info, data.preprocessing, member.layout.named(flat))
    return Subject(predictor, table, predictor.scores)


def assert_all_explained(subject: Subject) -> None:
    known = subject.known
    for name, row in EXPLANATIONS.items():
        if row.missing(known) is None:
            asked = {option.name: option.default for option in row.options}
            if "metric" in asked:
                json.dumps(row.explain(subject, asked | {"metric": "loss"}), allow_nan=False)
            assert json.loads(json.dumps(row.explain(subject, asked), allow_nan=False)), name


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("table", TABLES)
def test_every_loss(table: str, scale: str, loss: str) -> None:
    if TABLES[table].info.task not in LOSSES[loss].tasks:
        with pytest.raises(InvalidInput, match="/loss"):
            spec_for(TABLES[table], loss=loss)
        return
    assert_all_explained(subject_of(TABLES[table], SCALES[scale], net={"hidden": [4]}, loss=loss))


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("table", ["mixed", "one output"])
def test_every_shape_of_net(table: str, scale: str, net: str) -> None:
    assert_all_explained(subject_of(TABLES[table], SCALES[scale], net=NETS[net]))
