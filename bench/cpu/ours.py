"""Our side: `nets.trainer.fit`, as a job runs it, with validation, metric points, control and checkpoints."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from bench.cpu.workloads import Workload, initial, rows_of
from kernels.numpy_backend import NumpyBackend
from nets.member import Member, State
from nets.prepare import PreparedData
from nets.resolve import resolve
from nets.spec import ResolvedSpec, TrainingSpec
from nets.table import Table
from nets.trainer import Command, Outcome, fit


class Listener:
    """Report and control of a run: keeps the curve."""

    def __init__(self, jobs: int) -> None:
        self.losses: list[list[float]] = [[] for _ in range(jobs)]
        self.engine = ""

    def started(self, member: int, info: dict[str, Any]) -> None:  # noqa: ARG002
        self.engine = f"{info['engine']}, {info['threads']} BLAS threads"

    def metric(self, member: int, point: dict[str, Any]) -> None:
        self.losses[member].append(point["train_loss"])

    def checkpoint(self, member: int, state: State, step: int, epoch: int) -> None:
        pass

    def finished(self, member: int, outcome: Outcome) -> None:
        pass

    def command(self, member: int) -> Command:  # noqa: ARG002
        return Command.CONTINUE


class Mlpq:
    """The adapter that the driver times."""

    def __init__(self, w: Workload) -> None:
        self._w = w
        x, y = rows_of(w)  # peers train on the same rows, and validate on none
        task = "regression" if w.regression else "classification"
        self._data = PreparedData(x[: w.rows], y[: w.rows], x[w.rows :], y[w.rows :], w.widths[0], w.widths[-1], task)
        self._backend = NumpyBackend()
        self.note = ""
        self._specs: dict[int, list[ResolvedSpec]] = {}

    def _resolve(self, learning_rate: float, epochs: int) -> ResolvedSpec:
        """What the service does when a job is submitted."""
        w = self._w
        outputs = w.widths[-1]
        optimizer: dict[str, Any] = {"name": w.optimizer, "learning_rate": learning_rate, "l2": w.decay / 2}
        if w.optimizer == "sgd":
            optimizer["momentum"] = w.momentum
        spec = {
            "net": {"hidden": list(w.widths[1:-1]), "activation": w.activation, "bias": w.bias},
            "loss": {"name": "squared_error", "reduction": "sum"} if w.regression else "softmax",
            "optimizer": optimizer,
            "schedule": "constant",
            "training": {"epochs": epochs, "batch_size": w.batch_size, "precision": w.precision},
        }
        few = np.arange(2 * outputs) % outputs
        classes = None if w.regression else [str(c) for c in range(outputs)]
        about = Table.from_arrays(np.zeros((len(few), w.widths[0])), few, self._data.task, classes=classes).info
        return resolve(TrainingSpec.parse(spec), replace(about, n_rows=2 * w.rows))

    def _member(self, seed: int, resolved: ResolvedSpec) -> Member:
        training = resolved.training.model_copy(update={"seed": seed})
        member = Member(resolved.model_copy(update={"training": training}), self._data)
        named = {}
        for place, (weights, bias) in enumerate(initial(self._w, seed), start=1):
            named |= {f"W{place}": weights} | ({} if bias is None else {f"b{place}": bias})
        state = {"parameters": member.layout.flat(named, member.dtype), "step": np.zeros((), np.int64)}
        return replace(member, state=state)

    def run(self, epochs: int) -> list[list[float]]:
        """Train all jobs; the loss of every epoch of every job."""
        if epochs not in self._specs:
            self._specs[epochs] = [self._resolve(rate, epochs) for rate in self._w.learning_rates()]
        members = [self._member(seed, spec) for seed, spec in enumerate(self._specs[epochs], start=1)]
        listener = Listener(len(members))
        fit(members, self._backend, listener, listener)
        self.note = listener.engine
        return listener.losses
