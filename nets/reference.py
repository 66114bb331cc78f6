"""The reference of everything that a spec may name, written from the registries: `make docs`.

`docs/reference.md` holds what `page` gives; a test compares them, so that a new row without its page is noticed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kernels.expressions import CONSTANTS, MACROS
from kernels.operations import ACTIVATIONS
from kernels.tape import FUNCTIONS
from nets.choices import ScheduleSpec
from nets.features.registry import FEATURISERS
from nets.initializers import INITIALIZERS
from nets.losses import LOSSES
from nets.net_spec import NetSpec
from nets.optimizers import OPTIMIZERS
from nets.options import ACTIVATION_ROWS, Option, Row
from nets.schedules import SCHEDULES
from nets.split_spec import ColumnSplit
from nets.training_spec import EarlyStoppingSpec, TrainingOptions

_HEAD = """# What a job may say

Written by `make docs` from the same rows that validation, `GET /v1/capabilities`, kernels and tests read; do not edit.
A name alone takes the defaults; with settings it is an object: `{"name": "leaky_relu", "alpha": 0.1}`. A default
shown as – is chosen for the data set; the record of a job, and a dry run, write it out.
"""
_SETTINGS = ("setting", "default", "allowed", "meaning")


def page() -> str:
    """The whole page as Markdown."""
    parts = [
        _HEAD,
        *_registry("Activations", "`net.activation`, one for all hidden layers or a list", ACTIVATION_ROWS),
        _formulas(),
        _language(),
        *_registry("Losses", "`loss`", LOSSES),
        _tasks(),
        *_registry("Optimizers", "`optimizer`", OPTIMIZERS),
        *_registry("Schedules", "`schedule`: a factor of the learning rate", SCHEDULES, ScheduleSpec.common),
        *_registry("Initial weights", "`net.init`; biases begin at 0", INITIALIZERS),
        *_registry("Features", "`features`, of images: a list whose inputs lie one after another", FEATURISERS),
        _fields("Net", "net", NetSpec.model_json_schema()),
        _fields("Training", "training", TrainingOptions.model_json_schema()),
        _fields("Split", "training.split", ColumnSplit.model_json_schema()),
        _fields("Early stopping", "training.early_stopping", EarlyStoppingSpec.model_json_schema()),
    ]
    return "\n".join(parts)


def _registry(title: str, where: str, rows: Mapping[str, Row], common: Sequence[Option] = ()) -> list[str]:
    """A section: every row, then every setting of every row."""
    table = _table(("name", "what it is", "source"), [(f"`{n}`", row.doc, row.source) for n, row in rows.items()])
    options = [(f"`{n}`", option) for n, row in rows.items() for option in row.options]
    options += [("all", option) for option in common]
    settings = [(name, f"`{o.name}`", _shown(o.default), o.allowed, o.doc) for name, o in options]
    return [f"## {title}\n\n{where}\n", table, *([_table(("of", *_SETTINGS), settings)] if settings else [])]


def _formulas() -> str:
    rows = [(f"`{name}`", f"`{row.value}`", f"`{row.gradient}`") for name, row in ACTIVATIONS.items()]
    return _table(("name", "value y", "gradient dy/dx"), rows)


def _language() -> str:
    known = f"{_listed(CONSTANTS)}, and {_listed(sorted({*FUNCTIONS, *MACROS}))}.\n"
    signs = "A custom formula may use `+ - * / ** ( ) < <= > >=`, whole exponents from 2 to 16, numbers, its own"
    return f"{signs} settings,\n{known}"


def _tasks() -> str:
    rows = [(f"`{name}`", ", ".join(row.tasks), "one" if row.one_output else "all") for name, row in LOSSES.items()]
    return _table(("loss", "tasks", "outputs"), rows)


def _fields(title: str, path: str, schema: Mapping[str, Any]) -> str:
    """A section: the fields of a model, by its JSON schema."""
    rows = [
        (f"`{path}.{name}`", _shown(field.get("default")), _allowed(field, schema.get("$defs", {})), _meaning(field))
        for name, field in schema["properties"].items()
    ]
    return f"## {title}\n\n{schema['description']}\n\n" + _table(("field", "default", "allowed", "meaning"), rows)


def _meaning(field: Mapping[str, Any]) -> str:
    return "" if field.get("pattern") else str(field.get("description", ""))


def _allowed(field: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """A JSON schema in a few words."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return "see above" if name in {"ActivationSpec", "InitSpec"} else _allowed(known.get(name, {}), known)
    for key in ("anyOf", "oneOf"):
        if key in field and field.get("title") not in {"ActivationSpec", "InitSpec"}:
            return " or ".join(dict.fromkeys(_allowed(one, known) for one in field[key]))
        if key in field:
            return "see above"
    if "enum" in field or "const" in field:
        return ", ".join(f"`{one}`" for one in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"a list of at most {field['maxItems']}, each: {_allowed(field['items'], known)}"
    if field.get("pattern"):
        return str(field["description"])
    low = f"> {field['exclusiveMinimum']:g}" if "exclusiveMinimum" in field else ""
    low = low or (f">= {field['minimum']:g}" if "minimum" in field else "")
    high = f"<= {field['maximum']:.16g}" if "maximum" in field else ""
    kind = {"null": "null", "object": "an object"}.get(str(field.get("type")), str(field.get("type")))
    return " ".join(filter(None, (kind, " and ".join(filter(None, (low, high))))))


def _shown(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else f"`{value}`" if isinstance(value, str) else str(value)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
