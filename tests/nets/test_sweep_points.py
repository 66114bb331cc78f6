"""The points of a sweep: as many as were asked for, within their bounds, the same for the same plan."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nets.sweeps.objective import check_objective, direction_of, value_of
from nets.sweeps.plan import Plan
from nets.sweeps.points import PathError, points_of, uniform, with_point

PATHS = ["optimizer.learning_rate", "net.hidden", "net.dropout", "training.seed"]
numbers = st.floats(-1e6, 1e6)
bounds = st.tuples(numbers, numbers).filter(lambda pair: pair[0] < pair[1]).map(list)
positive = st.tuples(st.floats(1e-9, 1e6), st.floats(1e-9, 1e6)).filter(lambda pair: pair[0] < pair[1]).map(list)
wholes = st.tuples(st.integers(-(2**53) + 1, 2**53 - 1), st.integers(-(2**53) + 1, 2**53 - 1))
draws = st.one_of(
    bounds.map(lambda pair: {"uniform": pair}),
    positive.map(lambda pair: {"log_uniform": pair}),
    wholes.filter(lambda pair: pair[0] < pair[1]).map(lambda pair: {"int": list(pair)}),
    st.lists(st.integers(), min_size=1, max_size=5).map(lambda values: {"choice": values}),
)
spaces = st.dictionaries(st.sampled_from(PATHS), draws, min_size=1)


def plan(**kind: Any) -> Plan:
    return Plan.model_validate(kind)


@given(
    st.dictionaries(st.sampled_from(PATHS), st.lists(st.integers(), min_size=1, max_size=5, unique=True), min_size=1)
)
def test_a_grid_holds_every_combination_once(grid: dict[str, list[int]]) -> None:
    points = points_of(plan(grid=grid))
    assert len({tuple(point.items()) for point in points}) == len(points)
    assert len(points) == math.prod(map(len, grid.values()))
    assert all(point[path] in values for point in points for path, values in grid.items())


@given(spaces, st.integers(1, 40), st.integers(0, 2**53 - 1))
def test_draws_keep_their_bounds_and_their_kind(space: dict[str, Any], n: int, seed: int) -> None:
    points = points_of(plan(random={"n": n, "seed": seed, "space": space}))
    assert len(points) == n
    for point in points:
        assert list(point) == list(space)
        for path, value in point.items():
            [(kind, limits)] = space[path].items()
            assert value in limits if kind == "choice" else limits[0] <= value <= limits[1]
            assert isinstance(value, int) == (kind in {"int", "choice"})


@given(spaces, st.integers(1, 20), st.integers(0, 99))
def test_a_draw_depends_on_seed_path_and_number_alone(space: dict[str, Any], n: int, seed: int) -> None:
    points = points_of(plan(random={"n": n, "seed": seed, "space": space}))
    assert points_of(plan(random={"n": n + 5, "seed": seed, "space": space}))[:n] == points
    assert points_of(plan(random={"n": n, "seed": seed, "space": dict(reversed(space.items()))})) == points
    halved = {"n": max(n, 2), "seed": seed, "space": space, "min_epochs": 1, "max_epochs": 4}
    if "training.epochs" not in space:
        assert points_of(plan(asha=halved))[:n] == points


def test_draws_fill_their_range_evenly() -> None:
    values = sorted(uniform(3, "net.dropout", number) for number in range(4000))
    assert max(abs(value - place / 4000) for place, value in enumerate(values)) < 0.03  # Kolmogorov-Smirnov, p < 1e-3
    faces = [
        point["net.hidden"] for point in points_of(plan(random={"n": 900, "space": {"net.hidden": {"int": [1, 3]}}}))
    ]
    assert all(240 < faces.count(face) < 360 for face in (1, 2, 3))
    rates = {"optimizer.learning_rate": {"log_uniform": [1e-4, 1.0]}}
    below = [point["optimizer.learning_rate"] < 1e-2 for point in points_of(plan(random={"n": 900, "space": rates}))]
    assert 390 < sum(below) < 510


def test_a_draw_is_the_same_for_ever() -> None:
    assert [uniform(0, "net.dropout", number) for number in range(2)] == [0.6909352480164679, 0.02066865560236364]


@pytest.mark.parametrize(
    ("base", "point", "expected"),
    [
        ({}, {"net.hidden": [3]}, {"net": {"hidden": [3]}}),
        ({"net": {"bias": False}}, {"net": {"hidden": [3]}}, {"net": {"bias": False, "hidden": [3]}}),
        ({}, {"optimizer.l2": 1}, {"optimizer": {"name": "adam", "l2": 1, "beta1": 0.9}}),
        ({"optimizer": "sgd"}, {"optimizer.momentum": 1}, {"optimizer": {"name": "sgd", "momentum": 1}}),
        ({"optimizer": {"name": "sgd", "momentum": 1}}, {"optimizer": "adam"}, {"optimizer": "adam"}),
        (
            {"optimizer": {"name": "sgd", "momentum": 1}},
            {"optimizer.learning_rate": 2, "optimizer.name": "adam"},
            {"optimizer": {"name": "adam", "learning_rate": 2}},
        ),
        (
            {"optimizer": {"name": "sgd", "momentum": 1}},
            {"optimizer.name": "sgd"},
            {"optimizer": {"name": "sgd", "momentum": 1}},
        ),
        ({"net": {"hidden": [3, 4]}}, {"net.hidden.1": 5}, {"net": {"hidden": [3, 5]}}),
        (
            {"net": {"activation": "elu"}},
            {"net.activation.alpha": 2},
            {"net": {"activation": {"name": "elu", "alpha": 2}}},
        ),
    ],
)
def test_a_point_changes_what_it_names(base: dict[str, Any], point: dict[str, Any], expected: dict[str, Any]) -> None:
    before = copy.deepcopy(base)
    assert with_point(base, point, {"optimizer": {"name": "adam", "l2": 0.5, "beta1": 0.9}}) == expected
    assert base == before


@pytest.mark.parametrize("path", ["net.hidden.2", "net.hidden.x", "training.seed.x"])
def test_a_path_through_what_has_no_parts_leads_nowhere(path: str) -> None:
    with pytest.raises(PathError) as error:
        with_point({"net": {"hidden": [3, 4]}, "training": {"seed": 1}}, {path: 5}, {})
    assert error.value.path == path


def test_rungs_are_multiples_below_the_end() -> None:
    space = {"net.dropout": {"uniform": [0.0, 0.5]}}
    halved = {"n": 9, "space": space, "min_epochs": 2, "max_epochs": 54, "reduction": 3}
    asha = plan(asha=halved).asha
    assert asha is not None
    assert asha.rungs == (2, 6, 18)


def test_losses_fall_and_scores_rise() -> None:
    falling = ["val_loss", "cv_val_loss", "test_rmse", "test_mae"]
    assert [direction_of(name) for name in falling] == ["minimize"] * 4
    assert [direction_of(name) for name in ("val_accuracy", "val_r2", "test_auc")] == ["maximize"] * 3
    assert value_of({"a": math.nan, "b": None, "c": 1}, "a") is None
    assert value_of({"c": 1}, "c") == 1.0
    with pytest.raises(ValueError, match="must be one of val_loss"):
        check_objective("speed", ["val_loss"])
