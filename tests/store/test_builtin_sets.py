"""Built-in sets: what is described is what is made, the same for everyone, whoever makes it first."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from redis import Redis

from mlpq.embedded import EmbeddedServer
from store import builtin
from store.datasets import DatasetStore

SHAPES = {
    "digits": (1797, 64, 10),
    "iris": (150, 4, 3),
    "wine": (178, 13, 3),
    "breast_cancer": (569, 30, 2),
    "diabetes": (442, 10, None),
    "spiral": (300, 2, 3),
    "moons": (400, 2, 2),
    "circles": (400, 2, 2),
    "blobs": (400, 2, 4),
    "xor": (400, 2, 2),
}


@pytest.fixture
def store(redis: Redis, data_dir: Path) -> DatasetStore:
    return DatasetStore(redis, data_dir)


@pytest.mark.parametrize("dataset_id", builtin.BUILTINS)
def test_the_description_is_what_the_cells_are(tmp_path: Path, dataset_id: str) -> None:
    """If this fails after an intended change: python -m store.builtin."""
    made = json.loads(json.dumps(builtin.write_cells(dataset_id, tmp_path)))
    assert made == builtin.descriptions()[dataset_id]


@pytest.mark.parametrize("dataset_id", builtin.BUILTINS)
def test_cells_are_loaded_in_the_shape_described(store: DatasetStore, dataset_id: str) -> None:
    info, x, y = store.load(dataset_id)
    n_rows, n_features, n_classes = SHAPES[dataset_id]
    assert x.shape == (n_rows, n_features) == (info["n_rows"], info["n_features"])
    assert y.shape == (n_rows,)
    assert info["n_classes"] == n_classes
    assert len(info["columns"]) == n_features
    assert bool(np.isfinite(x).all())
    assert info["standardize"] is (dataset_id != "digits")
    if n_classes is None:
        assert (info["task"], y.dtype) == ("regression", np.float64)
    else:
        assert (info["task"], y.dtype) == ("classification", np.int64)
        assert sorted(set(y.tolist())) == list(range(n_classes))
        assert len(info["classes"]) == n_classes


def test_classics_are_scikit_learns(store: DatasetStore) -> None:
    import sklearn.datasets

    for name in ("iris", "wine", "breast_cancer", "diabetes", "digits"):
        info, x, y = store.load(name)
        theirs = getattr(sklearn.datasets, f"load_{name}")()
        np.testing.assert_array_equal(x, theirs.data / 16 if name == "digits" else theirs.data)
        np.testing.assert_array_equal(y, theirs.target)
        assert [column["name"] for column in info["columns"]] == list(theirs.feature_names)
        if name != "diabetes":
            assert info["classes"] == [str(label) for label in theirs.target_names]


def test_digits_are_images_in_the_unit_interval(store: DatasetStore) -> None:
    info, x, _ = store.load("digits")
    assert info["image"] == {"height": 8, "width": 8, "channels": 1}
    assert x.dtype == np.float32
    assert (float(x.min()), float(x.max())) == (0.0, 1.0)


def test_records_exist_before_any_use_and_without_scikit_learn(valkey: EmbeddedServer, data_dir: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from store.connection import connect; from store.datasets import DatasetStore\n"
        "store = DatasetStore(connect(sys.argv[1]), Path(sys.argv[2]))\n"
        "print(*[one.id for one in store.page(100).items if one.is_builtin]); assert 'sklearn' not in sys.modules\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, valkey.url, str(data_dir)], stdout=subprocess.PIPE, check=True, text=True
    )
    assert ran.stdout.split() == list(SHAPES)
    assert not (data_dir / "datasets").exists()


def test_processes_that_need_a_set_at_the_same_moment_get_the_same_one(valkey: EmbeddedServer, data_dir: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from store.connection import connect; from store.datasets import DatasetStore\n"
        "store = DatasetStore(connect(sys.argv[1]), Path(sys.argv[2]))\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "info, x, y = store.load('spiral'); print(x.sum(), y.sum())\n"
    )
    command = [sys.executable, "-c", code, valkey.url, str(data_dir)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    answers = set()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        answers.add(process.communicate()[0])
        assert process.returncode == 0
    assert len(answers) == 1
    [folder] = (data_dir / "datasets").iterdir()
    assert folder.name.startswith("spiral-")


def test_generated_sets_are_rounded_so_that_every_machine_makes_the_same(tmp_path: Path) -> None:
    for name in ("spiral", "moons", "circles", "blobs", "xor"):
        x = builtin.BUILTINS[name].make().x
        np.testing.assert_array_equal(x, np.round(x, 6))
