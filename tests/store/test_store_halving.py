"""Successive halving as a pure decision: whatever the order of arrivals, every trial ends, and the best go on."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from store.halving import Decision, State, Trial, decide, trial_from_text

Figures = list[list[float | None]]


class Sweep:
    """Trials that train in an order that somebody else chooses; decisions are carried out at once."""

    def __init__(self, count: int, rungs: list[int], reduction: int, maximize: bool) -> None:
        self.trials = {f"t{place}": Trial(f"t{place}", place, State.TRAINING, 0) for place in range(count)}
        self.rungs, self.reduction, self.maximize = rungs, reduction, maximize
        self.promotions: list[tuple[str, int]] = []
        self.finished: set[str] = set()

    def decision(self) -> Decision:
        return decide(self.trials.values(), self.rungs, self.reduction, maximize=self.maximize)

    def carry_out(self) -> None:
        found = self.decision()
        for name in found.promoted:
            trial = self.trials[name]
            self.promotions.append((name, trial.rung))
            if trial.state is State.STOPPED:
                last = trial.rung + 1 == len(self.rungs)
                figures = trial.figures if last else (*trial.figures, trial.figures[-1])
                self.trials[name] = replace(trial, rung=trial.rung + 1, figures=figures)
                continue
            assert trial.state is State.WAITING
            self.trials[name] = replace(trial, state=State.TRAINING, rung=trial.rung + 1)
        for one in found.retired:
            assert self.trials[one.id].state is State.WAITING
            self.trials[one.id] = replace(self.trials[one.id], state=State.ENDED)
        assert not self.decision(), "nothing more follows"

    def training(self) -> list[str]:
        return [name for name, trial in self.trials.items() if trial.state is State.TRAINING]

    def arrive(self, name: str, figure: float | None) -> None:
        trial = self.trials[name]
        if trial.rung == len(self.rungs):
            self.trials[name] = replace(trial, state=State.ENDED)
            self.finished.add(name)
        else:
            self.trials[name] = replace(trial, state=State.WAITING, figures=(*trial.figures, figure))

    def stop(self, name: str, figure: float | None) -> None:
        """It has stopped on its way: the figure is that of its result."""
        trial = self.trials[name]
        self.finished.add(name)
        if trial.rung == len(self.rungs):
            self.trials[name] = replace(trial, state=State.ENDED)
        else:
            self.trials[name] = replace(trial, state=State.STOPPED, figures=(*trial.figures, figure))

    def end(self, name: str) -> None:
        self.trials[name] = replace(self.trials[name], state=State.ENDED)


sweeps = st.builds(
    Sweep, st.integers(1, 30), st.sampled_from([[1], [1, 3], [2, 4, 8]]), st.integers(2, 4), st.booleans()
)
figures = st.one_of(st.floats(-5, 5), st.none())


@settings(max_examples=150)
@given(sweeps, st.data())
def test_every_trial_ends_and_the_best_of_the_first_rung_trained_to_the_end(sweep: Sweep, data: st.DataObject) -> None:
    while names := sweep.training():
        how = data.draw(st.sampled_from([sweep.arrive, sweep.arrive, sweep.arrive, sweep.stop]))
        how(data.draw(st.sampled_from(names)), data.draw(st.floats(-5, 5)))
        sweep.carry_out()
    assert {trial.state for trial in sweep.trials.values()} <= {State.ENDED, State.STOPPED}
    assert len(set(sweep.promotions)) == len(sweep.promotions)
    assert sweep.finished
    count = len(sweep.trials)
    sign = -1 if sweep.maximize else 1
    ranked = sorted(sweep.trials.values(), key=lambda trial: (sign * trial.figures[0], trial.place))
    promoted = {name for name, rung in sweep.promotions if rung == 0}
    assert {trial.id for trial in ranked[: max(count // sweep.reduction, 1)]} <= promoted


@settings(max_examples=150)
@given(sweeps, st.data())
def test_nobody_waits_for_ever_whatever_fails_or_is_cancelled(sweep: Sweep, data: st.DataObject) -> None:
    over = {State.ENDED, State.STOPPED}
    while names := [name for name, trial in sweep.trials.items() if trial.state not in over]:
        assert sweep.training(), "somebody trains as long as anybody waits"
        chance = data.draw(st.integers(0, 5))
        if chance == 0:
            sweep.end(data.draw(st.sampled_from(names)))
        elif chance == 1:
            sweep.stop(data.draw(st.sampled_from(sweep.training())), data.draw(figures))
        else:
            sweep.arrive(data.draw(st.sampled_from(sweep.training())), data.draw(figures))
        if data.draw(st.booleans()) or not sweep.training():  # a decision may come late, after several arrivals
            sweep.carry_out()


@given(sweeps, st.data())
def test_the_order_in_which_trials_are_told_does_not_matter(sweep: Sweep, data: st.DataObject) -> None:
    for name in list(sweep.trials):
        if data.draw(st.booleans()):
            sweep.arrive(name, data.draw(figures))
    found = sweep.decision()
    sweep.trials = dict(data.draw(st.permutations(list(sweep.trials.items()))))
    again = sweep.decision()
    assert (set(found.promoted), set(found.retired)) == (set(again.promoted), set(again.retired))


def test_the_best_third_goes_on_without_waiting_for_the_others() -> None:
    sweep = Sweep(9, [1, 3], 3, False)
    for name, figure in (("t0", 0.5), ("t1", 0.4), ("t2", 0.6)):
        sweep.arrive(name, figure)
    assert sweep.decision() == Decision(promoted=("t1",))
    sweep.carry_out()
    sweep.arrive("t3", 0.9)
    found = sweep.decision()
    assert [(one.id, one.reason) for one in found.retired] == [("t3", "not_promoted: 4 of 4 after 1 epochs")]


def test_one_that_has_stopped_takes_a_place_while_it_is_among_the_best() -> None:
    """Its figure is that of its result, at the rung that it was on its way to and at those above."""
    sweep = Sweep(6, [1, 3], 2, False)
    for name, figure in (("t1", 0.4), ("t2", 0.6), ("t3", 0.5)):
        sweep.arrive(name, figure)
    sweep.carry_out()
    assert sweep.promotions == [("t1", 0)]
    sweep.stop("t0", 0.1)
    assert sweep.decision().promoted == ("t0",)
    sweep.carry_out()
    sweep.arrive("t1", 0.3)
    assert sweep.decision().promoted == ("t0",), "t1 is behind the one that has stopped"
    sweep.carry_out()
    sweep.arrive("t4", 0.2)
    sweep.carry_out()
    assert sweep.promotions[-1] == ("t4", 0)


def test_one_that_has_stopped_and_is_alone_goes_all_the_way_at_once() -> None:
    sweep = Sweep(2, [1, 3], 2, False)
    sweep.end("t1")
    sweep.stop("t0", 0.1)
    assert sweep.decision() == Decision(promoted=("t0", "t0"))


def test_one_that_has_stopped_badly_keeps_nobody_waiting() -> None:
    sweep = Sweep(4, [1, 3], 2, False)
    sweep.stop("t0", 9.0)
    sweep.stop("t1", None)
    sweep.arrive("t2", 0.5)
    sweep.arrive("t3", 0.4)
    sweep.carry_out()
    assert set(sweep.promotions) == {("t2", 0), ("t3", 0)}
    sweep.arrive("t2", 0.3)
    sweep.arrive("t3", 0.35)
    sweep.carry_out()
    assert ("t2", 1) in sweep.promotions
    assert sweep.trials["t3"].state is State.ENDED


def test_a_figure_that_is_not_finite_never_goes_on() -> None:
    sweep = Sweep(2, [1], 2, True)
    sweep.arrive("t0", None)
    sweep.arrive("t1", None)
    found = sweep.decision()
    assert found.promoted == ()
    assert len(found.retired) == 2


def test_a_trial_is_read_as_the_scripts_write_it() -> None:
    assert trial_from_text("j", "waiting 3 1 0.5 -") == Trial("j", 3, State.WAITING, 1, (0.5, None))
