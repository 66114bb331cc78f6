"""Training on a stored data set of 200 MB holds one prepared copy of it, whatever columns are no inputs."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nets.member import Member
from nets.parts import parts_of
from nets.prepare import prepare
from nets.resolve import resolve
from nets.spec import TrainingSpec
from nets.table import Column, Table, TableInfo
from tests.nets.support import blobs, member_for, run

ROWS, COLUMNS = 100_000, 256
MIB = 1 << 20
ROOM = 24 * MIB
"""Blocks of rows on the way, a column that is measured, orders of rows, the net."""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stored") / "x.npy"
    x = np.lib.format.open_memmap(path, "w+", np.float64, (ROWS, COLUMNS))
    x[:1000] = np.random.default_rng(0).standard_normal((1000, COLUMNS))
    x[:, 0] = np.arange(ROWS) % 3
    x.flush()
    return path


@pytest.fixture
def traced() -> Iterator[None]:
    """The memory that NumPy and Python take; compiled code is there before."""
    run(member_for(blobs(), net={"hidden": [4]}, training={"epochs": 1}))
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    "asked",
    [{}, {"split": {"column": "c0", "validation": [2]}}, {"sample_weight": "c0"}],
    ids=["all columns", "split column", "weights"],
)
def test_a_stored_set_is_trained_on_with_one_prepared_copy(stored: Path, asked: dict[str, object]) -> None:
    columns = tuple(Column(f"c{j}") for j in range(COLUMNS))
    x = np.load(stored, mmap_mode="r")
    table = Table(TableInfo(ROWS, columns, "classification", ("a", "b")), x, np.arange(ROWS) % 2)
    before = tracemalloc.get_traced_memory()[0]
    training = {"epochs": 1, "batch_size": 4096, **asked}
    parts = parts_of(table, TrainingSpec.parse({"training": training}).training)
    spec = resolve(TrainingSpec.parse({"net": {"hidden": [4]}, "training": training}), table.info, parts.sizes())
    data = prepare(table, spec, parts=parts)
    run(Member(spec, data))
    prepared = data.x_train.nbytes + data.x_val.nbytes
    assert prepared > 97 * MIB
    assert tracemalloc.get_traced_memory()[1] - before < prepared + ROOM
