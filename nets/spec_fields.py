"""What a field of a spec may hold, so that an error names it whole: a range, or the form of a text; strict models."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from nets.spec_errors import shown


class Strict(BaseModel):
    """No coercion, no unknown fields, no NaN; values are immutable. The text below a field is its description."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def problem(at: str, detail: str) -> PydanticCustomError:
    """An error of the field `at` below the one that is validated ("": that field itself)."""
    return PydanticCustomError("setting", "{detail}", {"at": at, "detail": detail})


@dataclass(frozen=True)
class Range:
    """An allowed range that an error names whole: `is 0; must be 1..65536`."""

    low: float
    high: float
    low_open: bool = False

    def check(self, value: float) -> float:
        """The value itself, if it lies in the range."""
        if self.low <= value <= self.high and not (self.low_open and value == self.low):
            return value
        bounds = f"> {self.low:g} and <= {self.high:g}" if self.low_open else f"{self.low:.16g}..{self.high:.16g}"
        raise problem("", f"is {shown(value)}; must be {bounds}")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        low = "exclusiveMinimum" if self.low_open else "minimum"
        return {**handler(core), low: self.low, "maximum": self.high}


@dataclass(frozen=True)
class Form:
    """What a text must look like, which an error says in words: `is "gpu"; must be auto, cpu or cuda:N`."""

    pattern: str
    words: str

    def check(self, value: str) -> str:
        """The value itself, if it has this form."""
        if re.fullmatch(self.pattern, value, re.ASCII):
            return value
        raise problem("", f"is {shown(value)}; must be {self.words}")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core), "pattern": f"^({self.pattern})$", "description": self.words}


def without(written: dict[str, Any], *later: str) -> dict[str, Any]:
    """What came after its model is left out while it is off, so that older specs keep their bytes."""
    return {name: value for name, value in written.items() if name not in later or value}
