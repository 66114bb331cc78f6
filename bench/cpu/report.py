"""docs/cpu.md: every workload and implementation of one run of `bench.cpu` as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.cpu.ceiling import SIDE

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "cpu.md"
HEAD = """# Training on the CPU against PyTorch and JAX

Written by `{command}`; [how it is measured](../bench/cpu/README.md). Ours trains as a job does, with validation, metric
points and checks for commands; the others train only. Times are medians of rounds in turn, on a machine that others
share: only ratios within a row mean something. The ceiling is one product of two {side} x {side} matrices by NumPy's
BLAS on all cores, timed in the same rounds; a step's products count as 2 m n k each.

| workload | ours, µs a step | % of the ceiling | the others, µs a step (% of the ceiling) | times the best of them |
|---|---|---|---|---|
"""


def write(figures: dict[str, Any], command: str) -> None:
    """Write the page."""
    PAGE.write_text(HEAD.format(command=command, side=SIDE) + "\n".join(map(_row, figures.items())) + "\n")


def _row(one: tuple[str, dict[str, Any]]) -> str:
    name, figures = one
    ours, *others = figures["implementations"].items()
    shown = ", ".join(f"{who} {row['us_per_step']:.4g} ({100 * row['of_ceiling']:.0f} %)" for who, row in others)
    share = 100 * ours[1]["of_ceiling"]
    return (
        f"| {name}: {figures['title']} | {ours[1]['us_per_step']:.4g} | {share:.0f} % | {shown} "
        f"| {figures['times_best_peer']:.2f} |"
    )
