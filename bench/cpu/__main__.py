"""`python -m bench.cpu [W1 ...] [--peers PYTHON]`: train every workload here and with each peer, side by side.

`--peers` is the interpreter of an environment with torch and JAX (bench/cpu/README.md); this project does not
install them. First all implementations train a few epochs on the same batches from the same weights and must show the
same losses; then they are timed in turn, so that what disturbs the machine disturbs all, and medians are compared. Ours
and the best of the others go on by themselves for some rounds: theirs is the ratio that is told.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.cpu import report
from bench.cpu.ceiling import CEILING, FLOPS
from bench.cpu.peers import PEERS, fits
from bench.cpu.workloads import WORKLOADS, Workload, gemm_flops
from bench.harness import write_result

CHECK_EPOCHS = {"W1": 40, "W2": 200, "W3": 10, "W3:float64": 10}
TOLERANCE = 2e-3
"""Largest relative distance of an epoch's loss from ours."""
LONG_S, FEW_ROUNDS = 200.0, 3
"""Seconds after which no further round of a workload begins, and rounds that it has in any case."""
FINAL_S, FINAL_ROUNDS = 40.0, 20
"""The same of the rounds that ours and the best of the others have by themselves, and how many they are at most."""


class Process:
    """A worker process of one implementation."""

    def __init__(self, python: str, name: str, workload: str) -> None:
        self.name = name
        command = [python, "-m", "bench.cpu.worker", name, workload]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def ask(self, epochs: int, times: int = 1) -> dict[str, Any] | None:
        """Train; None if the process has died, because the peer is not installed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"epochs": epochs, "times": times}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        line = self._process.stdout.readline()
        answer: dict[str, Any] | None = json.loads(line) if line else None
        return answer

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


def compare(w: Workload, peers_python: str, against: Sequence[str], rounds: int, seconds: float) -> dict[str, Any]:
    """The figures of one workload: medians of up to `rounds` runs of at least `seconds` each, more of the two best."""
    pythons = {"mlpq": sys.executable} | {name: peers_python for name in against if fits(name, w)}
    processes = [Process(python, name, w.name) for name, python in pythons.items()]
    checked = _check(w, processes)
    processes.append(Process(sys.executable, CEILING, w.name))
    present = [process for process in processes if process.name in checked or process.name == CEILING]
    times: dict[str, int] = {}
    for process in present:
        process.ask(w.epochs)  # warm
        first = process.ask(w.epochs)
        assert first is not None
        times[process.name] = max(1, round(seconds / first["seconds"]))
    runs: dict[str, list[dict[str, Any]]] = {process.name: [] for process in present}
    busy: list[float] = []

    def take_turns(some: Sequence[Process], most: int, least: int, within_s: float) -> None:
        begun = time.perf_counter()
        for done in range(most):
            if done >= least and time.perf_counter() - begun > within_s:
                break
            for process in some:
                before, start = _busy_s(), time.perf_counter()
                answer = process.ask(w.epochs, times[process.name])
                assert answer is not None
                own = answer["cpu_s"] * times[process.name]
                busy.append((_busy_s() - before - own) / (time.perf_counter() - start))
                runs[process.name].append(answer)

    take_turns(present, rounds, FEW_ROUNDS, LONG_S)
    best = best_of({name: _median_s(answers) for name, answers in runs.items() if name != CEILING})
    if best != "mlpq":
        take_turns([process for process in present if process.name in ("mlpq", best)], FINAL_ROUNDS, 0, FINAL_S)
    for process in processes:
        process.close()
    return _figures(w, runs, checked, busy, best)


def _median_s(answers: Sequence[dict[str, Any]]) -> float:
    return statistics.median(answer["seconds"] for answer in answers)


def best_of(seconds: Mapping[str, float]) -> str:
    """The fastest of the others; ours where there are none."""
    return min((name for name in seconds if name != "mlpq"), key=lambda name: seconds[name], default="mlpq")


def _check(w: Workload, processes: list[Process]) -> dict[str, float]:
    """Largest relative distance of every peer's losses from ours; raises where they do not agree."""
    epochs = min(w.epochs, CHECK_EPOCHS.get(w.name, 2))
    ours, found = np.zeros(0), {}
    for process in processes:
        answer = process.ask(epochs)
        if answer is None:
            print(f"{process.name} is not installed", file=sys.stderr)
            continue
        losses = np.array(answer["losses"])
        ours = losses if process.name == "mlpq" else ours
        scale = np.maximum(np.abs(ours), 1e-3 * np.abs(ours).max())
        found[process.name] = float((np.abs(losses - ours) / scale).max())
        if found[process.name] > TOLERANCE:
            raise SystemExit(f"{w.name}: the losses of {process.name} are {found[process.name]:.1e} away from ours")
    return found


def _busy_s() -> float:
    """CPU seconds that all processes of the machine have used."""
    numbers = [int(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(numbers) - numbers[3] - numbers[4]) / os.sysconf("SC_CLK_TCK")


def _figures(
    w: Workload, runs: dict[str, list[dict[str, Any]]], distances: dict[str, float], busy: list[float], best: str
) -> dict[str, Any]:
    found = {}
    ceiling = FLOPS / _median_s(runs.pop(CEILING)) / 1e9
    medians = {name: _median_s(answers) for name, answers in runs.items()}
    for name, answers in runs.items():
        seconds = medians[name]
        found[name] = {
            "us_per_step": round(seconds / w.steps * 1e6, 2),
            "samples_per_s": round(w.rows * w.epochs * w.jobs / seconds),
            "gflops": round(gemm_flops(w) / seconds / 1e9, 1),
            "of_ceiling": round(gemm_flops(w) / seconds / 1e9 / ceiling, 3),
            "seconds": [round(answer["seconds"], 4) for answer in answers],
            "loss_distance": float(f"{distances[name]:.1e}"),
            "note": answers[0]["note"],
        }
    return {
        "title": w.title,
        "best_peer": best,
        "times_best_peer": round(medians[best] / medians["mlpq"], 2),
        "ceiling_gflops": round(ceiling, 1),
        "foreign_cores": round(statistics.median(busy), 2),
        "implementations": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", choices=[*WORKLOADS, []], default=[])
    parser.add_argument("--peers", default=os.environ.get("MLPQ_PEERS_PYTHON", sys.executable))
    parser.add_argument("--against", default=",".join(PEERS), help="peers, with commas between them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="least length of a run")
    parser.add_argument("--dry", action="store_true", help="print, do not write bench/results/cpu.json")
    asked = parser.parse_args()
    figures = {}
    for name in asked.workloads or WORKLOADS:
        figures[name] = compare(WORKLOADS[name], asked.peers, asked.against.split(","), asked.rounds, asked.seconds)
        one = figures[name]
        speeds = {who: row["us_per_step"] for who, row in one["implementations"].items()}
        print(f"{name} {one['times_best_peer']} x {one['best_peer']}; us/step {speeds}; busy {one['foreign_cores']}")
    if not asked.dry:
        given = ["PYTHON" if argument == asked.peers else argument for argument in sys.argv[1:]]
        command = shlex.join(["python", "-m", "bench.cpu", *given])  # as it was run: a part is not the whole
        write_result("cpu", "training on the CPU against peers", command, figures)
        report.write(figures, command)


if __name__ == "__main__":
    main()
