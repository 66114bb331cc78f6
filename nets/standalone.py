"""Predict with one trained net: NumPy is all that this file needs. It checks itself whenever it is loaded.

    python predict.py rows.csv > predictions.csv      columns as in the training data, one row each
    from predict import predict                       predict([[5.1, 3.5, 1.4, 0.2], {"petal width": 0.2}])

Rows are in the columns of the training data; None or an empty cell is missing, categories are given by name, date-times
as text such as 2026-01-31T14:30 or seconds since 1970. `predict` returns the predictions, and the probabilities where
the net has them.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import re
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import date  # noqa: F401
from typing import Any

import numpy as np
from numpy import abs, exp, expm1, log, log1p, maximum, minimum, pi, sqrt, tanh, where  # noqa: A004, F401

# --- the model ---
MODEL: dict[str, Any] = json.loads("{}")
ACTIVATIONS: Sequence[Callable[[Any], Any]] = ()
FEATURES: Sequence[tuple[Callable[..., Any] | None, Mapping[str, Any]]] = ()
OPERATIONS: Any = None
ARRAYS = ""
# --- end of the model ---


# --- dates ---
def seconds_of(text: str, order: str | None = None) -> float | None:
    """Seconds since 1970 in UTC of a date or date-time: kernels/dates.py writes itself here."""
    raise NotImplementedError


# --- end of dates ---

MAX_ONE_HOT, EPSILON, TOLERANCE = 64, 1e-5, 1e-4
MISSING_TEXTS = {"", "NA", "N/A", "n/a", "#N/A", "NULL", "null", "None", "?"}
BLOCK = 64
CYCLES_S = np.array([1.0, 7.0, 365.2425]) * 86_400

erf = np.vectorize(math.erf, otypes=[float])


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1 + tanh(0.5 * x))


def softplus(x: Any) -> Any:
    """log(1 + exp(x)) without overflow."""
    return np.logaddexp(0.0, x)


def load() -> dict[str, Any]:
    """The arrays by name: W1 (in, out), b1 (out,), ..., and what prepares the inputs."""
    with np.load(io.BytesIO(zlib.decompress(base64.b64decode(ARRAYS))), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def cells(rows: Sequence[Any]) -> Any:
    """Rows, lists or mappings by column name -> numbers (n, columns); NaN is missing."""
    columns = MODEL["columns"]
    names = [column["name"] for column in columns]
    out = np.full((len(rows), len(columns)), np.nan)
    for i, row in enumerate(rows):
        values = [row.get(name) for name in names] if isinstance(row, Mapping) else row
        if len(values) != len(columns):
            raise ValueError(f"row {i} has {len(values)} values; must have {len(columns)}: {', '.join(names)}")
        for j, (column, value) in enumerate(zip(columns, values)):  # noqa: B905 - of equal length
            if value is not None and value != "":
                out[i, j] = cell(column, value, i)
    return out


def cell(column: Mapping[str, Any], value: Any, row: int) -> float:
    """One value as a number: itself, the code of a category, or seconds since 1970."""
    categories = column["categories"]
    if categories or column["kind"] == "categorical":
        text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        if text in categories:
            return float(categories.index(text))
        folded = [category.lower() for category in categories]
        if (isinstance(value, bool) or column["kind"] == "boolean") and text.lower() in folded:
            return float(folded.index(text.lower()))
        if column["kind"] == "categorical":
            return float(len(categories))
    try:
        if column["kind"] == "datetime" and isinstance(value, str):
            seconds = seconds_of(value.strip(), column.get("order"))
            return float("not a date" if seconds is None else seconds)
        return number(value) if isinstance(value, str) else float(value)
    except ValueError:
        raise ValueError(f"row {row}, column {column['name']}: {value!r} does not fit {column['kind']}") from None


def number(text: str) -> float:
    """A number written as the training data were: their decimal sign, and what stands between their thousands."""
    decimal, thousands = MODEL.get("decimal", "."), MODEL.get("thousands", "")
    bare = re.sub(r"^([+-]?)([$€£¥₹]|[A-Z]{3}) ?|() ?([$€£¥₹%]|[A-Z]{3})$", r"\1", text.strip())
    between = {" ": "[ \u00a0\u202f]", "'": "['’]"}.get(thousands, re.escape(thousands))
    if thousands and re.match(rf"[+-]?\d{{1,3}}({between}\d{{3}})+(?!\d)", bare):
        bare = re.sub(between, "", bare)
    elif thousands == "." and "." in bare:
        raise ValueError(text)
    found = float(bare.replace(decimal, "."))
    if math.isinf(found) or "_" in bare:
        raise ValueError(text)
    return found


def inputs(numbers: Any, arrays: Mapping[str, Any]) -> Any:
    """Numbers (n, columns) -> inputs of the net (n, in)."""
    absent = np.isnan(numbers)
    filled = where(absent, arrays["input_median"], numbers)
    raw = prepared(absent, filled, arrays)
    if not FEATURES:
        return raw
    low, high = arrays["input_feature_range"]
    parts, begin = [], 0
    for place, (measure, settings) in enumerate(FEATURES):
        if measure is None:
            parts.append(raw)
            continue
        known = f"input_feature{place}_"
        learnt = {name[len(known) :]: array for name, array in arrays.items() if name.startswith(known)}
        shape = tuple(arrays["input_feature_image"].tolist())
        blocks = [(filled[row : row + BLOCK] - low) / (high - low) for row in range(0, max(len(filled), 1), BLOCK)]
        found = np.concatenate([measure(OPERATIONS, block, shape, settings, learnt) for block in blocks])
        end = begin + found.shape[1]
        parts.append((found - arrays["input_feature_mean"][begin:end]) / arrays["input_feature_std"][begin:end])
        begin = end
    return np.concatenate(parts, axis=1)


def prepared(absent: Any, filled: Any, arrays: Mapping[str, Any]) -> Any:
    """Numbers without gaps (n, columns), and where gaps were -> standardised, one-hot, dates with their phases."""
    scaled = (filled - arrays["input_mean"]) / arrays["input_std"]
    parts, begin = [], 0
    for j, count in enumerate(arrays["input_categories"]):
        if arrays["input_categorical"][j]:
            slots = arrays["input_slots"][begin : begin + count + 1]
            codes = where(absent[:, j], 0, np.clip(filled[:, j], 0, count)).astype(int)
            chosen = where(absent[:, j], -1, slots[codes])
            width = max(count, 1) if count <= MAX_ONE_HOT else MAX_ONE_HOT + 1
            parts.append(chosen[:, None] == np.arange(width))
            begin += count + 1
            continue
        parts.append(scaled[:, j : j + 1])
        if arrays["input_dates"][j]:
            angles = 2 * pi * filled[:, j, None] / CYCLES_S
            parts.append(np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(len(filled), -1))
        if arrays["input_indicator"][j]:
            parts.append(absent[:, j : j + 1])
    return np.concatenate(parts, axis=1, dtype=np.float64)


def scores(numbers: Any, arrays: Mapping[str, Any]) -> Any:
    """Numbers (n, columns) -> raw scores (n, out), in float64."""
    a = inputs(numbers, arrays)
    for layer in range(1, len(ACTIVATIONS) + 2):
        z = a @ arrays[f"W{layer}"].astype(float) + arrays.get(f"b{layer}", 0.0)
        if f"gamma{layer}" in arrays:
            spread = sqrt(arrays[f"running_var{layer}"].astype(float) + EPSILON)
            z = (z - arrays[f"running_mean{layer}"]) / spread * arrays[f"gamma{layer}"] + arrays[f"beta{layer}"]
        a = ACTIVATIONS[layer - 1](z) if layer <= len(ACTIVATIONS) else z
    return a


def predict(rows: Sequence[Any]) -> tuple[list[Any], Any]:
    """Rows -> class names or numbers, and probabilities (n, classes) or None."""
    found = scores(cells(rows), WEIGHTS)
    if MODEL["task"] == "regression":
        return (found[:, 0] * WEIGHTS["target_std"] + WEIGHTS["target_mean"]).tolist(), None
    codes = (found[:, 0] > 0).astype(int) if MODEL["one_output"] else found.argmax(axis=1)
    names = [MODEL["classes"][code] for code in codes]
    if MODEL["link"] == "softmax":
        powers = exp(found - found.max(axis=1, keepdims=True))
        return names, powers / powers.sum(axis=1, keepdims=True)
    if MODEL["link"] == "sigmoid":
        second = sigmoid(found[:, :1])
        return names, np.concatenate([1 - second, second], axis=1)
    return names, None


def verify(arrays: Mapping[str, Any]) -> None:
    """Raise ValueError unless stored inputs give the stored scores again."""
    golden = arrays["golden_outputs"].astype(float)
    gap = np.max(np.abs(scores(arrays["golden_inputs"], arrays) - golden), initial=0.0)
    if not gap <= TOLERANCE * max(1.0, np.max(np.abs(golden), initial=0.0)):
        raise ValueError(f"this file is damaged: its golden vectors differ by {gap:g}")


def table(text: str) -> list[dict[str, Any]]:
    """The rows of a CSV file by column; without a header where the training data had none."""
    known = [column["name"] for column in MODEL["columns"]]
    while text.startswith("#") and not set(re.split("[,;|\t\r\n]", text.partition("\n")[0])) & set(known):
        text = text.partition("\n")[2]
    first = re.sub('"[^"]*"', "", text.partition("\n")[0])
    delimiter = max(",;\t|", key=first.count)
    lines = [line for line in csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True) if line]
    lines = [line for line in lines if len(line) == len(lines[0]) or "".join(line).strip()]
    names, begin = distinct([name.strip() for name in lines[0]]) if lines else [], 1
    if not set(names) & set(known) and all(re.fullmatch("column_[0-9]+", name) for name in known):
        names, begin = known if len(names) == len(known) else [f"column_{k + 1}" for k in range(len(names))], 0
    if not set(names) & set(known):
        raise ValueError(f"the first row has none of the columns {', '.join(known[:20])}")
    absent = [name for name in known if name not in names]
    if absent:
        sys.stderr.write(f"predict.py: not there, taken as missing: {', '.join(absent[:20])}\n")
    return [
        {name: None if value.strip() in MISSING_TEXTS else value for name, value in zip(names, line)}  # noqa: B905
        for line in lines[begin:]
    ]


def decoded(content: bytes) -> str:
    """UTF-16 with its mark, else UTF-8, else Windows-1252."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252")


def distinct(names: Sequence[str]) -> list[str]:
    """Names of columns as the training data had them: column_3 for none, x.2 for the second x."""
    own = [name or f"column_{place + 1}" for place, name in enumerate(names)]
    taken, seen = set(own), set()
    for place, name in enumerate(own):
        if name in seen:
            own[place] = next(one for k in range(2, len(own) + 2) if (one := f"{name}.{k}") not in taken)
            taken.add(own[place])
        seen.add(name)
    return own


def main(arguments: Sequence[str]) -> int:
    """Predict the rows of a CSV file, or say that the file is whole."""
    if not arguments:
        sys.stdout.write("the weights are whole\n")
        return 0
    if arguments[0] in ("-h", "--help"):
        sys.stdout.write(__doc__ or "")
        return 0
    try:
        with open(arguments[0], "rb") as file:  # noqa: PTH123 - one file, no more imports
            names, chances = predict(table(decoded(file.read())))
    except (OSError, ValueError, csv.Error) as error:
        sys.stderr.write(f"predict.py: {error}\n")
        return 2
    out = csv.writer(sys.stdout, lineterminator="\n")
    try:
        out.writerow(["prediction", *(MODEL["classes"] if chances is not None else ())])
        out.writerows([name, *(chances[row] if chances is not None else ())] for row, name in enumerate(names))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has read enough
        sys.stdout = io.StringIO()
    return 0


WEIGHTS = load() if ARRAYS else {}
if ARRAYS:
    verify(WEIGHTS)
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
