"""What a person asks for: a whole job, strict, with the names of the HTTP contract, validated by the registries.

Every field may be left out; `resolve` fills in what suits the data set.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from kernels.errors import InvalidInput
from nets.choices import FeatureSpec, LossSpec, OptimizerSpec, ScheduleSpec
from nets.net_spec import NetSpec, ResolvedNet
from nets.spec_errors import field_errors
from nets.spec_fields import Strict
from nets.training_spec import ResolvedTraining, TrainingOptions

MAX_FEATURES = 16

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
            raise InvalidInput(*field_errors(error, cls)) from None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `parse` reads them back."""
        return self.model_dump(mode="json")


class ResolvedSpec(TrainingSpec):
    """A whole job with nothing left open; what `resolve` returns and a job record keeps."""

    net: ResolvedNet
    loss: LossSpec
    optimizer: OptimizerSpec
    schedule: ScheduleSpec
    training: ResolvedTraining
