"""The machine of users, workers and reapers, with sweeps whose trials wait at rungs: no trial waits for ever."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, multiple, rule, run_state_machine_as_test

from kernels.errors import Conflict, Fenced
from mlpq.embedded import EmbeddedServer
from store import keys
from store.halving import State, trial_from_text
from store.records import Claim
from store.sweeps import Halving, NewSweep, SweepStore
from store.transitions import Action, Status
from tests.store.store_parts import new_job, stackable
from tests.store.test_store_machine import Life, Seen


class SweepLife(Life):
    """The same with sweeps."""

    def __init__(self) -> None:
        super().__init__()
        self.store: SweepStore = SweepStore(self.redis)
        self.sweeps: list[str] = []

    @initialize(target=Life.jobs)
    def begin(self) -> Any:
        return self.create_sweep(3)

    @rule(target=Life.jobs, count=st.integers(2, 4))
    def create_sweep(self, count: int) -> Any:
        jobs = [new_job(stack=stackable("x"), point={"training.seed": place}) for place in range(count)]
        told: dict[str, Any] = {"objective": "val_loss", "direction": "minimize", "plan": {"list": []}}
        halving = Halving((1, 2), 2, maximize=False)
        sweep, made = self.store.create_sweep(NewSweep(dataset="digits", base={}, jobs=jobs, halving=halving, **told))
        assert made
        self.sweeps.append(sweep.id)
        ids = [member.id for member in self.store.members(sweep.id)]
        self.seen |= {job_id: Seen() for job_id in ids}
        return multiple(*ids)

    @rule(target=Life.jobs, count=st.integers(1, 2))
    def add_points(self, count: int) -> Any:
        """A user asks for more of the newest sweep, unless it was cancelled."""
        jobs = [new_job(stack=stackable("x"), point={"training.seed": place}) for place in range(count)]
        try:
            added = self.store.add_points(self.sweeps[-1], jobs, 1000)
        except Conflict:
            assert self.store.get_sweep(self.sweeps[-1]).cancelled_at_ms is not None
            return multiple()
        self.seen |= {job.id: Seen() for job in added}
        return multiple(*(job.id for job in added))

    @rule(claim=Life.claims, figure=st.sampled_from([0.1, 0.2, 0.3, None]), late=st.booleans())
    def halt(self, claim: Claim, figure: float | None, late: bool) -> None:
        """A worker stops where its claim says, which is not always where the trial has to stop by now."""
        if claim.job.halt_epoch is None:
            return
        held, before = self._holds(claim), self.store.get(claim.job_id)
        epoch = claim.job.halt_epoch if late else max(claim.job.halt_epoch, before.halt_epoch or 0)
        try:
            self.store.write(claim, progress={"epoch": epoch}, metrics={"val_loss": figure})
            after = self.store.finish(claim, Status.PAUSED, "rung")
        except Fenced:
            assert not held
            return
        assert held
        assert (after.status is Status.CANCELLED) == (before.status is Status.CANCELLING)

    @rule(which=st.integers(0, 3), figure=st.sampled_from([0.1, 0.3]))
    def advance(self, which: int, figure: float) -> None:
        """A worker takes the next trial of a sweep and trains it to where it has to stop."""
        queued = self.store.page(Status.QUEUED, sweep=self.sweeps[which % len(self.sweeps)]).items
        for claim in self.store.claim_also("w4", [job.id for job in queued[-1:]]):
            self.seen[claim.job_id].fence = claim.fence
            self.halt(claim, figure, late=False) if claim.job.halt_epoch else self.finish(claim, Status.SUCCEEDED)

    @rule(which=st.integers(0, 3), figure=st.sampled_from([0.1, 0.3, None]))
    def stop_early(self, which: int, figure: float | None) -> None:
        """A worker takes the next trial of a sweep, which gets no better before it has to stop."""
        queued = self.store.page(Status.QUEUED, sweep=self.sweeps[which % len(self.sweeps)]).items
        for claim in self.store.claim_also("w5", [job.id for job in queued[-1:]]):
            self.seen[claim.job_id].fence = claim.fence
            result, metrics = {"fence": claim.fence}, {"val_loss": figure}
            self.store.finish(claim, Status.SUCCEEDED, "early_stopped", result=result, metrics=metrics)

    @rule(which=st.integers(0, 3))
    def give_up(self, which: int) -> None:
        """A user cancels every trial of a sweep that does not wait at a rung."""
        for status in (Status.QUEUED, Status.RUNNING):
            for job in self.store.page(status, sweep=self.sweeps[which % len(self.sweeps)]).items:
                self.store.request(job.id, Action.CANCEL)

    @rule(which=st.integers(0, 9))
    def cancel_sweep(self, which: int) -> None:
        if which < len(self.sweeps):
            self.store.cancel_sweep(self.sweeps[which])

    @invariant()
    def nobody_waits_for_ever(self) -> None:
        """What is decided or still to be decided: a trial waits only while somebody of its sweep may yet move."""
        undecided = self.redis.smembers(keys.UNDECIDED)
        for sweep in self.sweeps:
            texts = self.redis.hgetall(keys.trials(sweep))
            trials = [trial_from_text(job_id.decode(), text.decode()) for job_id, text in texts.items()]
            waiting = any(trial.state is State.WAITING for trial in trials)
            moving = any(trial.state is State.TRAINING for trial in trials)
            assert not waiting or moving or sweep.encode() in undecided, texts


def test_no_sequence_leaves_a_trial_behind(valkey: EmbeddedServer) -> None:
    run_state_machine_as_test(
        type("SweepLifeOnServer", (SweepLife,), {"url": valkey.url}),
        settings=settings(
            max_examples=12,
            stateful_step_count=40,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
