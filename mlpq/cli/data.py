"""The commands about data sets, and about what the service can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlpq.cli import complete
from mlpq.cli.arguments import AsJson, Url, connect
from mlpq.cli.output import console, facts, print_json, printable, say, table
from mlpq.errors import InvalidArgumentError, InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from mlpq.client import Client
    from mlpq.records import Column, DatasetRecord


PANEL = "Data"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (datasets, upload, capabilities):
        app.command(rich_help_panel=PANEL)(command)


def datasets(
    dataset_id: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="One data set, with its columns.", autocompletion=complete.datasets),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Forget the data set.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List data sets; or show or delete one."""
    with connect(url) as client:
        if dataset_id is None:
            _list(list(client.datasets()), as_json)
        elif delete:
            client.delete_dataset(dataset_id)
            if as_json:
                print_json({"object": "dataset", "id": dataset_id, "deleted": True})
        else:
            _show(client.dataset(dataset_id), as_json)


def upload(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="A CSV, JSON, Parquet, Feather, NPZ, NPY or CIFAR file; of an IDX pair both.",
            autocompletion=complete.files,
        ),
    ],
    target: Annotated[str | None, typer.Option(help="The column to predict; default the last, or y.")] = None,
    name: Annotated[str | None, typer.Option(help="What it is called; default the file's name.")] = None,
    task: Annotated[str | None, typer.Option(help="classification or regression; default by the target.")] = None,
    missing: Annotated[str | None, typer.Option(help="error, impute or drop.")] = None,
    features: Annotated[list[str] | None, typer.Option("--feature", help="A column to learn from; repeatable.")] = None,
    standardize: Annotated[
        bool | None, typer.Option("--standardize/--no-standardize", help="Default: tables yes, images no.")
    ] = None,
    file_format: Annotated[str | None, typer.Option("--format", help="Default by content and name.")] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", help="COLUMN=numeric, categorical, boolean or datetime; repeatable."),
    ] = None,
    part: Annotated[str | None, typer.Option(help="Of CIFAR or an NPZ: train or test; default both.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="Of CSV; default found.")] = None,
    header: Annotated[bool | None, typer.Option("--header/--no-header", help="Of CSV; default found.")] = None,
    encoding: Annotated[
        str | None,
        typer.Option(help="Of CSV and JSON: utf-8, utf-16, cp1252 or latin-1; default by its mark, else UTF-8."),
    ] = None,
    decimal: Annotated[str | None, typer.Option(help="Decimal sign of CSV, . or ,; default found.")] = None,
    thousands: Annotated[str | None, typer.Option(help="Between thousands of CSV: , . ' or a blank.")] = None,
    dates: Annotated[str | None, typer.Option(help="Of 01/02/2026 in CSV or JSON: dmy or mdy; default found.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Upload a file as a data set."""
    options: dict[str, Any] = {"target": target, "name": name, "task": task, "missing": missing}
    options |= {"features": features or None, "standardize": standardize, "format": file_format, "part": part}
    options |= {"delimiter": delimiter, "header": header, "encoding": encoding}
    options |= {"decimal": decimal, "thousands": thousands, "dates": dates}
    options["columns"] = _kinds(kinds or []) or None
    with connect(url) as client:
        _show(upload_with_bar(client, paths, options, quiet=as_json), as_json)


def capabilities(url: Url = None, as_json: AsJson = False) -> None:
    """List every activation, loss, optimizer, … with its settings."""
    with connect(url) as client:
        document = client.capabilities()
    if as_json:
        print_json(document)
        return
    out = console()
    for section, rows in document.items():
        named = [row for row in rows if isinstance(row, dict) and "name" in row] if isinstance(rows, list) else []
        if named:
            out.print(f"\n{section.replace('_', ' ')}", style="bold")
            table(("name", "settings", ""), [(row["name"], _settings(row), row.get("doc")) for row in named])


def upload_with_bar(client: Client, paths: Sequence[Path], options: Mapping[str, Any], *, quiet: bool) -> DatasetRecord:
    """Upload a file, or several as one data set; a terminal sees how far it is, and warnings are told."""
    for path in paths:
        if not path.is_file():
            raise InvalidArgumentError(f"{path} is no file", "`mlpq datasets` lists what the service has already")
    given = {key: value for key, value in options.items() if value is not None}
    sent = paths[0] if len(paths) == 1 else paths
    try:
        record = client.upload(sent, progress=not quiet, **given)
    except InvalidInputError as error:
        error.hint = "`mlpq upload --help` lists what a file may be, and how it can be read"
        raise
    for warning in record.warnings:
        say(f"warning: {printable(warning)}")
    return record


def _kinds(assignments: Sequence[str]) -> dict[str, dict[str, str]]:
    """`zip=categorical` … as the option `columns` has them."""
    for text in assignments:
        if "=" not in text:
            raise InvalidArgumentError(f"--kind is {text}; must be COLUMN=KIND", "for example --kind zip=categorical")
    pairs = (text.rpartition("=") for text in assignments)
    return {name: {"kind": kind} for name, _, kind in pairs}


def _list(records: list[DatasetRecord], as_json: bool) -> None:
    if as_json:
        print_json({"object": "list", "data": [dict(record.raw) for record in records]})
        return
    headings = ("id", "name", "task", "rows", "features", "classes")
    rows = [(r.id, r.name, r.task, r.n_rows, r.n_features, r.n_classes) for r in records]
    table(headings, rows)


def _show(record: DatasetRecord, as_json: bool) -> None:
    if as_json:
        print_json(dict(record.raw))
        return
    classes = ", ".join(record.classes[:12]) + (", …" if len(record.classes) > 12 else "")
    facts(
        [
            ("data set", record.id),
            ("name", record.name),
            ("task", record.task),
            ("target", record.raw.get("target")),
            ("rows", record.n_rows),
            ("features", record.n_features),
            ("classes", classes or None),
        ]
    )
    if record.columns:
        shown = record.columns[:40]
        headings = ("column", "kind", "missing", "different", "range")
        table(headings, [(c.name, c.kind, c.missing, c.cardinality, _range(c)) for c in shown])
        if len(record.columns) > len(shown):
            console().print(f"… and {len(record.columns) - len(shown)} more columns")


def _range(column: Column) -> str | None:
    """The smallest and the largest value, dates as dates; or the first categories."""
    if column.categories:
        return ", ".join(column.categories[:5]) + (", …" if len(column.categories) > 5 else "")
    if column.minimum is None or column.maximum is None:
        return None
    if column.kind == "datetime":
        start = datetime(1970, 1, 1)
        return " – ".join(str(start + timedelta(seconds=value)) for value in (column.minimum, column.maximum))
    return f"{column.minimum:g} – {column.maximum:g}"


def _settings(row: Mapping[str, Any]) -> str:
    parameters = row.get("parameters") or row.get("options") or ()
    return ", ".join(f"{one.get('name')}={one.get('default')}" for one in parameters if isinstance(one, Mapping))


def dataset_id(client: Any, dataset: str, options: Mapping[str, Any], *, quiet: bool) -> str:
    """The id of a data set, after uploading it if it is a file."""
    from mlpq.uploading import looks_like_file

    if not looks_like_file(dataset):
        if options.get("target") is not None:
            hint = "upload its file again for another one: mlpq upload FILE --target COLUMN"
            raise InvalidArgumentError(f"--target is for a file; the data set {dataset} has its target", hint)
        return dataset
    return str(upload_with_bar(client, [Path(dataset)], options, quiet=quiet).id)


def known(client: Client, dataset: str) -> DatasetRecord | None:
    """A data set, unless it is gone."""
    try:
        return client.dataset(dataset)
    except NotFoundError:  # deleted since
        return None


def read_like(client: Client, trained_on: str, other: str) -> dict[str, Any]:
    """What a file must be read with to be like the data set that is trained on."""
    from mlpq.uploading import looks_like_file

    record = known(client, trained_on) if looks_like_file(other) else None
    if record is None:
        return {}
    codes = {column.name: {"kind": "categorical"} for column in record.columns if _is_code(column)}
    text = record.raw.get("text") or {}
    said = {name: text.get(name) for name in ("header", "decimal", "thousands")}
    orders = {column["order"] for column in record.raw.get("columns") or () if column.get("order")}
    said["dates"] = orders.pop() if len(orders) == 1 else None
    if text.get("encoding") in {"cp1252", "latin-1"}:
        said["encoding"] = text["encoding"]
    return {"target": record.raw.get("target"), "task": record.task, "columns": codes or None, **said}


def _is_code(column: Column) -> bool:
    """Whether the categories are written as numbers: nobody but who uploaded them knows that they are none."""
    texts = column.categories if column.kind == "categorical" else ()
    return bool(texts) and all(text.replace(".", "", 1).isdecimal() for text in texts)
