"""What a person asks of the run: how long, on which rows, in which arithmetic, where, when to stop."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import (
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from kernels.precisions import Arithmetic
from kernels.rounding import dtype_of
from nets.spec_fields import Form, Range, Strict, without
from nets.split_spec import MAX_COLUMN_NAME, ColumnSplit, DatasetName, Stratify, one_of

MAX_EPOCHS = 1_000_000
MAX_BATCH = 1_048_576
MAX_FOLDS = 20
MAX_SEED = 2**53 - 1
"""The largest seed that every JSON reader keeps exact."""


class EarlyStoppingSpec(Strict):
    """Stop after `patience` epochs without an improvement of `metric` by more than `min_delta`."""

    metric: Literal["val_loss", "val_accuracy", "val_r2", "train_loss"] = "val_loss"
    """The figure that must improve."""
    patience: Annotated[int, Range(1, MAX_EPOCHS)] = 10
    """Epochs that may pass without an improvement."""
    min_delta: Annotated[float, Range(0.0, 1e9)] = 0.0
    """How much better counts as an improvement."""
    restore_best: bool = True
    """Whether the result has the weights of the best epoch."""


def _balanced_or_weights(data: Any) -> str:
    return "<many>" if isinstance(data, dict) else "<one>"


ClassWeight = Annotated[
    Annotated[Literal["balanced"], Tag("<one>")]
    | Annotated[dict[str, Annotated[float, Range(0.0, 1e6)]], Tag("<many>"), Field(max_length=10_000)],
    Discriminator(_balanced_or_weights),
]


Epochs = Annotated[int, Range(1, MAX_EPOCHS)]
Device = Annotated[str, Form(r"auto|cpu|cuda:(0|[1-9][0-9]?)", "auto, cpu or cuda:N")]
BatchSize = Annotated[int, Range(1, MAX_BATCH)]


class TrainingOptions(Strict):
    """Everything about the run that is neither net nor loss nor optimizer.

    With `folds` as many further models train beside the job's own, in the same stack, each on all rows but one part
    of them. `sample_weight` names the numeric column that scales every training row's loss, and is then no input.
    Rows that test are put aside first, by `test_fraction` or `split.test`, or are those of `test_dataset`; those that
    validate are drawn from the others by `validation_fraction`, or are given by `split.validation` or
    `validation_dataset`. Draws keep the shares of the classes; with `stratify` false they are plain draws.
    What came later is shown only where it is given.
    """

    epochs: Epochs | None = None
    """Passes over the training rows."""
    batch_size: BatchSize | None = None
    """Rows of one step."""
    shuffle: bool = True
    """Whether every epoch takes the rows in another order."""
    validation_fraction: Annotated[float, Range(0.0, 0.9)] = 0.2
    """Share of the rows that is held back to measure on after every epoch."""
    early_stopping: EarlyStoppingSpec | None = None
    """When to stop before the last epoch; without it never."""
    clip_norm: Annotated[float, Range(0.0, 1e9, low_open=True)] | None = None
    """Largest length of the gradient of a step; a longer one is shortened to it."""
    class_weight: ClassWeight | None = None
    """How much a row of each class counts; `balanced`: every class as much as every other."""
    seed: Annotated[int, Range(0, MAX_SEED)] = 0
    """Of everything that is drawn: weights, splits, orders, dropout."""
    precision: Arithmetic = "float32"
    """Of the numbers that are trained; `tf32` and `bfloat16` round the factors of products, and need a GPU."""
    device: Device = "auto"
    checkpoint_every_s: Annotated[float, Range(0.1, 86_400.0)] = 10.0
    """Seconds between checkpoints, from which a run goes on after a fault."""
    max_runtime_s: Annotated[float, Range(0.0, 31_536_000.0, low_open=True)] | None = None
    """Seconds after which the job ends with what it has."""
    folds: Annotated[int, Range(2, MAX_FOLDS)] | None = None
    """Cross-validation in as many parts, trained beside the job in one stack."""
    sample_weight: Annotated[str, Field(min_length=1, max_length=MAX_COLUMN_NAME)] | None = None
    """A numeric column that says how much each training row counts; it is no input then."""
    stratify: Stratify = "auto"
    """Whether draws keep the shares of the classes, as `auto` does too."""
    split: ColumnSplit | None = None
    """A column whose values say which rows validate and which test."""
    test_fraction: Annotated[float, Range(0.0, 0.9, low_open=True)] | None = None
    """Share of the rows that is put aside first and measured once, at the end."""
    test_dataset: DatasetName | None = None
    """Another data set to measure on once, at the end."""
    validation_dataset: DatasetName | None = None
    """Another data set to measure on after every epoch."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of parameters, data and optimizer state."""
        return dtype_of(self.precision)

    @property
    def validation_named(self) -> str | None:
        """The field that says which rows validate, where it is not drawn."""
        by_column = "split.validation" if self.split is not None and self.split.validation else None
        return by_column or ("validation_dataset" if self.validation_dataset else None)

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        tests = self.split is not None and self.split.test is not None
        one_of(
            (
                ("split.test", tests),
                ("test_fraction", self.test_fraction is not None),
                ("test_dataset", self.test_dataset is not None),
            )
        )
        validates = self.split is not None and self.split.validation is not None
        drawn = "validation_fraction" in self.model_fields_set and self.validation_fraction > 0
        named = (("split.validation", validates), ("validation_dataset", self.validation_dataset is not None))
        one_of((*named, ("validation_fraction", drawn)))
        return self

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        later = ("folds", "sample_weight", "split", "test_fraction", "test_dataset", "validation_dataset")
        written = without(handler(self), *later)
        if written.get("stratify") == "auto":
            del written["stratify"]
        return written


class ResolvedTraining(TrainingOptions):
    """Options with nothing left open."""

    epochs: Epochs
    batch_size: BatchSize
