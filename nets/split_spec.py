"""How a job says which rows train, validate and test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from nets.spec_errors import shown
from nets.spec_fields import Form, Strict, problem

MAX_COLUMN_NAME = 200
MAX_SPLIT_VALUES = 1_000

DatasetName = Annotated[str, Form(r"ds_[0-9a-zA-Z]{1,64}|[a-z][a-z0-9_]{1,31}", "the id of a data set")]


def _stratify(value: Any) -> Any:
    if value is True or value is False or value == "auto":
        return value
    raise problem("", f'is {shown(value)}; must be true, false or "auto"')


Stratify = Annotated[Literal["auto"] | bool, BeforeValidator(_stratify)]


def _cell(value: Any) -> Any:
    if isinstance(value, str | bool) or (isinstance(value, int | float) and -1e300 < value < 1e300):
        return value
    raise problem("", f"is {shown(value)}; must be a text, a number, true or false")


SplitValues = Annotated[
    list[Annotated[str | bool | int | float, BeforeValidator(_cell)]],
    Field(min_length=1, max_length=MAX_SPLIT_VALUES),
]


class ColumnSplit(Strict):
    """A column of the data set that says which rows validate and which test; all others train. It is no input then.

    Without `validation` the validation rows are drawn by `validation_fraction` from the rows that do not test.
    """

    column: Annotated[str, Field(min_length=1, max_length=MAX_COLUMN_NAME)]
    """The column; it is no input then."""
    validation: SplitValues | None = None
    """Values of the rows that validate; without them they are drawn."""
    test: SplitValues | None = None
    """Values of the rows that test."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.validation is None and self.test is None:
            raise problem("", "names neither validation nor test; must name values of at least one")
        seen: dict[tuple[type, object], str] = {}
        for name, values in (("validation", self.validation), ("test", self.test)):
            for value in values or ():
                if seen.setdefault(_key(value), name) != name:
                    raise problem(name, f"holds {shown(value)}, which validation names as well")
        return self

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}


def _key(value: object) -> tuple[type, object]:
    """Values that name the same cells have equal keys: 1 and 1.0 do, 1 and true do not."""
    return (bool, value) if isinstance(value, bool) else (str, value) if isinstance(value, str) else (float, value)


def one_of(given: Sequence[tuple[str, bool]]) -> None:
    """Refuse two ways of saying the same: (field, whether it is given), and the field that came first is kept."""
    named = [name for name, there in given if there]
    if len(named) > 1:
        raise problem(named[1], f"is given, and so is {named[0]}; leave one of them out")
