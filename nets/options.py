"""What one setting of a registry row may be: the one source of ranges, defaults and words about it.

A registry (activations, losses, optimizers, schedules, initialisers) is a dict of rows; every row carries
its options. The spec's validation, its JSON schema and `/v1/capabilities` are derived from them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from kernels import custom
from kernels.operations import ACTIVATIONS

Value = bool | int | float | str | None


@dataclass(frozen=True)
class Option:
    """One setting: its kind follows from the type of its default (bool, int, float, or str with `choices`).

    `low`..`high` is the allowed range, closed unless `low_open`; `nullable` also allows null.
    """

    name: str
    default: Value
    doc: str
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    choices: tuple[str, ...] = ()
    later: bool = False
    """Came after its row: a resolved spec leaves it out at its default, so that older specs keep their bytes."""

    @cached_property
    def kind(self) -> str:
        """ "boolean", "choice", "text", "integer" or "number"."""
        if isinstance(self.default, bool):
            return "boolean"
        if isinstance(self.default, str):
            return "choice" if self.choices else "text"
        return "integer" if isinstance(self.default, int) else "number"

    @property
    def allowed(self) -> str:
        """The allowed values in words, for error messages and documentation."""
        if self.kind == "boolean":
            return "true or false"
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        if self.kind == "text":
            return "a text"
        what = "an integer" if self.kind == "integer" else "a number"
        low = "" if self.low is None else f"{'>' if self.low_open else '>='} {self.low:g}"
        high = "" if self.high is None else f"<= {self.high:g}"
        return " ".join(filter(None, (what, " and ".join(filter(None, (low, high))))))

    def accepts(self, value: object) -> bool:
        """True if `value` has the right type (true is not a number) and lies in the range."""
        if self.kind == "boolean":
            return isinstance(value, bool)
        if self.kind == "choice":
            return value in self.choices
        if self.kind == "text":
            return isinstance(value, str)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if self.kind == "integer" and not isinstance(value, int):
            return False
        if not -1e300 < value < 1e300:  # also refuses nan, inf and integers beyond a float
            return False
        too_low = self.low is not None and (value <= self.low if self.low_open else value < self.low)
        return not too_low and not (self.high is not None and value > self.high)

    def describe(self) -> dict[str, object]:
        """The option as `/v1/capabilities` shows it."""
        shown: dict[str, object] = {"name": self.name, "kind": self.kind, "default": self.default, "doc": self.doc}
        if self.choices:
            shown["choices"] = list(self.choices)
        if self.low is not None:
            shown["exclusive_minimum" if self.low_open else "minimum"] = self.low
        if self.high is not None:
            shown["maximum"] = self.high
        return shown

    def schema(self) -> dict[str, object]:
        """The option as a JSON schema."""
        kind = {"choice": "string", "text": "string"}.get(self.kind, self.kind)
        schema: dict[str, object] = {"type": kind, "default": self.default, "description": self.doc}
        if self.choices:
            schema["enum"] = list(self.choices)
        if self.low is not None:
            schema["exclusiveMinimum" if self.low_open else "minimum"] = self.low
        if self.high is not None:
            schema["maximum"] = self.high
        return schema


def number(options: Mapping[str, Value], name: str) -> float:
    """One numeric setting of validated options."""
    value = options[name]
    if not isinstance(value, int | float):
        raise TypeError(f"{name} is {value!r}; must be a number")
    return float(value)


class Row(Protocol):
    """What every registry row has."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def doc(self) -> str: ...  # noqa: D102

    @property
    def source(self) -> str: ...  # noqa: D102

    @property
    def options(self) -> tuple[Option, ...]: ...  # noqa: D102


@dataclass(frozen=True)
class ActivationRow:
    """A row of the operation table, seen as a registry row."""

    name: str
    doc: str
    source: str
    options: tuple[Option, ...]


CUSTOM = ActivationRow(
    custom.NAME,
    "A formula of its user's, e.g. `x * sigmoid(beta*x)`: differentiated and proved when it is submitted. Every other"
    " setting is a number that the formula may name.",
    "-",
    (Option("expression", "x * sigmoid(x)", "Formula in x: + - * / ** ( ) and the functions of the language."),),
)
"""The activation that is no row of the operation table."""


def _activation_rows() -> dict[str, ActivationRow]:
    def limit(value: float | None) -> float | None:
        return None if value is None or math.isinf(value) else value

    return {
        name: ActivationRow(
            name,
            operation.doc,
            operation.source,
            tuple(Option(p.name, float(p.default), p.doc, limit(p.low), limit(p.high)) for p in operation.parameters),
        )
        for name, operation in ACTIVATIONS.items()
    } | {CUSTOM.name: CUSTOM}


ACTIVATION_ROWS: Mapping[str, ActivationRow] = _activation_rows()
