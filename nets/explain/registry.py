"""The table of explanations: one row gives a route, its parameters, its picture's place, capabilities and docs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nets.explain import boundary, calibration, confusion, histograms, importance, templates
from nets.explain.subject import ROWS, Known, Subject, only_classes
from nets.options import Option, Value


@dataclass(frozen=True)
class Explanation:
    """One explanation of a job.

    Attributes:
        name: as in `…/explanations/{name}`.
        doc: one sentence.
        needs: what a job must have, in words.
        compute: its numbers as JSON values.
        options: what may be asked for.
        lacks: why a job does not have it, None where it does; without it every job has it.
        elsewhere: whether it may be taken on another data set.
    """

    name: str
    doc: str
    needs: str
    compute: Callable[[Subject, Mapping[str, Value]], dict[str, Any]]
    options: tuple[Option, ...] = ()
    lacks: Callable[[Known], str | None] | None = None
    elsewhere: bool = False

    def missing(self, known: Known) -> str | None:
        """Why a job does not have the explanation; None where it does."""
        return None if self.lacks is None else self.lacks(known)

    def explain(self, subject: Subject, options: Mapping[str, Value]) -> dict[str, Any]:
        """The numbers; what overflows shows up as None."""
        with np.errstate(all="ignore"):
            return self.compute(subject, options)

    def describe(self) -> dict[str, Any]:
        """The row for `/v1/capabilities`."""
        parameters = [option.describe() for option in self.options]
        return {"name": self.name, "doc": self.doc, "needs": self.needs, "parameters": parameters}


_ROWS = (
    Explanation(
        "confusion",
        "Which classes are taken for which: counts, precision, recall and F1 of every class.",
        "a classification",
        confusion.compute,
        (ROWS,),
        lacks=only_classes,
        elsewhere=True,
    ),
    Explanation(
        "templates",
        "First-layer weights: an image for every class of a linear net, for every hidden unit of another.",
        f"images whose pixels are the net's inputs, or at most {templates.MAX_INPUTS} inputs",
        templates.compute,
        (templates.LIMIT,),
        lacks=templates.lacks,
    ),
    Explanation(
        "boundary",
        "What the net says everywhere in the plane of its two columns, with the job's points.",
        "exactly two numeric columns",
        boundary.compute,
        (boundary.RESOLUTION,),
        lacks=boundary.lacks,
    ),
    Explanation(
        "importance",
        "How much worse the net does where one column is shuffled.",
        "nothing",
        importance.compute,
        (ROWS, importance.METRIC, importance.REPEATS, importance.COLUMNS),
        elsewhere=True,
    ),
    Explanation(
        "histograms",
        "Weights, activations and gradients of every layer; dead units and saturation.",
        "nothing",
        histograms.compute,
        (histograms.ROWS_USED, histograms.BINS),
    ),
    Explanation(
        "calibration",
        "Whether probabilities mean what they say: reliability, expected calibration error, Brier score.",
        "a classification with a loss that gives probabilities",
        calibration.compute,
        (ROWS, calibration.BINS),
        lacks=calibration.lacks,
        elsewhere=True,
    ),
)

EXPLANATIONS: Mapping[str, Explanation] = {row.name: row for row in _ROWS}
"""By name, in the order in which they are listed."""
