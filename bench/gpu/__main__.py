"""`python -m bench.gpu [W1 W4:tf32 ...] [--peers PYTHON] [--device cuda:0]`: all on one GPU.

`ours` is what a job runs by the cost rule of `nets.engines`; beside it stand all engines that the rule chooses among,
so that one run says whether it chose well.

`--peers` is the interpreter of an environment with torch and JAX; this project does not install them. First the
ceilings of the device; then all implementations train on the same batches from the same weights and must show the
losses of NumPy in float64, and one that does not prints no time; then they are timed in turn, so that what disturbs the
machine disturbs all. Everything goes to bench/results/gpu.json with hardware and versions.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.gpu.device import require
from bench.gpu.ours import OURS, inputs_of, reference_curve
from bench.gpu.peers import NEED_CUDA, PEERS
from bench.gpu.workloads import WORKLOADS, Workload
from bench.harness import write_result

TOLERANCES = {"float32": 1e-4, "tf32": 2e-3, "bfloat16": 1e-2}
"""Largest relative distance of a step's loss from float64, by the precision of products."""
REPEATS, SECONDS = 7, 0.2
DEFAULT = ("W1", "W3", "W7", "W4", "W5", "W4:tf32", "W5:tf32", "W5:bfloat16", "W6")
CLAIM = "time of a training step on one GPU beside PyTorch and JAX, after equal losses"
ROOT = Path(__file__).resolve().parents[2]


class Process:
    """One implementation in its own process; `failed` says why it is out."""

    def __init__(self, python: str, name: str) -> None:
        self.name, self.failed = name, ""
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `close` does
        self._process = subprocess.Popen(
            [python, "-m", "bench.gpu.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
        )

    def ask(self, *command: Any) -> dict[str, Any]:
        """The answer to a command; empty once the implementation has failed."""
        self.tell(*command)
        return self.answer()

    def tell(self, *command: Any) -> None:
        """Give a command and go on; `answer` waits for it."""
        if not self.failed and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(command) + "\n")
                self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """See ask."""
        if self.failed or self._process.stdout is None:
            return {}
        for line in self._process.stdout:
            if line.startswith("="):
                answer: dict[str, Any] = json.loads(line[1:])
                self.failed = answer.get("error", "")
                return {} if self.failed else answer
        self.failed = f"its process ended with {self._process.wait()}: {self._said()}"
        return {}

    def _said(self) -> str:
        """The last line of its errors."""
        self._errors.seek(0)
        return (self._errors.read().strip().splitlines() or ["it said nothing"])[-1][:300]

    def close(self) -> None:
        """End the process by closing its input."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=60)
        self._errors.close()


def compare(workload: Workload, running: Sequence[Process], device: str) -> dict[str, Any]:
    """All figures of one workload."""
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        np.savez(inputs, **inputs_of(workload))
        for one in running:
            one.failed = ""
            one.tell("load", one.name, workload.name, workload.precision, str(inputs), device)
        reference = reference_curve(workload)
        figures: dict[str, Any] = {one.name: one.answer() for one in running}
    return _compare(workload, running, figures, reference)


def _compare(
    workload: Workload, running: Sequence[Process], figures: dict[str, Any], reference: np.ndarray[Any, Any]
) -> dict[str, Any]:
    allowed = TOLERANCES[workload.precision]
    ceilings = running[0].ask("ceilings").get("ceilings", {})
    for one in running:
        losses = np.array(one.ask("curve", workload.gate_steps).get("losses", []))
        if not one.failed:
            distance = float(np.max(np.abs(losses - reference) / np.abs(reference)))
            figures[one.name]["distance"] = distance
            if not distance <= allowed:
                one.failed = f"its losses are {distance:.1e} from float64; at most {allowed:g} is allowed"
    times: dict[str, list[float]] = {one.name: [] for one in running}
    for repeat in range(REPEATS + 1):
        for one in running if repeat % 2 else reversed(running):
            took = one.ask("time", SECONDS)
            if took and repeat:  # the first round warms up and finds how many epochs are long enough
                times[one.name].append(took["seconds"] / took["epochs"] / workload.steps_per_epoch)
                figures[one.name]["peak_mb"] = took["peak_mb"]
    best = max((value for name, value in ceilings.items() if name.endswith("tflop_s")), default=0.0)
    for one in running:
        figures[one.name] |= {"failed": one.failed} if one.failed else _summary(workload, times[one.name], best)
    return {"ceilings": ceilings, **figures}


def _summary(workload: Workload, seconds: list[float], ceiling: float) -> dict[str, float]:
    """Of one step of all models: median and quartile distance in µs, rows a second, share of the best product."""
    low, median, high = statistics.quantiles(seconds, n=4)
    return {
        "step_us": round(median * 1e6, 2),
        "iqr_us": round((high - low) * 1e6, 2),
        "samples_per_s": round(workload.models * workload.batch / median),
        "share_of_gemm": round(workload.flops() / median / (ceiling * 1e12), 4) if ceiling else 0.0,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "workloads", nargs="*", default=DEFAULT, help="W1 is in float32; W4:tf32 rounds the factors of products to TF32"
    )
    parser.add_argument("--peers", default=sys.executable, help="interpreter that has torch and jax")
    parser.add_argument("--without", nargs="*", default=[], help="implementations that are left out")
    parser.add_argument("--device", default="cuda:0", help="cuda:N, or cpu to try the benchmark itself")
    given = parser.parse_args()
    workloads = {name: workload_of(name) for name in given.workloads}
    require(given.device)
    names = [name for name in _implementations(given.peers, given.device) if name not in given.without]
    figures: dict[str, Any] = {}
    with ExitStack() as stack:
        running = [Process(sys.executable if name in OURS else given.peers, name) for name in names]
        for one in running:
            stack.callback(one.close)
        for title, workload in workloads.items():
            print(f"== {title}: {', '.join(names)}", flush=True)
            figures[title] = compare(workload, running, given.device)
            print(_table(figures[title]), flush=True)
            if given.device != "cpu":  # at once: a lent device may go before the last workload
                write_result("gpu", CLAIM, "python -m bench.gpu --peers PYTHON", figures)
    return 1 if any(one["ours"].get("failed") for one in figures.values()) else 0


def workload_of(title: str) -> Workload:
    """The workload that a title like W4:tf32 names. Raises SystemExit for a name that there is not."""
    name, _, precision = title.partition(":")
    precision = precision or "float32"
    if name not in WORKLOADS or precision not in TOLERANCES:
        raise SystemExit(f"no {title}; there are {', '.join(WORKLOADS)}, each with :{', :'.join(TOLERANCES)}")
    return replace(WORKLOADS[name], precision=precision)


def _implementations(peers: str, device: str) -> list[str]:
    """Names of what can run here: all of ours on a GPU, and peers whose library that interpreter has."""
    found = subprocess.run(
        [peers, "-c", "from bench.gpu.peers import installed; print(*installed())"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout.split()
    ours = [name for name in OURS if name == "ours" or device != "cpu"]
    return [*ours, *(name for name in PEERS if name in found and (device != "cpu" or name not in NEED_CUDA))]


def _table(figures: dict[str, Any]) -> str:
    """One line for the ceilings and each implementation."""
    lines = [f"{name:16} {json.dumps(one)}" for name, one in figures.items()]
    return "\n".join(line[:600] for line in lines)


if __name__ == "__main__":
    raise SystemExit(main())
