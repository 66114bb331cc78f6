"""Weights that stand on their own: parameters, preprocessing, description and golden vectors as plain arrays.

Names: W1 (I, O), b1 (O,), W2, ...; input_mean, input_std, input_median, input_categories, input_categorical,
input_dates, input_indicator, input_slots, target_mean, target_std (see `Preprocessing`), and where there are
featurisers input_feature_mean, ... (see `FittedFeatures`);
golden_inputs (G, F) cells, golden_outputs (G, O) raw scores; meta, a JSON text as a 0-d array, whose `activations` are
the formulas of the hidden layers in x and in their numbers: who reads the file needs no table of names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from kernels.backend import Backend
from kernels.dates import EXAMPLES, seconds_of
from kernels.errors import InvalidInput, MalformedInput
from kernels.numpy_backend import NumpyBackend
from kernels.random import Stream, uniform
from nets.losses import LOSSES
from nets.network import Network, activations_of
from nets.parameters import Layout
from nets.preprocess import Preprocessing
from nets.resolve import layout_of
from nets.spec import ResolvedSpec
from nets.spec_errors import shown
from nets.table import Column, TableInfo
from nets.tape import play

FORMAT = "mlpq-weights-1"
GOLDEN_ROWS = 8
SHOWN_VALUES = 10
_SHOWN_TEXT = 60
_BLOCK = 1024
_PIECE = 1 << 20


def pack(
    parameters: Mapping[str, NDArray[Any]],
    preprocessing: Preprocessing,
    spec: ResolvedSpec,
    info: TableInfo,
    metrics: Mapping[str, float | None],
    *,
    golden_rows: NDArray[Any] | None = None,
    flat: NDArray[Any] | None = None,
) -> dict[str, NDArray[Any]]:
    """Everything that a weights file holds. `golden_rows` (G, F) are cells to prove it with; default: made up.

    `flat` (P,) may give the same parameters in one piece, in the spec's precision: then they are not copied.
    Non-finite parameters are refused with InvalidInput: a file that proves itself cannot hold them.
    """
    for name, array in parameters.items():
        if not _finite(array):
            raise InvalidInput.at(f"/{name}", "is not finite everywhere")
    formulas = [{"expression": one.value, **numbers} for one, numbers in activations_of(spec.net.activation)]
    said = {"spec": spec.to_json(), "info": info.to_json(), "metrics": dict(metrics), "activations": formulas}
    meta = {"format": FORMAT, **said}
    text = orjson.dumps(meta, option=orjson.OPT_SORT_KEYS).decode()
    arrays = {name: np.ascontiguousarray(array) for name, array in parameters.items()}
    arrays |= preprocessing.arrays()
    arrays["meta"] = np.array(text)
    golden = _made_up_rows(preprocessing) if golden_rows is None else golden_rows[:GOLDEN_ROWS].astype(np.float64)
    arrays["golden_inputs"] = golden
    arrays["golden_outputs"] = Predictor(spec, info, preprocessing, arrays, flat=flat).golden(golden)
    return arrays


def _finite(array: NDArray[Any]) -> bool:
    """Whether all numbers are finite, a block at a time."""
    pieces = np.ravel(array)
    return all(np.isfinite(pieces[at : at + _PIECE]).all() for at in range(0, pieces.size, _PIECE))


def _made_up_rows(preprocessing: Preprocessing) -> NDArray[np.float64]:
    """Rows around the training data's centre, categories in turn; for featurisers images of noise."""
    made = preprocessing.features
    if made is not None:
        drawn = uniform(0, Stream.DATA, (GOLDEN_ROWS, len(preprocessing.mean)))
        return np.asarray(made.low + (made.high - made.low) * drawn)
    spread = np.linspace(-2.0, 2.0, GOLDEN_ROWS)[:, None] * np.where(np.arange(len(preprocessing.mean)) % 2, -1.0, 1.0)
    numeric = preprocessing.mean + spread * preprocessing.std
    codes = np.arange(GOLDEN_ROWS)[:, None] % np.maximum(preprocessing.categories, 1)
    return np.where(preprocessing.categorical, codes, numeric)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Class names or numbers for every row; probabilities (R, C) where the loss gives them."""

    predictions: list[str] | list[float]
    probabilities: NDArray[np.float64] | None


@dataclass(frozen=True)
class Unseen:
    """A column with categories that the training rows did not have, which count as none: in how many rows, and which.

    `values` are the first few different ones as they were given, long texts cut.
    """

    column: str
    n_rows: int
    values: tuple[str | bool | int | float, ...]


class Predictor:
    """A trained net with its preprocessing: cells in, predictions out, in the precision it was trained in."""

    def __init__(
        self,
        spec: ResolvedSpec,
        info: TableInfo,
        preprocessing: Preprocessing,
        parameters: Mapping[str, NDArray[Any]],
        backend: Backend | None = None,
        *,
        flat: NDArray[Any] | None = None,
    ) -> None:
        self.spec, self.info, self.preprocessing = spec, info, preprocessing
        self._backend = backend or NumpyBackend()
        self._layout: Layout = layout_of(spec, preprocessing.n_inputs, info.n_outputs)
        self._dtype = spec.training.dtype
        if flat is None:
            flat = self._backend.to_device(self._layout.flat(parameters, self._dtype))
        self._parameters = flat[None]

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], backend: Backend | None = None) -> Predictor:
        """From what `pack` gave. Raises MalformedInput if arrays are missing or do not fit together."""
        try:
            meta = json.loads(str(arrays["meta"]))
            if meta["format"] != FORMAT:
                raise MalformedInput(f"weights have format {meta['format']!r}; this version reads {FORMAT}")
            spec, info = ResolvedSpec.parse(meta["spec"]), TableInfo.from_json(meta["info"])
            return cls(spec, info, Preprocessing.from_arrays(arrays, spec.features), arrays, backend)
        except (KeyError, TypeError, json.JSONDecodeError, InvalidInput) as error:
            raise MalformedInput(f"not a complete set of weights: {error!r}") from error
        except ValueError as error:
            raise MalformedInput(f"weights do not fit their description: {error}") from error

    @property
    def layout(self) -> Layout:
        """Where every weight lies in `flat`."""
        return self._layout

    @property
    def flat(self) -> NDArray[Any]:
        """The parameters (P,) as they are; not to be changed."""
        return np.asarray(self._parameters[0])

    def scores(self, cells: NDArray[Any]) -> NDArray[Any]:
        """Cells (R, F) -> raw scores (R, O) in the net's dtype."""
        if cells.ndim != 2 or cells.shape[1] != len(self.info.columns):
            raise InvalidInput.at("/rows", f"have shape {cells.shape}; must have {len(self.info.columns)} columns")
        return self._scores(cells, self._net, _BLOCK)

    def golden(self, cells: NDArray[Any]) -> NDArray[Any]:
        """The same of the few rows that prove a file, by smaller products, whose last bits differ."""
        return self._scores(cells, self._network(GOLDEN_ROWS), GOLDEN_ROWS)

    def _network(self, rows: int) -> Network:
        activations = activations_of(self.spec.net.activation)
        return Network(self._backend, self._layout, activations, rows, self._parameters)

    @cached_property
    def _net(self) -> Network:
        return self._network(_BLOCK)

    def _scores(self, cells: NDArray[Any], net: Network, rows: int) -> NDArray[Any]:
        inputs = self.preprocessing.transform(cells, self._dtype)
        out = np.empty((len(inputs), self._layout.widths[-1]), self._dtype)
        block = np.ones((1, rows, self._layout.rows[0]), self._dtype)
        for start in range(0, len(inputs), rows):
            part = inputs[start : start + rows]
            block[0, : len(part), : part.shape[1]] = part
            net.inputs[...] = self._backend.to_device(block)
            with np.errstate(all="ignore"):
                play(net.forward)
            out[start : start + len(part)] = self._backend.to_host(net.scores)[0].T[: len(part)]
        return out

    def predict(self, cells: NDArray[Any]) -> Predictions:
        """Cells (R, F), numbers or category codes with NaN = missing -> predictions.

        Raises InvalidInput for numbers that are too large for the net.
        """
        scores = self.scores(cells)
        beyond = ~np.isfinite(scores).all(axis=1)
        if beyond.any():
            said = "has numbers that are too large: the net's scores are not finite"
            raise InvalidInput.at(f"/rows/{int(beyond.argmax())}", said)
        if self.info.task == "regression":
            return Predictions([float(v) for v in self.preprocessing.restore_target(scores)], None)
        loss = LOSSES[self.spec.loss.name]
        names = [self.info.classes[int(c)] for c in loss.classes(scores, axis=1)]
        link = loss.probabilities
        return Predictions(names, None if link is None else np.asarray(link(scores.astype(np.float64)), np.float64))

    def cells(self, rows: Sequence[Sequence[Any] | Mapping[str, Any]]) -> NDArray[np.float64]:
        """JSON rows, lists in the table's order or objects by column name, -> cells (R, F).

        null and "" are missing; categories are given by name (an unknown name counts as unseen); booleans as
        true/false, 0/1 or in the data set's words; date-times as ISO 8601 or seconds since 1970.
        Images of bytes are given as they are stored, 0..1.
        Raises InvalidInput naming row and column.
        """
        columns = self.info.columns
        out = np.full((len(rows), len(columns)), np.nan)
        for i, row in enumerate(rows):
            if isinstance(row, Mapping):
                unknown = set(row) - {column.name for column in columns}
                if unknown:
                    raise InvalidInput.at(f"/rows/{i}", f"has no column {min(map(str, unknown))!r}")
                values: Sequence[Any] = [row.get(column.name) for column in columns]
            else:
                values = row
            if len(values) != len(columns):
                raise InvalidInput.at(f"/rows/{i}", f"has {len(values)} values; must have {len(columns)}")
            for j, value in enumerate(values):
                out[i, j] = self._cell(i, j, value)
        self._check_pixels(out)
        return out

    def unseen(self, rows: Sequence[Sequence[Any] | Mapping[str, Any]], cells: NDArray[np.float64]) -> list[Unseen]:
        """The columns in which `rows`, whose `cells` these are, hold categories that the training rows did not have."""
        places = self.preprocessing.unseen(cells)
        found = []
        for j in np.flatnonzero(places.any(axis=0)).tolist():
            name, where = self.info.columns[j].name, np.flatnonzero(places[:, j]).tolist()
            given = (row[name] if isinstance(row, Mapping) else row[j] for row in (rows[i] for i in where))
            different = dict.fromkeys(value[:_SHOWN_TEXT] if isinstance(value, str) else value for value in given)
            found.append(Unseen(name, len(where), tuple(islice(different, SHOWN_VALUES))))
        return found

    def _check_pixels(self, cells: NDArray[np.float64]) -> None:
        """Refuse bytes where the training data's were brought to 0..1: predictions would be off without a word."""
        if self.info.white is None:
            return
        beyond = np.nan_to_num(cells) > 1
        if beyond.any():
            i, j = np.argwhere(beyond)[0].tolist()
            said = f"is {cells[i, j]:g}; pixels are 0..1: divide bytes by {self.info.white}"
            raise InvalidInput.at(f"/rows/{i}/{j}", said)

    def _cell(self, i: int, j: int, value: object) -> float:
        column = self.info.columns[j]
        if value is None or value == "":
            return float("nan")
        if column.categories or column.kind == "categorical":
            code = column.code_of(value) if isinstance(value, str | bool | int | float) else None
            if code is not None:
                return code
            if column.kind == "categorical" and isinstance(value, str | bool | int | float):
                return float(len(column.categories))  # one that the training data did not have
        if column.kind == "datetime" and isinstance(value, str):
            seconds = seconds_of(value.strip(), column.order)
            if seconds is not None:
                return seconds
            raise InvalidInput.at(f"/rows/{i}/{j}", f"is {value!r:.60}; {column.name} must be like {_dated(column)}")
        if not isinstance(value, bool | int | float) or not -1e300 < value < 1e300:
            raise InvalidInput.at(f"/rows/{i}/{j}", f"is {shown(value)}; {column.name} must be {_wanted(column)}")
        return float(value)

    def verify(self, golden_inputs: NDArray[Any], golden_outputs: NDArray[Any], tolerance: float = 1e-5) -> None:
        """Raise MalformedInput unless the golden vectors come out again within a relative tolerance."""
        found = self.golden(golden_inputs)
        scale = max(1.0, float(np.abs(golden_outputs).max(initial=0.0)))
        gap = float(np.abs(found - golden_outputs).max(initial=0.0))
        if not gap <= tolerance * scale:
            raise MalformedInput(f"golden outputs differ by {gap:g}; the weights are damaged")


def _dated(column: Column) -> str:
    """Examples of dates that a column reads, for messages."""
    return {"dmy": "31/01/2026 or ", "mdy": "01/31/2026 or "}.get(column.order or "", "") + EXAMPLES


def _wanted(column: Column) -> str:
    """What a cell of a column may be, for messages."""
    if column.kind == "categorical":
        return "text, a number or null"
    words = f"true, false, {', '.join(column.categories)}, " if column.categories else ""
    return f"{words}a finite number or null"
