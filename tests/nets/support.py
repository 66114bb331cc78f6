"""What the tests of training share: small tables, members, and a report that remembers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kernels.numpy_backend import NumpyBackend
from nets.lecture.play import blobs as blobs
from nets.lecture.play import line as line
from nets.member import Member, State
from nets.parts import Rows, parts_of
from nets.prepare import PreparedData, prepare
from nets.resolve import resolve
from nets.spec import ResolvedSpec, TrainingSpec
from nets.table import Image, Table
from nets.trainer import Command, Outcome, fit
from nets.training_spec import TrainingOptions

BACKEND = NumpyBackend()


class Recorder:
    """A report and control in one: keeps everything, and commands what `script(member)` says."""

    def __init__(self, script: Callable[[int], Command] | None = None) -> None:
        self.script = script
        self.info: dict[int, dict[str, Any]] = {}
        self.points: dict[int, list[dict[str, Any]]] = {}
        self.checkpoints: dict[int, list[State]] = {}
        self.outcomes: dict[int, Outcome] = {}

    def started(self, member: int, info: dict[str, Any]) -> None:
        self.info[member] = info

    def metric(self, member: int, point: dict[str, Any]) -> None:
        self.points.setdefault(member, []).append(point)

    def checkpoint(self, member: int, state: State, step: int, epoch: int) -> None:
        assert int(state["step"]) == step
        assert int(state["epoch"]) == epoch
        self.checkpoints.setdefault(member, []).append(state)

    def finished(self, member: int, outcome: Outcome) -> None:
        assert member not in self.outcomes, "a model finishes once"
        self.outcomes[member] = outcome

    def command(self, member: int) -> Command:
        return self.script(member) if self.script else Command.CONTINUE

    def curve(self, member: int = 0) -> list[dict[str, Any]]:
        """The metric points without the one figure that the clock decides."""
        points = self.points.get(member, [])
        return [{k: v for k, v in point.items() if k != "samples_per_s"} for point in points]


def run(*members: Member, script: Callable[[int], Command] | None = None, **kwargs: Any) -> Recorder:
    """`fit` on the CPU; returns what was reported."""
    recorder = Recorder(script)
    fit(members, BACKEND, recorder, recorder, **kwargs)
    return recorder


def spec_for(table: Table, **spec: Any) -> ResolvedSpec:
    return resolve(TrainingSpec.parse(spec), table.info)


def member_for(table: Table, **spec: Any) -> Member:
    resolved = spec_for(table, **spec)
    return Member(resolved, prepare(table, resolved))


def split(table: Table, seed: int, validation_fraction: float) -> tuple[Rows, Rows]:
    """The rows that train and those that validate."""
    parts = parts_of(table, TrainingOptions(seed=seed, validation_fraction=validation_fraction))
    return parts.train, parts.val


def pictures(
    rows: int = 90, shape: tuple[int, int, int] = (9, 7, 3), *, levels: int = 256, classes: int = 3, seed: int = 0
) -> Table:
    """Images of noise in [0, 1], every class brighter than the one before; few `levels` make many ties."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % classes
    cells = rng.integers(levels, size=(rows, np.prod(shape))) * (0.5 + 0.5 * (y[:, None] + 1) / classes)
    return Table.from_arrays(np.floor(cells) / (levels - 1), y, standardize=False, image=Image(*shape))


def bare_data(x: np.ndarray, y: np.ndarray, n_outputs: int, task: str = "classification") -> PreparedData:
    """Arrays as they are, all for training."""
    return PreparedData(x, y, x[:0], y[:0], x.shape[1], n_outputs, task)


def assert_same_arrays(left: dict[str, Any], right: dict[str, Any], but: tuple[str, ...] = ()) -> None:
    """Equal names and equal bits."""
    assert left.keys() == right.keys()
    for name in left.keys() - set(but):
        a, b = np.asarray(left[name]), np.asarray(right[name])
        assert a.dtype == b.dtype, name
        assert a.shape == b.shape, name
        assert np.array_equal(a, b), f"{name} differs in {np.sum(a != b)} of {a.size} places"
