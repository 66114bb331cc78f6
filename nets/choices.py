"""A choice in a specification: the name of a registry's row, or an object with the name and the row's settings.

Which names and settings exist is read from the registries, so a new row needs no change here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from kernels.custom import PARAMETER_LIMIT, custom_operation
from kernels.errors import InvalidInput, meant
from kernels.operations import Operation
from nets.features.featuriser import Featuriser
from nets.features.registry import FEATURISERS
from nets.initializers import INITIALIZERS
from nets.losses import LOSSES
from nets.optimizers import OPTIMIZERS
from nets.options import ACTIVATION_ROWS, CUSTOM, Option, Row, Value, number
from nets.schedules import SCHEDULES
from nets.spec_errors import shown
from nets.spec_fields import problem


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
            near = meant(self.name, self.registry)
            raise problem("name", f"is {shown(self.name)}; must be one of {', '.join(self.registry)}{near}")
        self._check_settings(row)
        return self

    def _check_settings(self, row: Row) -> None:
        options = {option.name: option for option in (*row.options, *self.common)}
        for name, value in self.given.items():
            if name not in options:
                known = ", ".join(options) or "none"
                raise problem(name, f"is not a setting of {self.name}; its settings are: {known}{meant(name, options)}")
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
        given = self.given
        return {o.name: given.get(o.name, o.default) for o in (*self.row.options, *self.common)}

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
