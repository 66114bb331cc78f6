"""Training: a stack of models runs in chunks of steps; between chunks it is measured, saved, steered.

The wall clock decides only how long a chunk is, when a checkpoint is written and what samples_per_s says;
weights, optimizer state and metric points depend on none of these.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.backend import Backend
from kernels.errors import InvalidInput
from nets.batches import OwnRows
from nets.divergence import find_divergence
from nets.engines import engine_for, evaluator_for, rows_for
from nets.evaluate import Measured
from nets.folds import Folded
from nets.member import Member
from nets.progress import Progress, finite_or_none
from nets.report import INTERRUPTED, Command, Control, Ending, Outcome, Report
from nets.resolve import stack_key
from nets.threads import available_threads, blas_threads, threads_for
from nets.throughput import Throughput

__all__ = ["CHUNK_S", "KEEP_S", "Command", "Control", "Ending", "Outcome", "Report", "fit", "threads_of"]

CHUNK_S = 0.1
"""Longest time between two looks at `control`, in seconds."""
DEVICE_CHUNK_S = 0.05
"""The same where the steps are enqueued on a device."""
KEEP_S = 1.0
"""Least time between two copies of the last good state, in seconds."""
KEEP_SHARE = 0.01
"""Largest part of the time that they may take."""


def fit(
    members: Sequence[Member],
    backend: Backend,
    report: Report,
    control: Control,
    *,
    threads: int | None = None,
    clock: Callable[[], float] = time.monotonic,
    boarders: Callable[[], Sequence[Member]] = tuple,
) -> None:
    """Train a stack of models to their ends, each with its folds.

    `boarders` is asked between chunks for models that join the stack, whose numbers go on from those given, and once
    more when all have left; no bit of anybody depends on when they come.
    `threads` are the most threads of any kind; those of BLAS are chosen from one model's shapes unless given here.
    The last bits of a large BLAS product depend on them, so a resumed run keeps the number that its checkpoint names.
    Raises InvalidInput if models cannot share a stack; what `report` or `control` raise ends the run and comes through.
    """
    unfolded: Callable[[Sequence[Member]], Sequence[Member]] = tuple
    if any(member.folds for member in members):
        folded = Folded(members, report, control)
        members, report, control, unfolded = folded.members, folded, folded, folded.join
    agreed, count = _agreed(members), threads_of(members, threads)
    side_by_side = min(available_threads(), threads or available_threads())
    with blas_threads(count) if backend.device == "cpu" else nullcontext(), np.errstate(all="ignore"):
        run = _Run(members, agreed, backend, report, control, clock, count, side_by_side)
        del members  # what a model that leaves was trained on is free
        run.start()
        while run.active:
            run.advance()
            run.after_chunk()
            run.board(unfolded(boarders()))


def threads_of(members: Sequence[Member], threads: int | None = None) -> int:
    """The BLAS threads of a run of these: those of its checkpoints, else those given, else by one model's shapes."""
    chosen = _recorded_threads(members) or threads
    return chosen or threads_for(members[0].layout.widths, members[0].spec.training.batch_size)


def _recorded_threads(members: Sequence[Member]) -> int | None:
    """The BLAS threads that the checkpoints were made with, if any."""
    recorded = {int(m.state["threads"]) for m in members if m.state is not None and "threads" in m.state}
    if len(recorded) > 1:
        raise InvalidInput.at("/members", f"were begun with different numbers of BLAS threads: {sorted(recorded)}")
    return next(iter(recorded), None)


def _agreed(members: Sequence[Member], before: Hashable = None) -> Hashable:
    """What these models agree in, and with those before. Raises InvalidInput where they do not."""
    if not members:
        raise InvalidInput.at("/members", "is empty; must hold at least one model")
    found = {
        (stack_key(m.spec, m.data.n_inputs, m.data.n_outputs, m.data.task), len(m.data.x_val) > 0) for m in members
    }
    if len(found) > 1 or before not in (None, *found):
        raise InvalidInput.at("/members", "differ in shape, activations, loss, optimizer, batch size or precision")
    return found.pop()


@dataclass
class _Clocks:
    """Wall-clock readings of the run, in seconds."""

    chunk_steps: int = 4
    kept: float = 0.0
    keep_after: float = KEEP_S
    chunk_ended: float = 0.0
    checkpoint: dict[int, float] = field(default_factory=dict)


class _Run:
    """One call of `fit`. `active[position]` is the member at that position of the engine."""

    def __init__(
        self,
        members: Sequence[Member],
        agreed: Hashable,
        backend: Backend,
        report: Report,
        control: Control,
        clock: Callable[[], float],
        threads: int,
        side_by_side: int,
    ) -> None:
        self._agreed, self._threads = agreed, threads
        self._side_by_side = side_by_side
        self._members, self._backend, self._report, self._control = dict(enumerate(members)), backend, report, control
        self._clock, self._clocks = clock, _Clocks()
        self._chunk_s = CHUNK_S if backend.device == "cpu" else DEVICE_CHUNK_S
        self._progress = {member: Progress(one) for member, one in self._members.items()}
        self._points: dict[int, tuple[int, Measured | None]] = {}
        self._throughputs: dict[int, Throughput] = {}
        self._score = "accuracy" if members[0].data.task == "classification" else "r2"
        self._known_models = len(members)
        self.active = list(self._members)
        self._equip()

    def _equip(self) -> None:
        """Engine and evaluators for the active models, each from its state."""
        members, backend = [self._members[member] for member in self.active], self._backend
        self._place = {member: place for place, member in enumerate(self.active)}  # as the evaluators count
        rows = rows_for(members, "train", backend)
        self._train = evaluator_for(members, backend, "train", rows, self._side_by_side)
        self._val = None
        if len(members[0].data.x_val) > 0:
            self._val = evaluator_for(members, backend, "val", rows_for(members, "val", backend), self._side_by_side)
        self._engine = engine_for(members, backend, rows, self._val, self._side_by_side)

    # ---- the loop

    def start(self) -> None:
        """Tell that the runs begin."""
        self._clocks.kept = self._clock()
        self._begin(self.active)

    def _begin(self, members: Sequence[int]) -> None:
        """Tell that these models begin or go on; those whose steps are all done leave at once."""
        now = self._clock()
        for member in members:
            self._clocks.checkpoint[member] = now
            self._throughputs[member] = Throughput(now, self._progress[member].step)
            one = self._members[member]
            info = {"steps": one.total_steps, "parameters": one.layout.count, "threads": self._threads}
            engine = {"engine": self._engine.name, **self._engine.details}
            self._report.started(member, {**self._backend.describe(), **engine, **info})
        halted = [member for member in members if self._progress[member].halted]
        for member in halted:
            self._checkpoint(member)
        ended: dict[int, tuple[Ending, str | None]] = dict.fromkeys(halted, (Ending.HALTED, None))
        ended |= {member: (Ending.COMPLETED, None) for member in members if self._progress[member].done}
        self._finish_where(ended)

    def board(self, newcomers: Sequence[Member]) -> None:
        """Take further models into the stack; the others go on from where they are, as after a pause."""
        if not newcomers:
            return
        _agreed(newcomers, self._agreed)
        if _recorded_threads(newcomers) not in (None, self._threads):
            raise InvalidInput.at("/members", f"were not begun with {self._threads} BLAS threads")
        numbers = range(self._known_models, self._known_models + len(newcomers))
        self._known_models += len(newcomers)
        self._members |= zip(numbers, newcomers, strict=True)
        self._progress |= {number: Progress(self._members[number]) for number in numbers}
        if self.active:
            self._leave_diverged(self._engine.finite())  # the present state becomes the last good one
        if self._engine.grows and self.active:
            self._grow(numbers)
        else:
            for position, member in enumerate(self.active):
                self._members[member] = replace(self._members[member], state=self._engine.state(position))
            self.active += numbers
            self._equip()
        self._begin(numbers)

    def _grow(self, numbers: Sequence[int]) -> None:
        """Engine and evaluators go on with these, too: nobody's state moves."""
        stay, newcomers = self._places(self.active), [self._members[number] for number in numbers]
        rows = OwnRows.of(newcomers, "train")
        self._train.admit(stay, newcomers, rows)
        if self._val:
            self._val.admit(stay, newcomers, OwnRows.of(newcomers, "val"))
        self._engine.admit(newcomers, rows)
        self.active += numbers
        self._place = {member: place for place, member in enumerate(self.active)}

    def advance(self) -> None:
        """Run one chunk: to where something has to be decided, but no longer than CHUNK_S."""
        before = self._clock()
        to_halt = min(self._progress[member].steps_to_halt for member in self.active)
        steps = min(self._engine.max_chunk(), self._clocks.chunk_steps, to_halt)
        self._engine.advance(steps)
        sums = self._engine.drain()  # the one wait for the device
        self._clocks.chunk_ended = self._clock()
        took = max(self._clocks.chunk_ended - before, 1e-6)
        self._clocks.chunk_steps = max(1, min(int(self._chunk_s * steps / took), 8 * self._clocks.chunk_steps))
        finite = np.isfinite(sums)
        sound = np.where(finite.all(axis=0), len(sums), finite.argmin(axis=0)).tolist()
        whole = np.ones(len(sound), np.bool_)
        for position, member in enumerate(self.active):
            whole[position] = self._account(position, sums[:, position], sound[position])
            self._progress[member].elapsed_s += took
        self._leave_diverged(whole)

    def _account(self, position: int, sums: NDArray[np.float64], sound: int) -> bool:
        """Add up one model's steps, of which the first `sound` are finite, and report the points that it passed.

        False if it was not finite at one of them, or in a step.
        """
        member, done = self.active[position], 0
        progress = self._progress[member]
        last_step = progress.step + len(sums)
        for crossing in self._engine.crossed(position):
            if not crossing.finite or crossing.done > sound:
                return False
            progress.add(sums[done : crossing.done])
            self._report_point(member, crossing.measured, last_step)
            done = crossing.done
        progress.add(sums[done:])
        return sound == len(sums)

    def after_chunk(self) -> None:
        """Everything that happens between chunks, in an order that does not depend on the clock."""
        at_point = [member for member in self.active if self._progress[member].at_point]
        if at_point:
            self._leave_diverged(self._engine.finite())
            self._finish_where(self._measure([m for m in at_point if m in self.active]))
        self._obey()
        self._save()

    # ---- between chunks

    def _measure(self, due: Sequence[int]) -> dict[int, tuple[Ending, str | None]]:
        """Report the metric points that are due; tell who has ended by them."""
        if not due:
            return {}
        positions = [self.active.index(member) for member in due]
        measured: Sequence[Measured | None] = [None] * len(due)
        if self._val:
            measured = self._engine.measure(self._val, positions, self._places(due))
        stops = any(self._progress[member].stopping for member in due)
        weights = self._engine.weights(positions) if stops else None
        ended: dict[int, tuple[Ending, str | None]] = {}
        for place, (member, val) in enumerate(zip(due, measured, strict=True)):
            progress = self._progress[member]
            train_loss = self._report_point(member, val, progress.step)
            flat = np.empty(0) if weights is None else weights[place]
            if progress.should_stop(train_loss, val, flat):
                ended[member] = (Ending.EARLY_STOPPED, f"no better than at epoch {progress.best.epoch}")
            if progress.done:
                ended[member] = (Ending.COMPLETED, None)
        return ended

    def _report_point(self, member: int, val: Measured | None, last_step: int) -> float:
        """Tell the point where the model stands, in a chunk that ended with `last_step`; its training loss."""
        progress = self._progress[member]
        self._points[member] = progress.step, val
        train_loss = progress.close_interval()
        steps_per_s = self._throughputs[member].at(self._clocks.chunk_ended, last_step)
        point: dict[str, Any] = {
            "step": progress.step,
            "epoch": progress.epoch,
            "train_loss": finite_or_none(train_loss),
            "val_loss": None if val is None else finite_or_none(val.loss),
            f"val_{self._score}": None if val is None else finite_or_none(val.score),
            "learning_rate": progress.learning_rate(),
            "samples_per_s": round(steps_per_s * progress.rows_per_step, 1),
        }
        self._report.metric(member, point)
        return train_loss

    def _obey(self) -> None:
        """Carry out what `control` wants, and the limit on running time."""
        endings = {Command.PAUSE: Ending.PAUSED, Command.CANCEL: Ending.CANCELLED}
        ended: dict[int, tuple[Ending, str | None]] = {}
        for member in self.active:
            command = self._control.command(member)
            limit = self._members[member].spec.training.max_runtime_s
            if command is not Command.CANCEL and self._progress[member].halted:
                ended[member] = (Ending.HALTED, None)
            elif command in endings:
                ended[member] = (endings[command], None)
            elif limit is not None and self._progress[member].elapsed_s >= limit:
                ended[member] = (Ending.EARLY_STOPPED, f"max_runtime_s of {limit:g} reached")
        if ended:
            self._leave_diverged(self._engine.finite())
            ended = {member: ending for member, ending in ended.items() if member in self.active}
            for member in (m for m, (kind, _) in ended.items() if kind in INTERRUPTED):
                self._checkpoint(member)
            self._finish_where(ended)

    def _save(self) -> None:
        """Copy the good state now and then, write the checkpoints that are due; only finite states."""
        now = self._clock()
        past = {member: now - self._clocks.checkpoint[member] for member in self.active}
        due = [m for m, seconds in past.items() if seconds >= self._members[m].spec.training.checkpoint_every_s]
        if not self.active or not (due or now - self._clocks.kept >= self._clocks.keep_after):
            return
        self._leave_diverged(self._engine.finite())
        self._engine.keep_copy()
        self._clocks.kept = self._clock()
        self._clocks.keep_after = max(KEEP_S, (self._clocks.kept - now) / KEEP_SHARE)
        due = [member for member in due if member in self.active]
        for member in due:
            self._checkpoint(member)
        self._clocks.checkpoint.update(dict.fromkeys(due, self._clock()))  # what is due together stays so

    def _checkpoint(self, member: int) -> None:
        progress = self._progress[member]
        state = self._engine.state(self.active.index(member)) | progress.state()
        state["threads"] = np.array(self._threads, np.int64)
        self._report.checkpoint(member, state, progress.step, progress.epoch)

    # ---- leaving the stack

    def _leave_diverged(self, finite: NDArray[np.bool_]) -> None:
        """Models with non-finite numbers leave, with the step and tensor named; the others are not touched."""
        bad = [position for position in range(len(self.active)) if not finite[position]]
        for position in bad:
            member, steps = self.active[position], self._engine.steps()[position]
            good = self._engine.kept_state(position)
            found = find_divergence(self._members[member], good, steps, self._backend)
            step = found.error.step
            outcome = Outcome(
                Ending.DIVERGED,
                step,
                step // self._members[member].steps_per_epoch,
                self._final_metrics([], {member: found.parameters})[member],
                self._members[member].layout.named(found.parameters),
                error=str(found.error),
            )
            self._report.finished(member, outcome)
        self._drop(bad)

    def _finish_where(self, ended: dict[int, tuple[Ending, str | None]]) -> None:
        """Measure the models that ended, report them, and go on with the others."""
        if not ended:
            return
        positions = [self.active.index(member) for member in ended]
        weights = self._engine.weights(positions)
        last = {
            member: flat if kind in INTERRUPTED or best is None else best
            for flat, (member, (kind, _)) in zip(weights, ended.items(), strict=True)
            for best in (self._progress[member].best.parameters,)
        }
        measured = [member for member, (kind, _) in ended.items() if kind not in INTERRUPTED]
        unchanged = [member for member in measured if self._progress[member].best.parameters is None]
        given = {member: last[member] for member in measured if member not in unchanged}
        metrics = self._final_metrics(unchanged, given)
        for member, (kind, reason) in ended.items():
            progress, named = self._progress[member], self._members[member].layout.named(last[member])
            found = metrics.get(member, {})
            self._report.finished(member, Outcome(kind, progress.step, progress.epoch, found, named, reason=reason))
        self._drop(positions)

    def _drop(self, positions: Sequence[int]) -> None:
        if positions:
            stay = [position for position in range(len(self.active)) if position not in positions]
            gone = [self.active[position] for position in positions]
            self.active = [self.active[position] for position in stay]
            for member in gone:  # a stack that others board may live for long
                del self._members[member], self._progress[member], self._place[member], self._throughputs[member]
                del self._clocks.checkpoint[member]
                self._points.pop(member, None)
            if stay:
                self._engine.keep(stay)

    def _final_metrics(
        self, live: Sequence[int], weights: Mapping[int, NDArray[Any]]
    ) -> dict[int, dict[str, float | None]]:
        """Loss and score over training rows (`rows_looked_at` of them) and all validation rows.

        Of models as the engine has them, and of others whose weights (P,) are given.
        """
        metrics: dict[int, dict[str, float | None]] = {member: {} for member in (*live, *weights)}
        given = self._backend.to_device(np.stack(list(weights.values()))) if weights else None
        for part, evaluator in (("train", self._train), ("val", self._val)):
            if evaluator is None:
                continue
            known = {member: self._known(member) for member in live if part == "val"}
            measured = {member: val for member, val in known.items() if val is not None}
            rest = [member for member in live if member not in measured]
            if rest:
                positions = [self.active.index(member) for member in rest]
                found = self._engine.measure(evaluator, positions, self._places(rest))
                measured |= zip(rest, found, strict=True)
            if weights:
                found = evaluator.measure(given, self._places(list(weights)))
                measured |= zip(weights, found, strict=True)
            for member, one in measured.items():
                metrics[member][f"{part}_loss"] = finite_or_none(one.loss)
                metrics[member][f"{part}_{self._score}"] = finite_or_none(one.score)
        return metrics

    def _places(self, members: Sequence[int]) -> list[int]:
        return [self._place[member] for member in members]

    def _known(self, member: int) -> Measured | None:
        """The validation figures of the model's present step, where its last metric point has them."""
        step, val = self._points.get(member, (-1, None))
        return val if step == self._progress[member].step else None
