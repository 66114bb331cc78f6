"""Job specifications that people write: a JSON or YAML file, standard input, assignments over it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlpq.errors import InvalidArgumentError

if TYPE_CHECKING:
    import yaml

ENDINGS = (".json", ".yaml", ".yml")
CHOICES = frozenset({"activation", "loss", "optimizer", "schedule"})
"""Options that are a name, or a name with settings."""
HINT = "`mlpq train iris --dry-run --json` shows what a specification may hold"


def is_spec(text: str) -> bool:
    """Whether a word on the command line names a specification rather than data."""
    return text == "-" or text.endswith(ENDINGS)


def read_spec(source: str) -> dict[str, Any]:
    """A specification from a file, or from standard input for `-`; JSON where it begins with a brace, else YAML.

    Raises:
        InvalidArgumentError: it cannot be read, is no JSON or YAML, or holds something other than settings.
    """
    document, named = _document(source)
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise InvalidArgumentError(f"{named} holds no settings; must be like `net: {{hidden: [64]}}`", HINT)
    return document


def read_specs(source: str) -> list[dict[str, Any]]:
    """Specifications from a file with a list of them, or with `jobs`, which is one.

    Raises:
        InvalidArgumentError: as `read_spec`.
    """
    document, named = _document(source)
    if isinstance(document, dict) and document.keys() == {"jobs"}:
        document = document["jobs"]
    if not isinstance(document, list) or not document or not all(isinstance(one, dict) for one in document):
        raise InvalidArgumentError(f"{named} holds no list of specifications", "for example: - {dataset: iris}")
    return document


def _document(source: str) -> tuple[Any, str]:
    """What a file holds, and how to call it."""
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidArgumentError(f"{source} cannot be read: {reason}", HINT) from error
    named = "standard input" if source == "-" else source
    try:
        return (_json(text, named) if text.lstrip().startswith("{") else _yaml(text, named)), named
    except RecursionError as error:
        raise InvalidArgumentError(f"{named} is nested too deeply", HINT) from error


def _json(text: str, named: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidArgumentError(f"{named} is no JSON: {error}", HINT) from error


def _yaml(text: str, named: str) -> Any:
    import yaml

    try:
        return yaml.load(text, Loader=_core_loader())  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark else ""
        what = " ".join(str(getattr(error, "problem", None) or error).split())
        raise InvalidArgumentError(f"{named} is no YAML: {what}{place}", HINT) from error


def _core_loader() -> type[yaml.SafeLoader]:
    """YAML 1.2's core schema, in which `1e-3` is a number, `no` is text, and a key stands once; aliases are refused."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as its base has it

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                raise yaml.composer.ComposerError(None, None, "aliases are not allowed", self.peek_event().start_mark)
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value:
                if key.value in seen:
                    message = f"{key.value!r} is there twice"
                    raise yaml.constructor.ConstructorError(None, None, message, key.start_mark)
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    for tag, pattern, first in (
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("int", r"[-+]?[0-9]+", "-+0123456789"),
        ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
        ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ):
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))
    return Loader


def composed(source: str | None, settings: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """A file first, then the settings that were given (None: not), then assignments, each over the one before."""
    from mlpq.settings import job_changes

    given = {name: _choice(name, value) for name, value in settings.items() if value is not None}
    document = merge(read_spec(source) if source else {}, job_changes(given))
    for assignment in assignments:
        assign(document, assignment)
    return document


def _choice(name: str, value: Any) -> Any:
    """What may be a name or an object with settings, on one line: JSON where it begins as JSON does."""
    if name not in CHOICES or value[:1] not in ("{", "["):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise InvalidArgumentError(f"--{name} is no JSON: {error}", f"--{name} '{{\"name\": …}}'") from error


def assign(document: dict[str, Any], assignment: str) -> None:
    """Carry out `training.clip_norm=1.0`: the value is JSON, or else text."""
    path, equals, text = assignment.partition("=")
    if not equals or not path:
        raise InvalidArgumentError(f"--set is {assignment!r}; must be like training.clip_norm=1.0", HINT)
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    *parts, last = path.split(".")
    for part in parts:
        below = document.setdefault(part, {})
        if not isinstance(below, dict):
            document[part] = below = {"name": below}
        document = below
    document[last] = value


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with what `over` says, part by part."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, str) and isinstance(value, dict):
            below = {"name": below}
        merged[key] = merge(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged
