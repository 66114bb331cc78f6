"""The built-in data sets: four classics from scikit-learn, its digits, and five 2-D generators.

Their descriptions lie in `builtin.json`, so listing them imports nothing; their cells are made when first used.
`python -m store.builtin` writes the descriptions anew after a change here; a test holds them against the cells.

Generated points are rounded to 6 decimals, so that machines whose sine differs in the last bit make equal files.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from store.ingest.arrays import NpyWriter
from store.ingest.columns import Statistics
from store.ingest.tables import describe
from store.ingest.targets import Target

Array = npt.NDArray[Any]

_DESCRIPTIONS = Path(__file__).with_name("builtin.json")
_SEED = 231
_DECIMALS = 6


@dataclass(frozen=True)
class Cells:
    """The content of a built-in set: x (n_rows, n_features), y (n_rows,), and the names of both."""

    x: Array
    y: Array
    columns: Sequence[str]
    classes: Sequence[str]
    target: str = "class"
    image: dict[str, int] | None = None


@dataclass(frozen=True)
class BuiltinSet:
    """One built-in data set: its fixed id, one line for people, and how its cells are made."""

    id: str
    doc: str
    make: Callable[[], Cells]


def _from_sklearn(name: str) -> Cells:
    import sklearn.datasets

    loaded = getattr(sklearn.datasets, f"load_{name}")()
    classes = [str(label) for label in getattr(loaded, "target_names", ())]
    if not classes:
        return Cells(loaded.data, loaded.target.astype(np.float64), list(loaded.feature_names), (), "progression")
    image = None
    x = loaded.data
    if name == "digits":  # 8x8 pixels of 0..16
        x = (x / 16).astype(np.float32)
        image = {"height": 8, "width": 8, "channels": 1}
    columns = [str(column) for column in loaded.feature_names]
    return Cells(x, loaded.target.astype(np.int64), columns, classes, image=image)


def _plane(x: Array, y: Array, classes: Sequence[str]) -> Cells:
    return Cells(np.round(x, _DECIMALS) + 0.0, y.astype(np.int64), ("x1", "x2"), classes)


def _normal(shape: tuple[int, ...]) -> Array:
    # The legacy generator's stream is frozen for ever; the new one's may change with NumPy.
    return np.random.RandomState(_SEED).standard_normal(shape)


def _polar(radius: Array, angle: Array) -> Array:
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)


def _spiral() -> Cells:
    per_arm = 100
    y = np.repeat(np.arange(3), per_arm)
    along = np.tile(np.linspace(0.0, 1.0, per_arm), 3)
    angle = 4.0 * (y + along) + 0.2 * _normal((3 * per_arm,))
    return _plane(_polar(along, angle), y, ("arm 1", "arm 2", "arm 3"))


def _moons() -> Cells:
    half = 200
    angle = np.linspace(0.0, np.pi, half)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.stack([1.0 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    x = np.concatenate([upper, lower]) + 0.12 * _normal((2 * half, 2))
    return _plane(x, np.repeat([0, 1], half), ("upper", "lower"))


def _circles() -> Cells:
    half = 200
    angle = np.tile(np.linspace(0.0, 2.0 * np.pi, half, endpoint=False), 2)
    y = np.repeat([0, 1], half)
    x = _polar(np.where(y == 0, 1.0, 0.5), angle) + 0.08 * _normal((2 * half, 2))
    return _plane(x, y, ("outer", "inner"))


def _blobs() -> Cells:
    per_blob = 100
    centres = np.array([[-2.0, -2.0], [2.0, -2.0], [-2.0, 2.0], [2.0, 2.0]])
    y = np.repeat(np.arange(4), per_blob)
    x = centres[y] + 0.7 * _normal((4 * per_blob, 2))
    return _plane(x, y, ("blob 1", "blob 2", "blob 3", "blob 4"))


def _xor() -> Cells:
    x = np.random.RandomState(_SEED).uniform(-1.0, 1.0, (400, 2))
    return _plane(x, (x[:, 0] > 0) != (x[:, 1] > 0), ("same sign", "other sign"))


BUILTINS: Mapping[str, BuiltinSet] = MappingProxyType(
    {
        row.id: row
        for row in (
            BuiltinSet("digits", "1 797 handwritten digits, 8x8 pixels", lambda: _from_sklearn("digits")),
            BuiltinSet("iris", "150 irises of three species, four lengths", lambda: _from_sklearn("iris")),
            BuiltinSet("wine", "178 wines of three growers, 13 measures", lambda: _from_sklearn("wine")),
            BuiltinSet("breast_cancer", "569 tumours, 30 measures", lambda: _from_sklearn("breast_cancer")),
            BuiltinSet("diabetes", "442 patients, progression after a year", lambda: _from_sklearn("diabetes")),
            BuiltinSet("spiral", "three arms wound around the origin", _spiral),
            BuiltinSet("moons", "two half circles that reach into each other", _moons),
            BuiltinSet("circles", "a circle within a circle", _circles),
            BuiltinSet("blobs", "four round clouds", _blobs),
            BuiltinSet("xor", "classes by the signs of two numbers", _xor),
        )
    }
)
"""Every built-in data set by id, in the order in which they are listed."""


@cache
def descriptions() -> Mapping[str, dict[str, Any]]:
    """The records of all built-in sets by id, without making them; treat them as constants."""
    loaded: dict[str, dict[str, Any]] = json.loads(_DESCRIPTIONS.read_bytes())
    return MappingProxyType(loaded)


def write_cells(dataset_id: str, folder: Path) -> dict[str, Any]:
    """Write `x.npy` and `y.npy` of a built-in set into `folder`; return its record."""
    builtin = BUILTINS[dataset_id]
    cells = builtin.make()
    statistics = Statistics([None] * len(cells.columns))
    statistics.add(cells.x.astype(np.float64))
    task = "classification" if cells.classes else "regression"
    with NpyWriter(folder / "x.npy", cells.x.dtype, cells.x.shape[1:]) as x:
        x.append(cells.x)
    with NpyWriter(folder / "y.npy", cells.y.dtype, ()) as y:
        y.append(cells.y)
    info = describe(
        columns=[statistics.column(index, name) for index, name in enumerate(cells.columns)],
        target=Target(task, tuple(cells.classes), cells.y),
        target_name=cells.target,
        standardize=cells.image is None,
        warnings=(),
        image=cells.image,
    )
    content = (folder / "x.npy").read_bytes() + (folder / "y.npy").read_bytes()
    return {
        "id": dataset_id,
        "name": dataset_id,
        "description": builtin.doc,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "format": "builtin",
        **info,
    }


def main() -> None:
    """Write `builtin.json` anew."""
    records = {}
    for dataset_id in BUILTINS:
        with tempfile.TemporaryDirectory() as folder:
            records[dataset_id] = write_cells(dataset_id, Path(folder))
    _DESCRIPTIONS.write_text(json.dumps(records, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    sys.stdout.write(f"wrote {len(records)} descriptions to {_DESCRIPTIONS}\n")


if __name__ == "__main__":
    main()
