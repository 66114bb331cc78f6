"""What a sweep judges its jobs by: one figure of each, and which way is better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from kernels.errors import InvalidInput, meant
from nets.parts import Sizes
from nets.spec import ResolvedSpec
from nets.spec_errors import shown

Direction = Literal["minimize", "maximize"]

_LOWER_IS_BETTER = ("loss", "rmse", "mae", "_std")
_TESTED = {
    "classification": ("loss", "accuracy", "balanced_accuracy", "macro_f1", "auc"),
    "regression": ("loss", "rmse", "mae", "r2"),
}


def direction_of(objective: str) -> Direction:
    """The better way of a figure by its name: losses and errors fall, scores rise."""
    return "minimize" if objective.endswith(_LOWER_IS_BETTER) else "maximize"


def figures(spec: ResolvedSpec, task: str, sizes: Sizes, *, while_training: bool = False) -> list[str]:
    """The figures that a job of this spec will have, or has wherever its sweep may have it wait."""
    score = "accuracy" if task == "classification" else "r2"
    measured = ["loss", score]
    found = ["train_loss"] if while_training else [f"train_{name}" for name in measured]
    if sizes.val > 0:
        found += [f"val_{name}" for name in measured]
        if spec.training.folds:
            found += [f"cv_val_{name}" for name in measured]
    if (sizes.test or spec.training.test_dataset) and not while_training:
        found += [f"test_{name}" for name in _TESTED[task]]
    return found


def check_objective(objective: str, known: list[str]) -> None:
    """Raise InvalidInput for a figure that the jobs will not have."""
    if objective not in known:
        raise InvalidInput.at(
            "/objective", f"is {shown(objective)}; must be one of {', '.join(known)}{meant(objective, known)}"
        )


def value_of(metrics: Mapping[str, Any], objective: str) -> float | None:
    """A job's figure, None where it is not there or not finite."""
    value = metrics.get(objective)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
