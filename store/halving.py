"""Asynchronous successive halving: who of a sweep's trials goes on, and who has no chance left. Pure.

A trial trains up to the first rung (so many epochs), waits there, goes on to the second if it is among the best of
the first, and so on; beyond the last rung it trains to its end. Whoever is among the best `1 / reduction` of those that
have arrived at a rung so far goes on at once, without waiting for the others (Li et al. 2020, A system for massively
parallel hyperparameter tuning, algorithm 2). Unlike there the trials are known from the start: the best of a rung that
nobody else can reach goes on, however few have, so that some trial always trains to its end; and a trial is ended as
soon as no arrivals can bring it among the best.

A trial that stops on its way to a rung, because it no longer gets better or because its time is over, has its result
and is judged by that: it arrives at the rung with the figure that it ended with, and as long as it is among the best it
takes a place there and at every rung above.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum


class State(StrEnum):
    """What a trial does."""

    TRAINING = "training"
    WAITING = "waiting"
    STOPPED = "stopped"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Trial:
    """One job: its place among the trials, the rung it trains to or waits at, its figure at each rung it has reached.

    A figure that is not finite is None, and worse than any other.
    """

    id: str
    place: int
    state: State
    rung: int
    figures: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Retirement:
    """A trial that ends at a rung, and why in words."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Trials that go on to the rung above, one that has stopped to several at once, and trials that end."""

    promoted: tuple[str, ...] = ()
    retired: tuple[Retirement, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.promoted or self.retired)


@dataclass(slots=True)
class _Rung:
    """Who has arrived at a rung, best first, and how many others still may."""

    ranked: list[Trial] = field(default_factory=list)
    arrived: int = 0
    to_come: int = 0


def decide(trials: Iterable[Trial], rungs: Sequence[int], reduction: int, *, maximize: bool) -> Decision:
    """What follows from the figures so far; nothing more follows once that is done.

    Args:
        trials: all of them, in any order.
        rungs: epochs at which trials wait.
        reduction: one of so many goes on.
        maximize: whether larger figures are better.
    """
    present = {trial.id: trial for trial in trials}
    promoted: list[str] = []
    retired: list[Retirement] = []
    for number, epochs in enumerate(rungs):
        rung = _rung(present.values(), number, maximize=maximize)
        least = 0 if rung.to_come else 1
        go_on = max(rung.arrived // reduction, least)
        ever = max((rung.arrived + rung.to_come) // reduction, 1)
        for rank, trial in enumerate(rung.ranked):
            if trial.state not in {State.WAITING, State.STOPPED} or trial.rung != number:
                continue
            if rank < go_on and trial.figures[number] is not None:
                promoted.append(trial.id)
                present[trial.id] = _promoted(trial, last=number + 1 == len(rungs))
            elif rank >= ever or not rung.to_come or trial.figures[number] is None:
                present[trial.id] = replace(trial, state=State.ENDED)
                if trial.state is State.WAITING:
                    told = f"not_promoted: {rank + 1} of {rung.arrived} after {epochs} epochs"
                    retired.append(Retirement(trial.id, told))
    return Decision(tuple(promoted), tuple(retired))


def _promoted(trial: Trial, *, last: bool) -> Trial:
    """On its way to the rung above; who has stopped is there at once, beyond the last rung there is none."""
    if trial.state is State.WAITING:
        return replace(trial, state=State.TRAINING, rung=trial.rung + 1)
    figures = trial.figures if last else (*trial.figures, trial.figures[-1])
    return replace(trial, rung=trial.rung + 1, figures=figures)


def _rung(trials: Iterable[Trial], number: int, *, maximize: bool) -> _Rung:
    """A trial that ended while it waited here counts as one that arrived, but takes nobody's place."""
    rung = _Rung()
    for trial in trials:
        if len(trial.figures) > number:
            rung.arrived += 1
            if trial.state is not State.ENDED or len(trial.figures) > number + 1 or trial.rung > number:
                rung.ranked.append(trial)
        elif trial.state is not State.ENDED:
            rung.to_come += 1
        elif trial.rung == number:
            rung.arrived += 1  # it ended on its way here
    rung.ranked.sort(key=lambda trial: (_badness(trial.figures[number], maximize=maximize), trial.place))
    return rung


def _badness(figure: float | None, *, maximize: bool) -> float:
    if figure is None or math.isnan(figure):
        return math.inf
    return -figure if maximize else figure


def trial_from_text(job_id: str, text: str) -> Trial:
    """A trial as the scripts keep it: `state place rung figure …`, with `-` for a figure that is not finite."""
    state, place, rung, *figures = text.split()
    numbers = tuple(None if figure == "-" else float(figure) for figure in figures)
    return Trial(job_id, int(place), State(state), int(rung), numbers)
