"""Cross-validation as a stack: a model with folds trains beside one model for each of them, and tells their figures.

The job's own model, part 0, is bit for bit what it would be without folds; parts 1..k are the same spec, each
validated on the rows of its fold and trained on all others. They share steps, checkpoints and commands; what the
parts say becomes what one model says. A model that halts after some epochs is measured there by its folds as well,
each after as many of its own epochs, or at its own end where it has stopped before.
Stone 1974, Cross-validatory choice and assessment of statistical predictions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from nets.member import Member, State
from nets.report import INTERRUPTED, Command, Control, Ending, Outcome, Report

Figures = dict[str, float | None]
_FOLD_STATE: Final = re.compile(r"fold(\d+)_(.+)")


@dataclass(eq=False)
class _Group:
    """One model of the caller's, at `place` of its list, and what is known of its parts."""

    place: int
    member: Member
    live: list[int]
    states: dict[int, State] = field(default_factory=dict)
    points: dict[int, Figures] = field(default_factory=dict)
    figures: dict[int, Figures] = field(default_factory=dict)
    interrupted: set[Ending] = field(default_factory=set)
    outcome: Outcome | None = None
    unsaved: bool = False
    told: Command = Command.CONTINUE

    @property
    def leader(self) -> int:
        """The part that asks and tells for all: the first that is left."""
        return self.live[0]

    @property
    def halted(self) -> bool:
        """Whether every part has ended or reached the epoch at which the model halts."""
        halt, states = self.member.halt_epoch, [self.states.get(part) for part in range(self.parts)]
        return halt is not None and all(
            state is not None and (_ended(state) or int(state["epoch"]) >= halt) for state in states
        )

    @property
    def parts(self) -> int:
        """The model's own part and its folds."""
        return 1 + len(self.member.folds)


class Folded:
    """Stands between a run and its caller: `members` are what trains, as report and control it speaks for groups."""

    def __init__(self, members: Sequence[Member], report: Report, control: Control) -> None:
        self._report, self._control = report, control
        self.members: list[Member] = []
        self._seats: list[tuple[_Group, int]] = []
        self._groups = 0
        self.join(members)

    def join(self, members: Sequence[Member]) -> list[Member]:
        """Further models of the caller's, as what trains of them."""
        parted = list[Member]()
        for member in members:
            group, parts = _parted(self._groups, member)
            self._groups += 1
            group.live = list(parts)
            parted += parts.values()
            self._seats += [(group, part) for part in parts]
        self.members += parted
        return parted

    def started(self, member: int, info: dict[str, Any]) -> None:
        """See Report: once for a group."""
        group, part = self._seats[member]
        if part == group.leader:
            self._report.started(group.place, {**info, "steps": group.member.total_steps})

    def metric(self, member: int, point: dict[str, Any]) -> None:
        """See Report: the curve is that of the job's own model."""
        group, part = self._seats[member]
        if part == 0:
            self._report.metric(group.place, point)
        else:
            group.points[part] = {name: value for name, value in point.items() if name.startswith("val_")}

    def checkpoint(self, member: int, state: State, step: int, epoch: int) -> None:  # noqa: ARG002
        """See Report: one checkpoint of all parts, when the last of them has given its own."""
        group, part = self._seats[member]
        group.states[part] = state
        if part in group.points:
            group.states[part] = state | {"point": _encoded(group.points[part])}
        group.unsaved = True
        if part == group.live[-1]:
            self._save(group)

    def _save(self, group: _Group) -> None:
        if 0 in group.states:
            group.unsaved, bundle = False, _bundled(group)
            self._report.checkpoint(group.place, bundle, int(bundle["step"]), int(bundle["epoch"]))

    def command(self, member: int) -> Command:
        """See Control: asked once for a group and round; a model that diverged needs no figures of its folds."""
        group, part = self._seats[member]
        if group.outcome is not None and group.outcome.kind is Ending.DIVERGED:
            return Command.CANCEL
        if part == group.leader:
            group.told = self._control.command(group.place)
        return group.told

    def finished(self, member: int, outcome: Outcome) -> None:
        """See Report: when the last part has ended."""
        group, part = self._seats[member]
        group.live.remove(part)
        if part == 0:
            group.outcome = outcome
        if outcome.kind in INTERRUPTED:
            group.interrupted.add(outcome.kind)
        elif part == 0:
            group.states[0], group.unsaved = _ended_state(group.member, outcome), True
        else:
            group.figures[part] = outcome.metrics if outcome.kind is not Ending.DIVERGED else {}
            group.states[part], group.unsaved = {"figures": _encoded(group.figures[part])}, True
        if not group.live and group.outcome is not None:
            if group.unsaved and group.interrupted:  # the last part has ended when the others had halted
                self._save(group)
            self._report.finished(group.place, _outcome_of(group, group.outcome))


def _parted(place: int, member: Member) -> tuple[_Group, dict[int, Member]]:
    """A group and the parts of it that have still to be trained, by number."""
    group, states = _Group(place, member, []), dict[int, State]()
    for name, array in (member.state or {}).items():
        match = _FOLD_STATE.fullmatch(name)
        part, own = (int(match[1]), match[2]) if match else (0, name)
        states.setdefault(part, {})[own] = array
    parts = {}
    for part, data in enumerate((member.data, *member.folds)):
        state = states.get(part)
        if state is not None and "point" in state:
            group.points[part] = _decoded(state.pop("point"))
        if state is not None and "figures" in state:
            group.states[part], group.figures[part] = state, _decoded(state["figures"])
        elif state is not None and "outcome" in state:
            group.states[part] = state
            named = {name: view.copy() for name, view in member.layout.named(state["parameters"]).items()}
            told = _decoded(state["outcome"])
            kind = Ending(told.pop("kind"))
            group.outcome = Outcome(kind=kind, parameters=named, **told)
        else:
            parts[part] = Member(member.spec, data, state, halt_epoch=member.halt_epoch)
    return group, parts


def _bundled(group: _Group) -> State:
    """The states of all parts as one checkpoint's arrays; its step is the own model's, who may have ended before."""
    bundle = dict(group.states[0])
    if group.halted:
        halt = group.member.halt_step, group.member.halt_epoch
        bundle |= {name: np.array(value, np.int64) for name, value in zip(("step", "epoch"), halt, strict=True)}
    for part in sorted(group.states.keys() - {0}):
        bundle |= {f"fold{part}_{name}": array for name, array in group.states[part].items()}
    return bundle


def _ended_state(member: Member, outcome: Outcome) -> State:
    """What a checkpoint keeps of a model that has ended while its folds go on."""
    told = {name: value for name, value in vars(outcome).items() if name != "parameters"}
    return {
        "parameters": member.layout.flat(outcome.parameters, member.dtype),
        "step": np.array(outcome.step, np.int64),
        "epoch": np.array(outcome.epoch, np.int64),
        "outcome": _encoded(told),
    }


def _encoded(value: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.frombuffer(json.dumps(value, allow_nan=False).encode(), np.uint8)


def _decoded(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(np.asarray(array, np.uint8).tobytes())
    return found


def _ended(state: State) -> bool:
    return "figures" in state or "outcome" in state


def _outcome_of(group: _Group, outcome: Outcome) -> Outcome:
    """What a group tells at its end: its own model's outcome with what the folds have measured.

    A part that was interrupted leaves the whole to be gone on with.
    """
    if outcome.kind is Ending.DIVERGED:
        return outcome
    for kind in (Ending.CANCELLED, Ending.PAUSED):
        if kind in group.interrupted:
            return replace(outcome, kind=kind, metrics={}, reason=None)
    kind = Ending.HALTED if Ending.HALTED in group.interrupted else outcome.kind
    folds = [group.figures.get(part, group.points.get(part, {})) for part in range(1, group.parts)]
    return replace(outcome, kind=kind, metrics=outcome.metrics | _figures(folds, [*outcome.metrics]))


def _figures(folds: Sequence[Figures], own: Sequence[str]) -> Figures:
    """Every fold's validation figures, their mean and their standard deviation (n - 1); `own` are the model's.

    A fold that has diverged has none, and then there is no mean either.
    """
    metrics = Figures()
    names = dict.fromkeys(name for one in (own, *folds) for name in one if name.startswith("val_"))
    for name in names if folds else ():
        values = [one.get(name) for one in folds]
        known = np.array([value for value in values if value is not None])
        whole = len(known) == len(values)
        metrics[f"cv_{name}"] = float(known.mean()) if whole else None
        metrics[f"cv_{name}_std"] = float(known.std(ddof=1)) if whole else None
        metrics |= {f"fold{part}_{name}": value for part, value in enumerate(values, start=1)}
    return metrics
