"""Everything that a spec may name, straight from the registries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernels.precisions import PRECISIONS
from nets.choices import ScheduleSpec
from nets.explain.registry import EXPLANATIONS
from nets.features.registry import FEATURISERS
from nets.initializers import INITIALIZERS
from nets.losses import LOSSES
from nets.net_spec import MAX_LAYERS, MAX_WIDTH
from nets.optimizers import OPTIMIZERS
from nets.options import ACTIVATION_ROWS, Option, Row
from nets.schedules import SCHEDULES
from nets.spec import MAX_FEATURES, TrainingSpec
from nets.training_spec import MAX_BATCH, MAX_EPOCHS, MAX_FOLDS, MAX_SEED


def _rows(registry: Mapping[str, Row], common: tuple[Option, ...] = ()) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "doc": row.doc,
            "source": row.source,
            "parameters": [option.describe() for option in (*row.options, *common)],
        }
        for name, row in registry.items()
    ]


def capabilities() -> dict[str, Any]:
    """Every row of every registry, explanations too: parameters, ranges, defaults and docs.

    Also the limits of a spec and its JSON schema.
    """
    losses = _rows(LOSSES)
    for shown in losses:
        shown["tasks"] = list(LOSSES[shown["name"]].tasks)
    return {
        "activations": _rows(ACTIVATION_ROWS),
        "losses": losses,
        "optimizers": _rows(OPTIMIZERS),
        "schedules": _rows(SCHEDULES, ScheduleSpec.common),
        "initializers": _rows(INITIALIZERS),
        "features": _rows(FEATURISERS),
        "precisions": [
            {"name": row.name, "doc": row.doc, "source": row.source, "needs_gpu": row.needs_gpu}
            for row in PRECISIONS.values()
        ],
        "explanations": [row.describe() for row in EXPLANATIONS.values()],
        "limits": {
            "max_hidden_layers": MAX_LAYERS,
            "max_width": MAX_WIDTH,
            "max_epochs": MAX_EPOCHS,
            "max_batch_size": MAX_BATCH,
            "max_folds": MAX_FOLDS,
            "max_features": MAX_FEATURES,
            "max_seed": MAX_SEED,
        },
        "spec_schema": TrainingSpec.model_json_schema(),
    }
