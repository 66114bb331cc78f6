"""What a person asks for: strict models with the names of the HTTP contract, validated by the registries.

Every field may be left out; `resolve` fills in what suits the data set. A choice (activation, loss,
optimizer, schedule, initialiser) is a name, or an object with the name and its settings; which names and
settings exist is read from the registries, so a new row needs no change here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from kernels.custom import PARAMETER_LIMIT, custom_operation
from kernels.errors import InvalidInput
from kernels.operations import Operation
from kernels.precisions import Arithmetic
from kernels.rounding import dtype_of
from nets.features.featuriser import Featuriser
from nets.features.registry import FEATURISERS
from nets.initializers import INITIALIZERS
from nets.losses import LOSSES
from nets.optimizers import OPTIMIZERS
from nets.options import ACTIVATION_ROWS, CUSTOM, Option, Row, Value, number
from nets.schedules import SCHEDULES
from nets.spec_errors import field_errors, shown
from nets.spec_fields import Form, Range, Strict, problem
from nets.split_spec import MAX_COLUMN_NAME, ColumnSplit, DatasetName, Stratify, one_of

MAX_LAYERS = 64
MAX_WIDTH = 65_536
MAX_EPOCHS = 1_000_000
MAX_BATCH = 1_048_576
MAX_FOLDS = 20
MAX_FEATURES = 16
MAX_SEED = 2**53 - 1
"""The largest seed that every JSON reader keeps exact."""


class Choice(BaseModel):
    """One row of a registry with its settings: `"relu"` or `{"name": "leaky_relu", "alpha": 0.1}`."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, allow_inf_nan=False)
    registry: ClassVar[Mapping[str, Row]] = {}
    common: ClassVar[tuple[Option, ...]] = ()
    """Options that every row of the registry shares."""

    name: str

    @model_validator(mode="before")
    @classmethod
    def _accept_name(cls, data: Any) -> Any:
        return {"name": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _check(self) -> Self:
        row = self.registry.get(self.name)
        if row is None:
            raise problem("name", f"is {shown(self.name)}; must be one of {', '.join(self.registry)}")
        self._check_settings(row)
        return self

    def _check_settings(self, row: Row) -> None:
        options = {option.name: option for option in (*row.options, *self.common)}
        for name, value in self.given.items():
            if name not in options:
                known = ", ".join(options) or "none"
                raise problem(name, f"is not a setting of {self.name}; its settings are: {known}")
            if not options[name].accepts(value):
                raise problem(name, f"is {shown(value)}; must be {options[name].allowed}")

    @property
    def row(self) -> Row:
        """The registry's row of this name."""
        return self.registry[self.name]

    @property
    def given(self) -> dict[str, Any]:
        """The settings as given, without defaults."""
        return dict(self.__pydantic_extra__ or {})

    @property
    def options(self) -> dict[str, Value]:
        """Every setting of the row: as given, else its default."""
        return {o.name: self.given.get(o.name, o.default) for o in (*self.row.options, *self.common)}

    def number(self, name: str) -> float:
        """One numeric setting."""
        return number(self.options, name)

    def resolved(self) -> Self:
        """The same choice with every default written out."""
        later = {option.name for option in (*self.row.options, *self.common) if option.later}
        written: dict[str, Any] = {
            name: value for name, value in self.options.items() if name not in later or name in self.given
        }
        return self.model_construct(name=self.name, **written)  # what was given is checked, defaults are as they are

    @model_serializer
    def _serialize(self) -> str | dict[str, Any]:
        return {"name": self.name, **self.given} if self.given else self.name

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        rows: list[dict[str, Any]] = [
            {
                "type": "object",
                "title": name,
                "description": row.doc,
                "properties": {
                    "name": {"const": name},
                    **{o.name: o.schema() for o in (*row.options, *cls.common)},
                },
                "required": ["name"],
                "additionalProperties": False,
            }
            for name, row in cls.registry.items()
        ]
        return cls._adapt_schema({"title": cls.__name__, "anyOf": [{"type": "string", "enum": [*cls.registry]}, *rows]})

    @classmethod
    def _adapt_schema(cls, schema: JsonSchemaValue) -> JsonSchemaValue:
        return schema


class ActivationSpec(Choice):
    """Activation of a hidden layer: a row of the table, or `{"name": "custom", "expression": ..., numbers}`."""

    registry: ClassVar[Mapping[str, Row]] = ACTIVATION_ROWS

    @property
    def options(self) -> dict[str, Value]:
        """See Choice; of a custom activation the expression and the numbers that it names."""
        if self.name != CUSTOM.name:
            return super().options
        return {name: value if isinstance(value, str) else float(value) for name, value in self.given.items()}

    @property
    def operation(self) -> Operation:
        """The operation of a custom activation; the same object for the same text and numbers."""
        numbers = {name: number(self.options, name) for name in self.given if name != "expression"}
        return custom_operation(str(self.given["expression"]), numbers)

    def _check_settings(self, row: Row) -> None:
        if self.name != CUSTOM.name:
            super()._check_settings(row)
            return
        if not isinstance(self.given.get("expression"), str):
            raise problem("expression", f"is {shown(self.given.get('expression'))}; must be a formula in x")
        allowed = Option("", 0.0, "", -PARAMETER_LIMIT, PARAMETER_LIMIT)
        for name, value in self.given.items():
            if name != "expression" and not allowed.accepts(value):
                raise problem(name, f"is {shown(value)}; must be {allowed.allowed}")
        try:
            _ = self.operation
        except InvalidInput as error:
            raise problem(error.errors[0].pointer.removeprefix("/"), error.errors[0].detail) from None

    @classmethod
    def _adapt_schema(cls, schema: JsonSchemaValue) -> JsonSchemaValue:
        names, *rows = schema["anyOf"]
        names["enum"].remove(CUSTOM.name)  # alone it says nothing
        for row in rows:
            if row["title"] == CUSTOM.name:
                del row["properties"]["expression"]["default"]
                row |= {"required": ["name", "expression"], "additionalProperties": {"type": "number"}}
        return schema


class LossSpec(Choice):
    """What is minimised, beside the l2 penalty."""

    registry: ClassVar[Mapping[str, Row]] = LOSSES


class OptimizerSpec(Choice):
    """How a gradient becomes a step."""

    registry: ClassVar[Mapping[str, Row]] = OPTIMIZERS

    @model_serializer
    def _serialize(self) -> dict[str, Any]:
        return {"name": self.name, **self.given}


class ScheduleSpec(Choice):
    """How the learning rate changes over the run."""

    registry: ClassVar[Mapping[str, Row]] = SCHEDULES
    common: ClassVar[tuple[Option, ...]] = (
        Option("warmup_steps", 0, "Steps of linear warm-up that multiply the schedule.", 0, 1e9),
    )

    @model_serializer
    def _serialize(self) -> dict[str, Any]:
        return {"name": self.name, **self.given}


class FeatureSpec(Choice):
    """What the net is given of an image; `raw` are its pixels."""

    registry: ClassVar[Mapping[str, Row]] = FEATURISERS

    @property
    def row(self) -> Featuriser:
        """See Choice."""
        return FEATURISERS[self.name]


class InitSpec(Choice):
    """Initial weights; `normal:0.01` is short for `{"name": "normal", "std": 0.01}`."""

    registry: ClassVar[Mapping[str, Row]] = INITIALIZERS

    @model_validator(mode="before")
    @classmethod
    def _accept_name(cls, data: Any) -> Any:
        if not isinstance(data, str):
            return data
        name, colon, text = data.partition(":")
        if not colon:
            return {"name": name}
        try:
            return {"name": name, "std": float(text)}
        except ValueError:
            raise problem("", f"is {shown(data)}; must be a name, or normal:<std>") from None


def _one_or_many(data: Any) -> str:
    return "<many>" if isinstance(data, list | tuple) else "<one>"


Width = Annotated[int, Range(1, MAX_WIDTH)]
Activations = Annotated[
    Annotated[ActivationSpec, Tag("<one>")]
    | Annotated[list[ActivationSpec], Tag("<many>"), Field(max_length=MAX_LAYERS)],
    Discriminator(_one_or_many),
]


def _without(written: dict[str, Any], *later: str) -> dict[str, Any]:
    """What came after its model is left out while it is off, so that older specs keep their bytes."""
    return {name: value for name, value in written.items() if name not in later or value}


class NetSpec(Strict):
    """The net: hidden widths, activations (one, or one per hidden layer), initial weights, biases.

    `dropout` is the share of hidden units that a training step leaves out; `batch_norm` normalises every hidden
    layer before its activation, and is shown only where it is on.
    """

    hidden: Annotated[list[Width], Field(max_length=MAX_LAYERS)] | None = None
    """Units of every hidden layer, from the input on; an empty list is a linear model."""
    activation: Activations | None = None
    """What every hidden unit does with its sum: one for all layers, or one for each."""
    init: InitSpec | None = None
    """How the weights are drawn before training."""
    dropout: Annotated[float, Range(0.0, 0.99)] = 0.0
    """Share of hidden units that a training step leaves out."""
    bias: bool = True
    """Whether every unit adds a number of its own."""
    batch_norm: bool = False
    """Whether every hidden layer is normalised over the batch before its activation."""

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without(handler(self), "batch_norm")


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
        written = _without(handler(self), *later)
        if written.get("stratify") == "auto":
            del written["stratify"]
        return written


RAW = [FeatureSpec(name="raw")]


class TrainingSpec(Strict):
    """A whole training job beside its data set; `{}` is valid and means good defaults for that data set.

    `features` make the net's inputs, one after another; they are shown only where they are not the raw ones.
    """

    features: Annotated[list[FeatureSpec], Field(min_length=1, max_length=MAX_FEATURES)] = RAW
    """What the net is given of an image, one after another; else its pixels, or the columns of a table."""
    net: NetSpec = NetSpec()
    loss: LossSpec | None = None
    optimizer: OptimizerSpec | None = None
    schedule: ScheduleSpec | None = None
    training: TrainingOptions = TrainingOptions()

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        return {name: value for name, value in written.items() if name != "features" or self.features != RAW}

    @classmethod
    def parse(cls, data: object) -> Self:
        """From plain JSON values. Raises InvalidInput naming every wrong field by its pointer."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise InvalidInput(*field_errors(error)) from None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `parse` reads them back."""
        return self.model_dump(mode="json")


class ResolvedNet(NetSpec):
    """A net with nothing left open: one activation per hidden layer."""

    hidden: Annotated[list[Width], Field(max_length=MAX_LAYERS)]
    activation: Annotated[list[ActivationSpec], Field(max_length=MAX_LAYERS)]
    init: InitSpec


class ResolvedTraining(TrainingOptions):
    """Options with nothing left open."""

    epochs: Epochs
    batch_size: BatchSize


class ResolvedSpec(TrainingSpec):
    """A whole job with nothing left open; what `resolve` returns and a job record keeps."""

    net: ResolvedNet
    loss: LossSpec
    optimizer: OptimizerSpec
    schedule: ScheduleSpec
    training: ResolvedTraining
