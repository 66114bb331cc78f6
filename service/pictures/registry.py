"""Which explanation is drawn by what; every row of `nets.explain.registry` has its picture here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from matplotlib.figure import Figure

from nets.explain.registry import EXPLANATIONS
from service.pictures import (
    boundary,
    calibration,
    confusion,
    gradient_check,
    histograms,
    importance,
    templates,
)

PICTURES: Mapping[str, Callable[[dict[str, Any], str], Figure]] = {
    "confusion": confusion.draw,
    "templates": templates.draw,
    "boundary": boundary.draw,
    "importance": importance.draw,
    "histograms": histograms.draw,
    "calibration": calibration.draw,
    "gradient_check": gradient_check.draw,
}
"""By name: the JSON of an explanation and a caption -> its picture."""

if set(PICTURES) != {*EXPLANATIONS, "gradient_check"}:
    raise RuntimeError("the pictures of the API differ from the explanations of nets.explain")
