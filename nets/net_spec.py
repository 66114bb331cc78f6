"""What a person asks of the net: widths, activations, initial weights, biases."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
)

from nets.choices import ActivationSpec, InitSpec
from nets.spec_fields import Range, Strict, without

MAX_LAYERS = 64
MAX_WIDTH = 65_536


def _one_or_many(data: Any) -> str:
    return "<many>" if isinstance(data, list | tuple) else "<one>"


Width = Annotated[int, Range(1, MAX_WIDTH)]
Activations = Annotated[
    Annotated[ActivationSpec, Tag("<one>")]
    | Annotated[list[ActivationSpec], Tag("<many>"), Field(max_length=MAX_LAYERS)],
    Discriminator(_one_or_many),
]


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
        return without(handler(self), "batch_norm")


class ResolvedNet(NetSpec):
    """A net with nothing left open: one activation per hidden layer."""

    hidden: Annotated[list[Width], Field(max_length=MAX_LAYERS)]
    activation: Annotated[list[ActivationSpec], Field(max_length=MAX_LAYERS)]
    init: InitSpec
