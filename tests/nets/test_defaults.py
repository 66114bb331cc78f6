"""With nothing but a data set given, training gives a good net: the figures that `nets/resolve.py` quotes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import datasets

from nets.table import Table
from nets.trainer import Ending
from tests.nets.support import member_for, run


def classic(name: str) -> Table:
    loaded = getattr(datasets, f"load_{name}")()
    if name == "diabetes":
        return Table.from_arrays(loaded.data, loaded.target, "regression")
    return Table.from_arrays(loaded.data / (16 if name == "digits" else 1), loaded.target, standardize=name != "digits")


def spiral() -> Table:
    rng = np.random.RandomState(231)
    arm, along = np.repeat(np.arange(3), 100), np.tile(np.linspace(0, 1, 100), 3)
    angle = 4 * (arm + along) + 0.2 * rng.standard_normal(300)
    return Table.from_arrays(np.stack([along * np.sin(angle), along * np.cos(angle)], 1), arm)


def moons() -> Table:
    x, y = datasets.make_moons(400, noise=0.12, random_state=0)
    return Table.from_arrays(x, y)


TABLES = {name: (lambda name=name: classic(name)) for name in ("digits", "iris", "wine", "breast_cancer", "diabetes")}
TABLES |= {"spiral": spiral, "moons": moons}


@pytest.mark.parametrize(
    ("name", "lowest", "mean"),
    [
        ("digits", 0.96, 0.97),
        ("iris", 0.9, 0.93),
        ("wine", 0.9, 0.95),
        ("breast_cancer", 0.94, 0.95),
        ("diabetes", 0.25, 0.4),
        ("spiral", 0.93, 0.95),
        ("moons", 0.95, 0.97),
    ],
)
def test_defaults_give_a_good_net(name, lowest, mean):
    table = TABLES[name]()
    recorder = run(*(member_for(table, training={"seed": seed}) for seed in range(4)), threads=1)
    assert {outcome.kind for outcome in recorder.outcomes.values()} == {Ending.COMPLETED}
    key = "val_r2" if name == "diabetes" else "val_accuracy"
    scores = [outcome.metrics[key] for outcome in recorder.outcomes.values()]
    assert min(scores) >= lowest, scores
    assert np.mean(scores) >= mean, scores
