"""A model card as Markdown. Text of users is shown as it is: none of it is markup, a link or a line of its own."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterable, Sequence
from typing import Any

from service.text import safe_sentence
from store.records import Json

SHOWN_COLUMNS = 100
SHOWN_CLASSES = 50
_EVERYWHERE = frozenset('\\`*_[]<>|~&#!$@{}^="')
"""What steers Markdown wherever it stands. Other marks do where a line begins, which no value does, or in addresses."""
_ADDRESS = re.compile(r"://|www\.", re.IGNORECASE)


def markdown_of(card: Json) -> str:
    """The card, section by section; what is not known is left out."""
    parts = [
        f"# Model card: {plain(card['name'] or card['job'])}\n",
        _facts(_job(card)),
        "## Data\n",
        _facts(_data(card)),
        _columns(card["dataset"].get("columns") or []),
        "## Results\n",
        _results(card["metrics"]),
        "## Training\n",
        _facts((("parameters", _count(card["parameters"])), ("seed", card["seed"]))),
        _block("Asked for", card["asked"]),
        _block("Resolved, with every default", card["spec"]),
        "## Environment\n",
        _facts(({name: card[name] for name in ("device", "backend")} | card["environment"]).items()),
        *_files(card),
        *_loading(card["loading"]),
    ]
    return "\n".join(part for part in parts if part)


class Code(str):
    """What the service itself wrote, ids, hashes and paths: shown as code, to be copied."""

    __slots__ = ()


def plain(value: Any) -> str:
    """A value, behind a line's beginning, as Markdown shows it literally: no character of it steers anything."""
    if isinstance(value, Code):
        return f"`{value}`"
    text = " ".join(safe_sentence(str(value)).split())
    steering = string.punctuation if _ADDRESS.search(text) else _EVERYWHERE
    return "".join(f"\\{mark}" if mark in steering else mark for mark in text)


def _job(card: Json) -> Iterable[tuple[str, Any]]:
    error = card["error"]
    yield from (("job", Code(card["job"])), ("status", card["status"]))
    yield "error", None if error is None else f"{error['code']}: {error['message']}"
    yield "tags", ", ".join(card["tags"]) or None
    yield from ((name, card[f"{name}_at"]) for name in ("created", "started", "finished"))
    yield "took", None if card["duration_s"] is None else f"{card['duration_s']:.1f} s"
    yield "metadata", json.dumps(card["metadata"]) if card["metadata"] else None


def _data(card: Json) -> Iterable[tuple[str, Any]]:
    data, rows = card["dataset"], card["rows"] or {}
    yield "data set", data.get("name")
    yield "id", Code(data["id"])
    yield "deleted", "since then" if data["deleted"] else None
    yield "SHA-256", Code(data["sha256"]) if data.get("sha256") else None
    yield from ((name, data.get(name)) for name in ("format", "task", "target"))
    yield "rows", _count(data.get("n_rows"))
    yield from ((f"rows that {verb}", _count(rows.get(part))) for part, verb in _VERBS.items())
    for field in ("validation_dataset", "test_dataset"):
        if card[field] is not None:
            shown = (card[field].get(name) for name in ("name", "id", "sha256"))
            yield field.replace("_", " "), ", ".join(text for text in shown if text)
    classes = data.get("classes") or []
    more = f", … ({len(classes)} in all)" if len(classes) > SHOWN_CLASSES else ""
    yield "classes", ", ".join(classes[:SHOWN_CLASSES]) + more or None


_VERBS = {"train": "train", "validation": "validate", "test": "test"}


def _columns(columns: Sequence[Json]) -> str:
    rows = [(c["name"], c["kind"], _count(c["missing"]), c["role"]) for c in columns[:SHOWN_COLUMNS]]
    more = f"\n… and {len(columns) - SHOWN_COLUMNS} more columns\n" if len(columns) > SHOWN_COLUMNS else ""
    return _table(("column", "kind", "missing", "role"), rows) + more if rows else ""


def _results(metrics: Json) -> str:
    if not metrics:
        return "None yet.\n"
    names = list(dict.fromkeys(name for group in metrics.values() for name in group))
    rows = [(part.replace("_", " "), *(_figure(group.get(name)) for name in names)) for part, group in metrics.items()]
    return _table(("", *(name.replace("_", " ") for name in names)), rows)


def _files(card: Json) -> Iterable[str]:
    if card["artifacts"]:
        yield "## Files\n"
        yield _table(("format", "bytes", "SHA-256", "path"), [_file(one["format"], one) for one in card["artifacts"]])
    if card["checkpoints"]:
        yield "Checkpoints that are kept:\n"
        rows = [_file(str(one["step"]), {"href": one["links"]["weights"], **one}) for one in card["checkpoints"]]
        yield _table(("step", "bytes", "SHA-256", "path"), rows)


def _file(name: str, one: Json) -> Sequence[Any]:
    return name, _count(one["bytes"]) or "–", Code(one["sha256"]) if one["sha256"] else "–", Code(one["href"])


def _loading(ways: dict[str, str]) -> Iterable[str]:
    if ways:
        yield "## How to load it\n"
        yield from (
            f"{name}:\n\n```{'python' if name == 'python' else 'sh'}\n{code}\n```\n" for name, code in ways.items()
        )


def _block(title: str, document: Json) -> str:
    """JSON in ASCII, in a fence that nothing in it can close: its strings have no line breaks."""
    return f"{title}:\n\n```json\n{json.dumps(document, indent=2)}\n```\n"


def _facts(pairs: Iterable[tuple[str, Any]]) -> str:
    known = [(name.replace("_", " "), value) for name, value in pairs if value is not None]
    return "".join(f"- {plain(name)}: {plain(value)}\n" for name, value in known)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, *rows]
    shown = [f"| {' | '.join(plain(cell) for cell in line)} |" for line in lines]
    return "\n".join([shown[0], f"|{' --- |' * len(head)}", *shown[1:]]) + "\n"


def _count(value: int | None) -> str | None:
    return None if value is None else f"{value:,}".replace(",", " ")


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.5g}"
