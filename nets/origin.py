"""What a fork starts from: another net's weights, with what prepares their inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.errors import InvalidInput, MalformedInput
from nets.optimizers import OPTIMIZERS
from nets.preprocess import Preprocessing
from nets.resolve import layout_of
from nets.spec import ResolvedSpec
from nets.spec_errors import shown
from nets.table import Column, TableInfo


@dataclass(frozen=True, eq=False)
class Origin:
    """The arrays of a weights file and what they are of."""

    arrays: Mapping[str, NDArray[Any]]
    spec: ResolvedSpec
    info: TableInfo

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Origin:
        """From what `nets.weights.pack` gave. Raises MalformedInput where it is not whole."""
        try:
            meta = json.loads(str(arrays["meta"]))
            return cls(arrays, ResolvedSpec.parse(meta["spec"]), TableInfo.from_json(meta["info"]))
        except (KeyError, TypeError, ValueError, InvalidInput) as error:
            raise MalformedInput(f"not a complete set of weights: {error!r}") from error

    @property
    def preprocessing(self) -> Preprocessing:
        """What was fitted when these weights were trained; they mean nothing behind another one."""
        return Preprocessing.from_arrays(self.arrays, self.spec.features)

    def parameters(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Flat (P,)."""
        return layout_of(self.spec, *self._ends).flat(self.arrays, dtype)

    def check(self, spec: ResolvedSpec, about: TableInfo) -> None:
        """Raise InvalidInput where a net of this spec on these inputs cannot start from these weights."""
        _check_columns(self.info, about)
        theirs, ours = layout_of(self.spec, *self._ends), layout_of(spec, *self._ends)
        if ours.widths != theirs.widths:
            pointer = "/net/hidden" if ours.widths[-1] == theirs.widths[-1] else "/loss"
            detail = f"makes layers of widths {_shape(ours.widths)}; the weights have {_shape(theirs.widths)}"
            raise InvalidInput.at(pointer, detail)
        if ours != theirs:
            raise InvalidInput.at("/net", "has another bias or batch_norm than the weights to start from")
        if OPTIMIZERS[spec.optimizer.name].searches:
            raise InvalidInput.at("/optimizer/name", f"is {spec.optimizer.name}, which draws all weights anew")
        if spec.training.folds:
            raise InvalidInput.at("/training/folds", "is given; every row may have trained the weights to start from")

    @property
    def _ends(self) -> tuple[int, int]:
        return self.preprocessing.n_inputs, self.info.n_outputs


def _shape(widths: tuple[int, ...]) -> str:
    return " → ".join(map(str, widths))


def _check_columns(wanted: TableInfo, given: TableInfo) -> None:
    """The inputs and classes of two data sets must be the same, name by name."""
    if given.task != wanted.task:
        raise InvalidInput.at("/dataset", f"has the task {given.task}; the weights were trained for {wanted.task}")
    if given.classes != wanted.classes:
        detail = f"has the classes {_some(given.classes)}; the weights were trained for {_some(wanted.classes)}"
        raise InvalidInput.at("/dataset", detail)
    names, known = [c.name for c in given.columns], [c.name for c in wanted.columns]
    if names != known:
        raise InvalidInput.at("/dataset", f"has the columns {_some(names)}; the weights read {_some(known)}")
    for own, column in zip(given.columns, wanted.columns, strict=True):
        if _input(own) != _input(column):
            detail = "in kind, categories or missing cells from what the weights read"
            raise InvalidInput.at("/dataset", f"has the column {shown(own.name)}, which differs {detail}")


def _input(column: Column) -> tuple[str, tuple[str, ...], bool]:
    return column.kind, column.categories, column.has_indicator


def _some(names: Any) -> str:
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
