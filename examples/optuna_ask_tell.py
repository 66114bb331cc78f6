"""A study as one sweep that grows: it asks for many points at once, trains them together, learns, and adds the next.

`pip install optuna` brings samplers that learn (TPE here); without it, draws are plain and the study is the same.
Run it with a service at `MLPQ_URL`: python examples/optuna_ask_tell.py [rounds] [points a round]
"""

from __future__ import annotations

import math
import random
import sys
from dataclasses import dataclass, field
from typing import Any

from mlpq import Client

RATES, WIDTHS, DROPOUT = (1e-4, 1e-1), (4, 64), (0.0, 0.5)


BASE = {"optimizer": {"name": "adam"}, "training": {"epochs": 5}, "tags": ["study"]}


def point(params: dict[str, Any]) -> dict[str, Any]:
    """What the job of these parameters sets, by path."""
    return {
        "net.hidden": [params["width"]],
        "net.dropout": params["dropout"],
        "optimizer.learning_rate": params["learning_rate"],
    }


@dataclass
class Drawn:
    """A trial of `Draws`."""

    params: dict[str, Any]
    value: float | None = None


@dataclass
class Draws:
    """As much of a study as this needs, with draws that learn nothing."""

    chance: random.Random = field(default_factory=lambda: random.Random(0))
    trials: list[Drawn] = field(default_factory=list)

    def ask(self) -> Drawn:
        """The next point."""
        low, high = map(math.log, RATES)
        params = {
            "learning_rate": math.exp(self.chance.uniform(low, high)),
            "width": self.chance.randint(*WIDTHS),
            "dropout": self.chance.uniform(*DROPOUT),
        }
        self.trials.append(Drawn(params))
        return self.trials[-1]

    def tell(self, trial: Drawn, value: float | None) -> None:
        """The figure of a point; None: it failed."""
        trial.value = value

    @property
    def best_trial(self) -> Drawn:
        """The point with the least figure."""
        return min((trial for trial in self.trials if trial.value is not None), key=lambda trial: trial.value or 0.0)


class Optuna:
    """The same on an Optuna study."""

    def __init__(self) -> None:
        import optuna

        floats, whole = optuna.distributions.FloatDistribution, optuna.distributions.IntDistribution
        self.failed = optuna.trial.TrialState.FAIL
        self.space = {
            "learning_rate": floats(*RATES, log=True),
            "width": whole(*WIDTHS),
            "dropout": floats(*DROPOUT),
        }
        # constant_liar: points that are asked for together keep away from each other
        sampler = optuna.samplers.TPESampler(seed=0, constant_liar=True)
        self.study = optuna.create_study(direction="minimize", sampler=sampler)

    def ask(self) -> Any:
        """The next point."""
        return self.study.ask(self.space)

    def tell(self, trial: Any, value: float | None) -> None:
        """The figure of a point; None: it failed."""
        self.study.tell(trial, value, state=self.failed if value is None else None)

    @property
    def best_trial(self) -> Any:
        """The point with the least figure."""
        return self.study.best_trial


def study_of() -> Draws | Optuna:
    """Optuna's where it is installed."""
    try:
        return Optuna()
    except ImportError:
        print("optuna is not installed: draws learn nothing")
        return Draws()


def search(client: Client, study: Draws | Optuna, rounds: int, points: int) -> None:
    """Ask for as many points as fit into one stack, train them together, tell all figures, and again."""
    sweep = None
    for number in range(1, rounds + 1):
        trials = [study.ask() for _ in range(points)]
        asked = [point(trial.params) for trial in trials]
        if sweep is None:
            sweep = client.sweep("digits", points=asked, base=BASE, name="study")
        else:
            sweep.add(asked)
        sweep.wait(check=False)
        for trial, job in zip(trials, sweep.trials[-points:], strict=True):
            study.tell(trial, job.objective if job.status == "succeeded" else None)
        print(f"round {number}: best validation loss {study.best_trial.value:.4f}")


def main() -> None:
    rounds, points = [*map(int, sys.argv[1:]), *(4, 16)[len(sys.argv) - 1 :]][:2]
    study = study_of()
    with Client() as client:
        search(client, study, rounds, points)
    for name, value in study.best_trial.params.items():
        print(f"{name:<14} {value:.4g}")


if __name__ == "__main__":
    main()
