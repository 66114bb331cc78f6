"""A data set as training sees it: column descriptions beside two plain arrays.

Axis legend: R rows, F columns (before preprocessing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kernels.dates import ORDERS
from kernels.errors import InvalidInput
from nets.selection import Cells
from nets.spec_errors import shown

Kind = Literal["numeric", "categorical", "boolean", "datetime"]
Task = Literal["classification", "regression"]
KINDS: tuple[Kind, ...] = ("numeric", "categorical", "boolean", "datetime")
TASKS: tuple[Task, ...] = ("classification", "regression")

PART = "part"
"""Splits by the parts that a data set came in go by this name."""

MAX_ONE_HOT = 64
"""Categories of a column that have an input each; of more, the most frequent ones, and one input for all others."""

DATE_INPUTS = 7
"""Inputs of a date-time: itself, and sine and cosine of the time of day, the day of the week, the day of the year."""


@dataclass(frozen=True)
class Column:
    """One input column; `categories` name the codes 0, 1, ... of a categorical one; `missing` counts cells.

    A code beyond them stands for every other category. Date-times are seconds since 1970 in UTC; `order` is that of
    day and month (`dmy`, `mdy`) in texts such as 01/02/2026.
    """

    name: str
    kind: Kind = "numeric"
    categories: tuple[str, ...] = ()
    missing: int = 0
    order: str | None = None

    @property
    def n_inputs(self) -> int:
        """Inputs of a net that the column becomes."""
        if self.kind == "categorical":
            return len(self.categories) or 1 if len(self.categories) <= MAX_ONE_HOT else MAX_ONE_HOT + 1
        return (DATE_INPUTS if self.kind == "datetime" else 1) + self.has_indicator

    @property
    def has_indicator(self) -> bool:
        """Whether one more input tells where a number was missing; a category needs none, it is then none of them."""
        return self.missing > 0 and self.kind != "categorical"

    def code_of(self, value: object) -> float | None:
        """The code of a category given as text, truth value or number; None for one that is not there.

        Truth values are found in any case, and 3.0 is the category "3".
        """
        text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        if text in self.categories:
            return float(self.categories.index(text))
        if isinstance(value, bool) or self.kind == "boolean":
            folded = [category.lower() for category in self.categories]
            return float(folded.index(text.lower())) if text.lower() in folded else None
        return None


@dataclass(frozen=True)
class Image:
    """The image that the columns of a table form: pixel by pixel, row by row, channels last."""

    height: int
    width: int
    channels: int = 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.height, self.width, self.channels

    @property
    def pixels(self) -> int:
        """Pixels, of any number of channels."""
        return self.height * self.width

    @property
    def size(self) -> int:
        """Columns of one image."""
        return self.pixels * self.channels


@dataclass(frozen=True)
class TableInfo:
    """What is known of a data set without its cells: enough to resolve and to size a net.

    `parts` are the names and the numbers of rows of the parts that it came in, one after the other; () if in one.
    `decimal` and `thousands` say how a text file wrote its numbers, for files to be predicted. Pixels that came as
    bytes were divided by `white`.
    """

    n_rows: int
    columns: tuple[Column, ...]
    task: Task
    classes: tuple[str, ...] = ()
    standardize: bool = True
    parts: tuple[tuple[str, int], ...] = ()
    image: Image | None = None
    decimal: str = "."
    thousands: str = ""
    white: int | None = None

    @cached_property
    def n_inputs(self) -> int:
        """Inputs of a net after preprocessing; a categorical column without any category is one that is always 0."""
        return sum(column.n_inputs for column in self.columns)

    @property
    def n_outputs(self) -> int:
        """Outputs of a net: one per class, or one for regression."""
        return len(self.classes) if self.task == "classification" else 1

    def weighted_by(self, name: str | None) -> TableInfo:
        """What is left for inputs where this column holds the weights of the rows; None: everything.

        Raises InvalidInput at /training/sample_weight.
        """
        if name is None:
            return self
        place = self.column_of_weights(name)
        return replace(self, columns=self.columns[:place] + self.columns[place + 1 :], image=None)

    def column_of_weights(self, name: str) -> int:
        """The place of a column that can hold weights. Raises InvalidInput at /training/sample_weight."""
        pointer, names = "/training/sample_weight", [column.name for column in self.columns]
        if name not in names:
            raise InvalidInput.at(pointer, f"is {shown(name)}; must be one of the columns {', '.join(names[:20])}")
        column = self.columns[names.index(name)]
        if column.kind != "numeric" or column.missing:
            lacks = f"is missing in {column.missing} rows" if column.missing else f"is {column.kind}"
            raise InvalidInput.at(pointer, f"is {shown(name)}, which {lacks}; weights must be numbers in every row")
        if len(names) == 1:
            raise InvalidInput.at(pointer, f"is {shown(name)}, the only column: nothing is left to learn from")
        return names.index(name)

    def to_json(self) -> dict[str, Any]:
        """The keys that `info.json` and weights files hold."""
        columns = [
            {"name": c.name, "kind": c.kind, "categories": list(c.categories), "missing": c.missing}
            | ({"order": c.order} if c.order else {})
            for c in self.columns
        ]
        found: dict[str, Any] = {"n_rows": self.n_rows, "task": self.task, "classes": list(self.classes)}
        found |= {"standardize": self.standardize, "columns": columns}
        found |= {"parts": [list(part) for part in self.parts]} if self.parts else {}
        found |= {} if self.white is None else {"white": self.white}
        if self.decimal != "." or self.thousands:
            found["text"] = {"decimal": self.decimal, "thousands": self.thousands or None}
        return found if self.image is None else {**found, "image": asdict(self.image)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TableInfo:
        """Back from `to_json`; further keys are ignored. Raises InvalidInput naming what is wrong."""
        try:
            columns = tuple(map(_column_from, data["columns"]))
            info = cls(
                int(data["n_rows"]),
                columns,
                data["task"],
                tuple(map(str, data.get("classes", ()))),
                bool(data.get("standardize", True)),
                tuple((str(name), int(count)) for name, count in data.get("parts", ())),
                _image_from(data.get("image"), len(columns)),
                *_number_signs(data.get("text") or {}),
                None if data.get("white") is None else int(data["white"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput.at("/info", f"does not describe a table: {error!r}") from error
        if info.task not in TASKS:
            raise InvalidInput.at("/info/task", f"is {info.task!r}; must be one of {', '.join(TASKS)}")
        for index, column in enumerate(info.columns):
            if column.kind not in KINDS:
                raise InvalidInput.at(f"/info/columns/{index}/kind", f"is {column.kind!r}; must be one of {KINDS}")
        return info


def _number_signs(text: Mapping[str, Any]) -> tuple[str, str]:
    """The decimal sign, and what stands between thousands."""
    return str(text.get("decimal") or "."), str(text.get("thousands") or "")


def _column_from(c: Mapping[str, Any]) -> Column:
    categories, order = tuple(map(str, c.get("categories", ()))), c.get("order")
    return Column(str(c["name"]), c["kind"], categories, int(c.get("missing", 0)), order if order in ORDERS else None)


def _image_from(data: Mapping[str, Any] | None, n_columns: int) -> Image | None:
    if data is None:
        return None
    image = Image(int(data["height"]), int(data["width"]), int(data["channels"]))
    if image.size != n_columns:
        raise ValueError(f"an image of {image.shape} in {n_columns} columns")
    return image


@dataclass(frozen=True)
class Table:
    """Cells of a data set: x (R, F) numbers or category codes, NaN = missing; y (R,) codes or numbers.

    `weight` (R,) scales every row's loss in training; None means 1. Finite, not negative, not all 0.
    """

    info: TableInfo
    x: Cells
    y: NDArray[Any]
    weight: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.x.shape != (self.info.n_rows, len(self.info.columns)):
            raise InvalidInput.at(
                "/dataset", f"x has shape {self.x.shape}; must be {(self.info.n_rows, len(self.info.columns))}"
            )
        if self.y.shape != (self.info.n_rows,):
            raise InvalidInput.at("/dataset", f"y has shape {self.y.shape}; must be {(self.info.n_rows,)}")
        if self.weight is not None:
            _check_weight(self.weight, self.info.n_rows)

    def weights_in(self, place: int) -> NDArray[np.float64]:
        """The weights (R,) that a column holds, times those the rows have. Raises at /training/sample_weight."""
        weight = np.asarray(self.x[:, place], np.float64)
        _check_weight(weight, self.info.n_rows, "/training/sample_weight")
        return weight if self.weight is None else weight * self.weight

    @classmethod
    def from_arrays(
        cls,
        x: NDArray[Any],
        y: NDArray[Any],
        task: Task = "classification",
        *,
        classes: Sequence[str] | None = None,
        standardize: bool = True,
        image: Image | None = None,
    ) -> Table:
        """A table of numeric columns x0, x1, ...; classes default to the labels 0..max(y)."""
        if task == "classification":
            names = tuple(map(str, range(int(y.max()) + 1))) if classes is None else tuple(classes)
            y = y.astype(np.int64)
        else:
            names, y = (), y.astype(np.float64)
        columns = tuple(Column(f"x{i}") for i in range(x.shape[1]))
        return cls(TableInfo(len(x), columns, task, names, standardize, image=image), x, y)


def _check_weight(weight: NDArray[np.float64], n_rows: int, pointer: str = "/dataset") -> None:
    if weight.shape != (n_rows,):
        raise InvalidInput.at(pointer, f"weight has shape {weight.shape}; must be {(n_rows,)}")
    wrong = ~(np.isfinite(weight) & (weight >= 0))
    if wrong.any():
        row = int(wrong.argmax())
        raise InvalidInput.at(pointer, f"weight of row {row} is {weight[row]}; must be finite and >= 0")
