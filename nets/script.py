"""A trained net as one Python file that needs NumPy alone: `standalone.py` with the model written into it."""

from __future__ import annotations

import base64
import inspect
import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from kernels import dates
from kernels.errors import InvalidInput
from nets.choices import FeatureSpec
from nets.export import to_npz
from nets.features.numpy_operations import NumpyOperations
from nets.losses import LOSSES
from nets.network import Activation, activations_of
from nets.spec import ResolvedSpec
from nets.table import TableInfo

_TEMPLATE = Path(__file__).with_name("standalone.py")
_PLACE = re.compile(r"(?s)# --- the model ---\n.*?# --- end of the model ---\n")
_DATES = re.compile(r"(?s)# --- dates ---\n.*?# --- end of dates ---\n")
_FORMULA = re.compile(r"[A-Za-z0-9_+\-*/().,<>= ]+")
_COLUMNS = 100

MAX_BYTES = 64 << 20
"""Arrays that are written into a Python file: it is parsed whole."""


def to_script(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The file for the arrays of a weights file, as UTF-8. Raises InvalidInput where it would be too long to load."""
    if sum(array.nbytes for array in arrays.values()) > MAX_BYTES:
        raise InvalidInput.at("/query/format", f"is predict.py, for weights of 0..{MAX_BYTES} bytes; take npz")
    meta = json.loads(str(arrays["meta"]))
    spec, info = ResolvedSpec.parse(meta["spec"]), TableInfo.from_json(meta["info"])
    loss = LOSSES[spec.loss.name]
    link = "sigmoid" if loss.one_output else "softmax" if loss.probabilities is not None else None
    model = {
        "task": info.task,
        "classes": info.classes,
        "columns": [
            {"name": c.name, "kind": c.kind, "categories": c.categories} | ({"order": c.order} if c.order else {})
            for c in info.columns
        ],
        "link": link,
        "one_output": loss.one_output,
        "decimal": info.decimal,
        "thousands": info.thousands,
    }
    packed = to_npz({name: array for name, array in arrays.items() if name != "meta"})
    content = base64.b64encode(zlib.compress(packed, 1)).decode()
    lines = [repr(content[start : start + _COLUMNS]) for start in range(0, len(content), _COLUMNS)]
    written = [
        "# --- the model ---",
        f"MODEL: dict[str, Any] = json.loads({json.dumps(model)!a})",
        "ACTIVATIONS: Sequence[Callable[[Any], Any]] = (",
        *(f"    {_function(one)}," for one in activations_of(spec.net.activation)),
        ")",
        *_featurisers(spec.features),
        "ARRAYS = (",
        *(f"    {line}" for line in lines),
        ")",
        "# --- end of the model ---",
    ]
    text = _PLACE.sub(lambda _: "\n".join(written) + "\n", _TEMPLATE.read_text(encoding="utf-8"), count=1)
    return _DATES.sub(lambda _: _DATES.findall(inspect.getsource(dates))[0], text, count=1).encode()


def _featurisers(features: Sequence[FeatureSpec]) -> list[str]:
    """The texts of what the featurisers run, each once, and the list of them with their settings."""
    rows = [one.row for one in features]
    parts = [part for row in rows if row.measure for part in (*row.uses, row.measure)]
    needed: list[Callable[..., Any]] = [NumpyOperations, *parts] if parts else []
    lines = [f"{inspect.getsource(part).strip()}\n\n" for part in dict.fromkeys(needed)]
    calls = [(one.row.measure.__name__ if one.row.measure else "None", one.options) for one in features if parts]
    listed = [f"    ({name}, {options!r})," for name, options in calls]
    return [*lines, "FEATURES = (", *listed, ")", f"OPERATIONS = {'NumpyOperations' if parts else 'None'}"]


def _function(activation: Activation) -> str:
    """An activation as a Python expression: its formula holds nothing but what the language of formulas has."""
    operation, numbers = activation
    formula = " ".join(operation.value.split())
    if not _FORMULA.fullmatch(formula):
        raise ValueError(f"{operation.name} has a formula that cannot be written out: {formula!r}")
    settings = "".join(f", {name}={float(value)!r}" for name, value in numbers.items())
    return f"lambda x{settings}: ({formula}) + 0 * x"
