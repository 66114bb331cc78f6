"""This project's engines, through the same choice that a job takes; and the ceilings of the device.

Orders of small data sets are drawn on the device; of others on the host while the device works, as in a job.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from bench.gpu.workloads import Array, Workload
from kernels.backend import select
from kernels.random import permutation
from kernels.rounding import dtype_of
from nets.engine import Engine, LayeredEngine
from nets.engines import engine_for
from nets.member import Member
from nets.persistent_engine import PersistentEngine
from nets.persistent_program import program_for
from nets.prepare import PreparedData
from nets.recorded_engine import RecordedEngine
from nets.spec import ResolvedSpec
from nets.step_shape import shape_of
from nets.trainer import DEVICE_CHUNK_S

MAX_CHUNK = 64


def members_of(workload: Workload, precision: str = "") -> list[Member]:
    """Models 0..M-1: seed i, learning rate i; in the workload's precision unless one is given."""
    precision = precision or workload.precision
    x, y = workload.data()
    data = PreparedData(
        x.astype(dtype_of(precision)), y, x[:0], y[:0], x.shape[1], workload.widths[-1], "classification"
    )
    hidden = list(workload.widths[1:-1])
    members = []
    for seed, rate in enumerate(workload.learning_rates()):
        net = {"hidden": hidden, "activation": [workload.activation] * len(hidden), "init": "he"}
        optimizer = {"name": "sgd", "learning_rate": float(rate), "momentum": workload.momentum, "l2": 0.0}
        training = {"batch_size": workload.batch, "epochs": 1_000_000, "seed": seed, "precision": precision}
        spec = {"net": net, "loss": "softmax", "optimizer": optimizer, "schedule": "constant", "training": training}
        members.append(Member(ResolvedSpec.model_validate(spec), data))
    return members


def inputs_of(workload: Workload) -> dict[str, Array]:
    """What peers get: flat weights (M, P), and rows (E, M, S, B) of the epochs of the gate."""
    members = members_of(workload)
    orders = [
        np.stack([permutation(seed, epoch, workload.rows) for seed in range(workload.models)])
        for epoch in range(workload.gate_epochs)
    ]
    shape = (workload.gate_epochs, workload.models, workload.steps_per_epoch, workload.batch)
    return {
        "weights": np.stack([member.initial_parameters() for member in members]),
        "rows": np.stack(orders).reshape(shape),
        "learning_rates": workload.learning_rates(),
    }


def reference_curve(workload: Workload) -> Array:
    """(steps, k) mean loss of every gate step by NumPy in float64, of the first and the last model of the stack."""
    members = members_of(workload, "float64")
    chosen = [members[0]] if len(members) == 1 else [members[0], members[-1]]
    singles = members_of(workload)
    starts = [singles[member.spec.training.seed].initial_parameters().astype(np.float64) for member in chosen]
    chosen = [replace(member, state={"parameters": start}) for member, start in zip(chosen, starts, strict=True)]
    return _train(LayeredEngine(chosen, select("cpu")), workload.gate_steps) / workload.batch


def _train(engine: Engine, steps: int) -> Array:
    done = 0
    while done < steps:
        chunk = min(steps - done, engine.max_chunk(), MAX_CHUNK)
        engine.advance(chunk)
        done += chunk
    return np.asarray(engine.drain())


class Ours:
    """What a job runs, without its metric points."""

    def __init__(self, workload: Workload, _inputs: dict[str, Array], device: str) -> None:
        self._workload, self._backend = workload, select(device)
        self._members = members_of(workload)
        self._engine = self._made()
        self._chunk = MAX_CHUNK

    def _made(self) -> Engine:
        return engine_for(self._members, self._backend)

    def about(self) -> dict[str, str]:
        """Versions, and which engine the job would use."""
        return {**self._backend.describe(), "engine": self._engine.name, **self._engine.details}

    def curve(self, steps: int) -> Array:
        """(steps, M) mean losses from the initial weights."""
        return _train(self._made(), steps) / self._workload.batch

    def run(self, epochs: int) -> None:
        """Train on in chunks as the trainer makes them; all losses are read, chunk by chunk."""
        left = epochs * self._workload.steps_per_epoch
        while left:
            steps, started = min(left, self._engine.max_chunk(), self._chunk), time.perf_counter()
            self._engine.advance(steps)
            self._engine.drain()
            took = time.perf_counter() - started
            self._chunk = max(1, min(int(DEVICE_CHUNK_S * steps / took), 8 * self._chunk))
            left -= steps

    def peak_mb(self) -> float | None:
        """Memory that CuPy's pool holds; it keeps what it once took."""
        if self._backend.device == "cpu":
            return None
        return float(self._backend.xp.get_default_memory_pool().total_bytes()) / 2**20

    def ceilings(self) -> dict[str, float]:
        """GB/s of a copy, TFLOP/s of products at the workload's shapes and at their best, µs of a launch."""
        return ceilings(self._backend, self._workload)


class OursLayered(Ours):
    """Layer by layer, whatever a job would run."""

    def _made(self) -> Engine:
        return LayeredEngine(self._members, self._backend)


class OursPersistent(Ours):
    """One thread block for each model. Raises ValueError where the net does not fit."""

    def _made(self) -> Engine:
        program = program_for(self._members[0], self._backend)
        if program is None:
            raise ValueError("the net does not fit one multiprocessor")
        return PersistentEngine(self._members, self._backend, program)


class OursRecorded(Ours):
    """Recorded steps. Raises ValueError, or RecordingFailed, where the device cannot."""

    def _made(self) -> Engine:
        shape, recorder = shape_of(self._members), self._backend.recorder
        if shape is None or recorder is None:
            raise ValueError("nothing records steps here")
        return RecordedEngine(self._members, self._backend, recorder, shape)


OURS: dict[str, type[Ours]] = {
    "ours": Ours,
    "ours_recorded": OursRecorded,
    "ours_persistent": OursPersistent,
    "ours_layered": OursLayered,
}
"""What a job runs by the cost rule, and every engine that the rule chooses among."""


def ceilings(backend: Any, workload: Workload) -> dict[str, float]:
    """The device's own limits, measured through the same array library."""
    xp, found = backend.xp, dict(_of_device(backend.device))
    for i, o in zip(workload.widths, workload.widths[1:], strict=False):
        left = xp.ones((workload.models, workload.batch, i), np.float32)
        right = xp.ones((workload.models, i, o), np.float32)
        product = xp.empty((workload.models, workload.batch, o), np.float32)
        seconds = _seconds(backend, lambda a=left, b=right, c=product: xp.matmul(a, b, out=c))
        found[f"gemm_{workload.batch}x{i}x{o}_tflop_s"] = (
            2.0 * workload.models * workload.batch * i * o / seconds / 1e12
        )
    return {name: round(value, 4) for name, value in found.items()}


@lru_cache(maxsize=1)
def _of_device(device: str) -> tuple[tuple[str, float], ...]:
    """Those that no workload changes, measured once."""
    backend = select(device)
    xp, large = backend.xp, 8192 if device != "cpu" else 1024
    a, out = xp.ones((large, large), np.float32), xp.empty((large, large), np.float32)
    tiny = xp.ones(1, np.float32)
    return (
        ("copy_gb_s", 2 * a.nbytes / _seconds(backend, lambda: xp.copyto(out, a)) / 1e9),
        (f"gemm_{large}_tflop_s", 2.0 * large**3 / _seconds(backend, lambda: xp.matmul(a, a, out=out)) / 1e12),
        ("launch_us", _seconds(backend, lambda: xp.add(tiny, tiny, out=tiny)) * 1e6),
    )


def _seconds(backend: Any, call: Any) -> float:
    """Of one call, from a batch of them that takes 50 ms or more; the best of five batches."""
    call()
    backend.synchronize()
    count, best = 1, float("inf")
    for attempt in range(40):
        started = time.perf_counter()
        for _ in range(count):
            call()
        backend.synchronize()
        took = time.perf_counter() - started
        if took < 0.05 and attempt < 35:
            count *= 2
            continue
        best = min(best, took / count)
        if attempt >= 4 + int(np.log2(count)):
            break
    return best
