"""The keywords of `train` and where each stands in the job specification of the HTTP contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypedDict

from mlpq.errors import InvalidArgumentError

Part = Mapping[str, Any]


DEFAULT_OPTIMIZER = "adam"
"""What the service takes where nothing is said of the optimizer. `momentum` and `nesterov` on their own mean `sgd`."""


class TrainSettings(TypedDict, total=False):
    """Every keyword of `train`; what is left out takes the service's default.

    The short ones reach into the parts: `hidden=[64]` is `net={"hidden": [64]}`, `learning_rate=0.1` is
    `optimizer={"name": "adam", "learning_rate": 0.1}`, `epochs=5` is `training={"epochs": 5}`.
    Whole parts may be given too; the same setting twice is an error.
    """

    name: str
    tags: Sequence[str]
    metadata: Mapping[str, Any]
    priority: int
    features: Sequence[str | Part]
    hidden: Sequence[int]
    activation: str | Part | Sequence[str | Part]
    init: str
    dropout: float
    bias: bool
    batch_norm: bool
    optimizer: str | Part
    learning_rate: float
    momentum: float
    nesterov: bool
    l2: float
    loss: str | Part
    schedule: str | Part
    epochs: int
    batch_size: int
    shuffle: bool
    validation_fraction: float
    early_stopping: Part | None
    clip_norm: float | None
    class_weight: Any
    seed: int
    precision: str
    device: str
    checkpoint_every_s: float
    max_runtime_s: float | None
    folds: int | None
    sample_weight: str | None
    stratify: bool | str
    split: Part | None
    test_fraction: float | None
    test_dataset: str | None
    validation_dataset: str | None
    net: Part
    training: Part


_NET = ("hidden", "activation", "init", "dropout", "bias", "batch_norm")
_OPTIMIZER = ("learning_rate", "momentum", "nesterov", "l2")
_TRAINING = [
    "epochs",
    "batch_size",
    "shuffle",
    "validation_fraction",
    "early_stopping",
    "clip_norm",
    "class_weight",
    "seed",
    "precision",
    "device",
    "checkpoint_every_s",
    "max_runtime_s",
    "folds",
    "sample_weight",
    "stratify",
    "split",
    "test_fraction",
    "test_dataset",
    "validation_dataset",
]
_PART_OF = {
    **dict.fromkeys(_NET, "net"),
    **dict.fromkeys(_OPTIMIZER, "optimizer"),
    **dict.fromkeys(_TRAINING, "training"),
}
_PARTS = ("net", "optimizer", "schedule", "training")
_WHOLE = ("name", "tags", "metadata", "priority", "loss", "features")
_LISTS = ("tags", "features")


def job_specification(dataset: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The body of `POST /v1/jobs`.

    Raises:
        InvalidArgumentError: an unknown keyword, or one setting given twice.
    """
    body = {"dataset": dataset, **job_changes(settings)}
    name_optimizer(body)
    return body


def _meant(keyword: str) -> str:
    """The setting that is nearly this, or all of them."""
    known = sorted((*_WHOLE, *_PARTS, *_PART_OF))
    near = get_close_matches(keyword, known, n=1)
    return f"did you mean {near[0]}?" if near else f"settings are {', '.join(known)}"


def name_optimizer(body: dict[str, Any]) -> None:
    """Name the optimizer whose settings are given without it."""
    part = body.get("optimizer")
    if isinstance(part, dict) and "name" not in part:
        part["name"] = "sgd" if {"momentum", "nesterov"} & {*part} else DEFAULT_OPTIMIZER


def job_changes(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The body of `POST /v1/jobs/{id}/fork`: the settings in their parts, and nothing else.

    Raises:
        InvalidArgumentError: an unknown keyword, or one setting given twice.
    """
    body: dict[str, Any] = {}
    for part in _PARTS:
        if part in settings:
            given = settings[part]
            body[part] = {"name": given} if isinstance(given, str) else dict(given)
    for keyword, value in settings.items():
        if keyword in _WHOLE:
            body[keyword] = list(value) if keyword in _LISTS else value
        elif keyword in _PART_OF:
            part = body.setdefault(_PART_OF[keyword], {})
            if keyword in part:
                raise InvalidArgumentError(f"{keyword} is given twice: as {keyword}= and in {_PART_OF[keyword]}=")
            part[keyword] = list(value) if isinstance(value, tuple | range) else value
        elif keyword not in _PARTS:
            raise InvalidArgumentError(f"{keyword} is no setting of a job; {_meant(keyword)}")
    return body
