"""What a sweep tries, as strict models: a grid, draws from a space, a list, or draws that are halved as they train."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, JsonValue, model_validator

from nets.progress import MAX_POINTS
from nets.spec_errors import shown
from nets.spec_fields import Range, Strict, problem
from nets.training_spec import MAX_SEED

T = TypeVar("T")
MAX_JOBS = 1_000
"""Jobs of one sweep."""
MAX_PATHS = 32
DATASET = "dataset"
"""The path of the data set, for jobs that train on others."""
ROOTS = ("features", "loss", "net", "optimizer", "schedule", "training")
"""Parts of a spec that a sweep may change."""
_PATH = re.compile(rf"{DATASET}|({'|'.join(ROOTS)})(\.[A-Za-z0-9_]{{1,64}}){{0,5}}", re.ASCII)


def _path(path: str) -> str:
    if not _PATH.fullmatch(path):
        allowed = f"must be {DATASET} or begin with {', '.join(ROOTS)}, like optimizer.learning_rate"
        raise problem("", f"{shown(path)} is no path of a job's spec; {allowed}")
    return path


Path = Annotated[str, AfterValidator(_path)]
Values = Annotated[list[JsonValue], Field(min_length=1, max_length=MAX_JOBS)]
Bounds = Annotated[list[float], Field(min_length=2, max_length=2)]
WholeBounds = Annotated[list[Annotated[int, Range(-MAX_SEED, MAX_SEED)]], Field(min_length=2, max_length=2)]
Count = Annotated[int, Range(1, MAX_JOBS)]
Seed = Annotated[int, Range(0, MAX_SEED)]


class Draw(Strict):
    """How one setting is drawn: exactly one of these.

    `uniform` and `log_uniform` between two numbers, `int` from the whole numbers between two with both of them,
    `choice` from a list.
    """

    uniform: Bounds | None = None
    log_uniform: Bounds | None = None
    int: WholeBounds | None = None
    choice: Values | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise problem("", _exactly_one(given, type(self).model_fields))
        bounds = self.uniform or self.log_uniform or self.int
        if bounds is not None and not bounds[0] < bounds[1]:
            raise problem(given[0], f"is {shown(bounds)}; the first bound must be less than the second")
        if self.log_uniform is not None and self.log_uniform[0] <= 0:
            raise problem("log_uniform", f"is {shown(self.log_uniform)}; both bounds must be > 0")
        if self.uniform is not None and not math.isfinite(self.uniform[1] - self.uniform[0]):
            raise problem("uniform", f"is {shown(self.uniform)}; the bounds lie too far apart")
        return self


def _apart(settings: dict[str, T]) -> dict[str, T]:
    """What is set as a whole is not set in part as well: one of both would hold, and the other be checked by nobody."""
    for path in settings:
        above = next((other for other in settings if path.startswith(f"{other}.")), None)
        if above is not None:
            raise problem("", f"holds {shown(above)} and {shown(path)}, which is a part of it")
    return settings


Grid = Annotated[dict[Path, Values], Field(min_length=1, max_length=MAX_PATHS), AfterValidator(_apart)]
Space = Annotated[dict[Path, Draw], Field(min_length=1, max_length=MAX_PATHS), AfterValidator(_apart)]
Overrides = Annotated[dict[Path, JsonValue], Field(max_length=MAX_PATHS), AfterValidator(_apart)]
Listed = Annotated[list[Overrides], Field(min_length=1, max_length=MAX_JOBS)]


class Random(Strict):
    """`n` draws from a space; point i of a seed is the same whatever `n` is."""

    n: Count
    seed: Seed = 0
    space: Space


class Asha(Strict):
    """`n` draws from a space that are halved as they train.

    After `min_epochs` epochs, and again each time that they are `reduction` times as many, the best of `reduction`
    go on, up to `max_epochs`. Schedules see `max_epochs`. Asynchronous successive halving (Li et al. 2020, A system
    for massively parallel hyperparameter tuning).
    """

    n: Annotated[int, Range(2, MAX_JOBS)]
    seed: Seed = 0
    space: Space
    min_epochs: Annotated[int, Range(1, MAX_POINTS)]
    max_epochs: Annotated[int, Range(2, MAX_POINTS)]
    reduction: Annotated[int, Range(2, 100)] = 3

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_epochs >= self.max_epochs:
            detail = f"is {self.min_epochs}; must be less than max_epochs, which is {self.max_epochs}"
            raise problem("min_epochs", detail)
        if "training.epochs" in self.space:
            raise problem("space", "holds training.epochs; max_epochs says how long trials train")
        return self

    @property
    def rungs(self) -> tuple[int, ...]:
        """The epochs at which a trial waits until it is decided whether it goes on."""
        found, epochs = list[int](), self.min_epochs
        while epochs < self.max_epochs:
            found.append(epochs)
            epochs *= self.reduction
        return tuple(found)


class Plan(Strict):
    """Exactly one way to choose the points, what judges them, and which way is better."""

    grid: Grid | None = None
    random: Random | None = None
    list: Listed | None = None
    asha: Asha | None = None
    objective: Annotated[str, Field(max_length=100)] = "val_loss"
    direction: Literal["minimize", "maximize"] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = ("grid", "random", "list", "asha")
        given = [kind for kind in kinds if getattr(self, kind) is not None]
        if len(given) != 1:
            raise problem("", _exactly_one(given, kinds))
        for path, values in (self.grid or {}).items():
            repeated = _repeated(values)
            if repeated is not None:
                raise problem("grid", f"holds {shown(values[repeated])} twice for {path}")
        count = math.prod(len(values) for values in (self.grid or {}).values())
        if count > MAX_JOBS:
            raise problem("grid", f"has {count} points; a sweep has at most {MAX_JOBS} jobs")
        return self

    @property
    def kind(self) -> str:
        """grid, random, list or asha."""
        return next(kind for kind in ("grid", "random", "list", "asha") if getattr(self, kind) is not None)


def _repeated(values: list[Any]) -> int | None:
    """The place of the first value that came before; true is no 1."""
    seen = set[str]()
    for place, value in enumerate(values):
        if repr(value) in seen:
            return place
        seen.add(repr(value))
    return None


def _exactly_one(given: Iterable[str], kinds: Iterable[str]) -> str:
    return f"names {' and '.join(given) or 'none'}; must name exactly one of {', '.join(kinds)}"
