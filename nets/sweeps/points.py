"""The points of a sweep: which settings each of its jobs has. Pure, and the same for the same plan everywhere."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from nets.sweeps.plan import Asha, Draw, Plan, Random

Point = dict[str, Any]
"""Value by dotted path of a job's spec."""


def points_of(plan: Plan) -> list[Point]:
    """Every point, in the order of its jobs; of a grid the last path changes fastest."""
    if plan.grid is not None:
        return [dict(zip(plan.grid, values, strict=True)) for values in itertools.product(*plan.grid.values())]
    if plan.list is not None:
        return [dict(overrides) for overrides in plan.list]
    drawn = plan.random or plan.asha
    assert drawn is not None, "a plan has one of its kinds"  # noqa: S101
    return [_drawn(drawn, number) for number in range(drawn.n)]


def _drawn(plan: Random | Asha, number: int) -> Point:
    return {path: _value(draw, uniform(plan.seed, path, number)) for path, draw in plan.space.items()}


def uniform(seed: int, path: str, number: int) -> float:
    """A draw from [0, 1) that depends on nothing but its three keys: 53 bits of a SHA-256."""
    digest = hashlib.sha256(f"{seed}\n{path}\n{number}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) * 2.0**-53


def _value(draw: Draw, u: float) -> Any:
    if draw.choice is not None:
        return draw.choice[int(u * len(draw.choice))]
    if draw.int is not None:
        low, high = draw.int
        return low + min(int(u * (high - low + 1)), high - low)
    if draw.log_uniform is not None:
        a, b = draw.log_uniform
        return min(max(math.exp(math.log(a) + u * (math.log(b) - math.log(a))), a), b)
    assert draw.uniform is not None, "a draw has one of its kinds"  # noqa: S101
    a, b = draw.uniform
    return min(max(a + u * (b - a), a), b)


class PathError(ValueError):
    """A path that leads nowhere in the spec that it is to change; `path` and why."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(why)
        self.path = path


_CHOICES = ("loss", "optimizer", "schedule")


def with_point(base: Mapping[str, Any], point: Point, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The job request `base` with the settings of `point`; neither is changed.

    A setting of a choice that `base` leaves open (`optimizer.learning_rate` without an `optimizer`) changes the one
    that `defaults`, the resolved spec of `base`, has. Another name brings its own settings.

    Raises:
        PathError: a path goes through what has no parts.
    """
    request = dict(base)
    for path in sorted(point, key=lambda path: (path.count("."), not path.endswith(".name"))):
        steps = path.split(".")
        if steps[0] in _CHOICES and len(steps) > 1 and request.get(steps[0]) is None:
            request[steps[0]] = defaults[steps[0]]
        request[steps[0]] = _set(request.get(steps[0]), steps, 1, point[path])
    return request


def _set(here: Any, steps: Sequence[str], depth: int, value: Any) -> Any:
    """`here`, which the first `depth` steps lead to, with `value` at the end of the others."""
    if depth == len(steps):
        merges = steps[-1] in {"net", "training"} and depth == 1 and isinstance(here, dict) and isinstance(value, dict)
        return {**here, **value} if merges else value
    step = steps[depth]
    if isinstance(here, str):
        here = {"name": here}
    if here is None:
        here = {}
    if isinstance(here, list):
        if not step.isdigit() or int(step) >= len(here):
            raise PathError(".".join(steps), f"has no item {step}: there are {len(here)}")
        return [_set(item, steps, depth + 1, value) if place == int(step) else item for place, item in enumerate(here)]
    if not isinstance(here, dict):
        raise PathError(".".join(steps), f"leads nowhere: {'.'.join(steps[:depth])} has no parts")
    changed = _set(here.get(step), steps, depth + 1, value)
    if step == "name" and depth == len(steps) - 1 and here.get("name", changed) != changed:
        return {"name": changed}
    return {**here, step: changed}
