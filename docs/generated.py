"""The pages of the reference that are written from the code: `python -m docs.generated` (make docs).

A test compares the files with what this module gives: a route, an option or a method without its line is noticed.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

HTTP_HEAD = """# The HTTP API

Written by `make docs` from the service's OpenAPI document, which is at `/openapi.json` and can be tried at `/docs`; do
not edit. Errors are `application/problem+json` (RFC 9457) with a stable `code` and, of a refused body or query,
`errors` with a pointer each; a query parameter that a route does not know is refused. Every POST takes an
`Idempotency-Key`."""

CLI_HEAD = """# The command line

Written by `make docs` from the parser; do not edit. `mlpq COMMAND --help` says the same."""

PYTHON_HEAD = """# The Python client

Written by `make docs` from the code; do not edit. Every example is run by the tests. `AsyncClient`, `AsyncJob` and
`AsyncSweep` have the same calls, which are awaited; `jobs`, `sweeps`, `datasets`, `events` and `watch` are read with
`async for`."""


def _table(headings: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    head = list(headings)
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def http_api() -> str:
    """Every route of the service, from its OpenAPI document."""
    import tempfile

    from service.app import create_app
    from service.settings import from_environment

    with tempfile.TemporaryDirectory() as folder:
        settings = from_environment({"MLPQ_DATA_DIR": folder, "REDIS_URL": "redis://127.0.0.1:6379/0"})
        document = create_app(settings).openapi()
    by_tag: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            by_tag.setdefault(tag, []).append(_route(document, method, path, operation))
    parts = [HTTP_HEAD]
    for tag in sorted(by_tag):
        parts += [f"## {tag.capitalize()}", *by_tag[tag]]
    return "\n\n".join(parts) + "\n"


def _route(document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> str:
    parts = [f"### {method.upper()} {path}", _unwrapped(operation.get("description", ""))]
    parameters = [_parameter(one) for one in operation.get("parameters", ()) if one["in"] in ("query", "header")]
    if parameters:
        parts.append(_table(("parameter", "in", "type", "meaning"), parameters))
    body = operation.get("requestBody", {}).get("content", {})
    if body:
        parts.append("Body: " + ", ".join(f"`{kind}`{_fields(document, one)}" for kind, one in body.items()) + ".")
    answers = {code: one["description"] for code, one in operation["responses"].items() if code < "400"}
    refused = ", ".join(code for code in operation["responses"] if code >= "400")
    told = "; ".join(f"{code} {what}" for code, what in answers.items())
    parts.append(f"Answers: {told}." + (f" Refused with {refused}." if refused else ""))
    return "\n\n".join(part for part in parts if part)


def _parameter(one: Mapping[str, Any]) -> tuple[str, str, str, str]:
    schema = one.get("schema", {})
    kinds = [part.get("type", "") for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    allowed = schema.get("enum")
    kind = " or ".join(f"`{value}`" for value in allowed) if allowed else " or ".join(filter(None, kinds))
    meaning = one.get("description") or schema.get("description") or ""
    if schema.get("default") is not None:
        meaning = f"{meaning.rstrip('.')}. Default `{schema['default']}`.".lstrip(". ")
    return f"`{one['name']}`", one["in"], kind, meaning


def _fields(document: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    schema = body.get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    found = document.get("components", {}).get("schemas", {}).get(name, schema)
    names = [f"`{field}`" for field in found.get("properties", ())]
    return f" with {', '.join(names)}" if names else ""


def command_line() -> str:
    """Every command with its options, from the parser."""
    import typer.main

    from mlpq.cli import EXAMPLES, app
    from mlpq.cli.exits import EXIT_HELP

    group = typer.main.get_command(app)
    groups: dict[str, list[Any]] = {}
    for command in group.commands.values():  # type: ignore[attr-defined]
        groups.setdefault(command.rich_help_panel, []).append(command)
    parts = [
        CLI_HEAD,
        "```text\n" + "\n".join(line[1:] for line in EXAMPLES.strip("\n").splitlines()) + "\n```",
        _options(group),
        EXIT_HELP,
    ]
    for panel, commands in groups.items():
        parts.append(f"## {panel}")
        for command in commands:
            parts += [f"### mlpq {command.name}", _paragraphs(command.help or ""), _options(command)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _options(command: Any) -> str:
    rows = []
    for one in command.params:
        if one.name == "help" or getattr(one, "hidden", False):
            continue
        argument = one.param_type_name == "argument"
        name = one.metavar or one.name.upper() if argument else ", ".join((*one.opts, *one.secondary_opts))
        default = getattr(one, "show_default", None)
        shown = default if isinstance(default, str) else one.default
        if not isinstance(shown, str | int | float | Path) or shown is False:
            shown = ""
        variable = f" Environment: `{one.envvar}`." if one.envvar else ""
        rows.append((f"`{name}`", (getattr(one, "help", None) or "") + variable, f"`{shown}`" if str(shown) else ""))
    return _table(("argument or option", "meaning", "default"), rows) if rows else ""


def python_client() -> str:
    """Every call of the client with its example, from the documentation of the code."""
    from mlpq.client import Client
    from mlpq.job import Job
    from mlpq.settings import TrainSettings
    from mlpq.sweep import Sweep

    settings = ", ".join(f"`{name}`" for name in inspect.get_annotations(TrainSettings))
    parts = [
        PYTHON_HEAD,
        "## Client",
        _docstring(inspect.getdoc(Client) or ""),
        *_calls("client", Client),
        "## Job",
        _docstring(inspect.getdoc(Job) or ""),
        *_calls("job", Job),
        "## Sweep",
        _docstring(inspect.getdoc(Sweep) or ""),
        *_calls("sweep", Sweep),
        "## Settings of train",
        _paragraphs(inspect.getdoc(TrainSettings) or ""),
        f"{settings}. What each may be says [the reference of a job](reference.md).",
    ]
    return "\n\n".join(parts) + "\n"


def _calls(name: str, kind: type) -> list[str]:
    from mlpq.both import iteration, operation

    made = {key: one for part in reversed(kind.__mro__) for key, one in vars(part).items()}
    parts = []
    for key, one in made.items():
        if isinstance(one, operation | iteration):
            signature = _signature(getattr(kind, key))
            parts += [f"### {name}.{key}", f"`{name}.{key}{signature}`", _docstring(inspect.getdoc(one) or "")]
    return parts


def _signature(call: Callable[..., Any]) -> str:
    signature = inspect.signature(call)
    parameters = [one for name, one in signature.parameters.items() if name != "self"]
    answer = {"J": "Job", "S": "Sweep", "list[J]": "list[Job]"}.get(
        str(signature.return_annotation), str(signature.return_annotation)
    )
    answer = answer.replace("AsyncIterator[J]", "Iterator[Job]").replace("AsyncIterator[S]", "Iterator[Sweep]")
    answer = answer.replace("AsyncIterator", "Iterator")
    shown = re.sub(
        r"'([^']*)'", r"\1", str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
    )
    return f"{shown} -> {answer}"


def _docstring(text: str) -> str:
    """A docstring of this project as Markdown: examples fenced, arguments and exceptions as lists."""
    parts: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        lines = block.splitlines()
        if lines[0].startswith(">>>"):
            parts.append("```pycon\n" + block + "\n```")
        elif lines[0].rstrip(":") in ("Args", "Raises", "Attributes") and len(lines) > 1:
            parts += [lines[0]] if lines[0] == "Raises:" else []
            parts.append("\n".join(_items(lines[1:])))
        else:
            parts.append(" ".join(line.strip() for line in lines))
    return "\n\n".join(parts)


def _items(lines: Iterable[str]) -> list[str]:
    items: list[str] = []
    for line in inspect.cleandoc("\n".join(lines)).splitlines():
        if line.startswith(" "):
            items[-1] += " " + line.strip()
        else:
            name, _, meaning = line.partition(": ")
            items.append(f"- `{name}`: {meaning}")
    return items


def _paragraphs(text: str) -> str:
    return "\n\n".join(_unwrapped(block) for block in re.split(r"\n\s*\n", text))


def _unwrapped(text: str) -> str:
    return " ".join(text.split())


PAGES: Mapping[str, Callable[[], str]] = {
    "reference-api.md": http_api,
    "reference-cli.md": command_line,
    "reference-python.md": python_client,
}

if __name__ == "__main__":
    for name, write in PAGES.items():
        (HERE / name).write_text(write(), encoding="utf-8")
