"""`mlpq explain`: what a job has learned, as tables in the terminal or as a picture in a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from mlpq.cli.arguments import AsJson, JobId, Url, connect, find_job
from mlpq.cli.output import console, facts, number, print_json, say, table
from mlpq.errors import InvalidArgumentError

Document = dict[str, Any]

SHOWN_CLASSES, SHOWN_ROWS = 20, 40
"""Most classes of a matrix, and most lines of a table, that are shown."""

SHOWN_UNITS = 8
"""Columns of a table of weights that a terminal has room for."""

BAR = 24
"""Characters of the longest bar."""

MAP_COLUMNS, MAP_LINES = 60, 24
MARKS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Letters of the classes on a map of the plane."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Results")(explain)


def explain(
    job_id: JobId,
    name: Annotated[
        str | None, typer.Argument(help="confusion, templates, …; without it: those that there are.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the picture there, as PNG.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels across, of the picture.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Another data set of the service; default the job's own.")] = None,
    rows: Annotated[str | None, typer.Option(help="validation, train, test or all.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="A step, or latest; default the result.")] = None,
    assignments: Annotated[list[str] | None, typer.Option("--set", help="The explanation's own: bins=20.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show what a job has learned, or draw it.

    For example: mlpq explain last confusion, or mlpq explain last confusion -o confusion.png
    """
    options: dict[str, Any] = dict(map(_assignment, assignments or ()))
    if rows is not None:
        options["rows"] = rows
    with connect(url) as client:
        job = find_job(client, job_id)
        if name is None:
            _print_list(job, as_json)
        elif output is not None:
            _exists(job, name)
            _save(job, name, output, as_json, width=width, dataset=dataset, checkpoint=checkpoint, **options)
        else:
            _exists(job, name)
            found = job.explanation(name, dataset=dataset, checkpoint=checkpoint, **options)
            if as_json:
                print_json(found)
            else:
                _TABLES.get(name, _plain)(found)


def _exists(job: Any, name: str) -> None:
    known = job.explanations()
    if name not in known:
        raise InvalidArgumentError(
            f"{name} is no explanation; there are {', '.join(known)}", "`mlpq explain JOB` lists them"
        )


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidArgumentError(
            f"--set is {text!r}; must be like bins=20", "`mlpq capabilities` lists what an explanation takes"
        )
    return name, value


def _print_list(job: Any, as_json: bool) -> None:
    reasons = job.explanations()
    if as_json:
        print_json(reasons)
        return
    table(("explanation", "this job"), [(name, why or "has it") for name, why in reasons.items()])


def _save(job: Any, name: str, path: Path, as_json: bool, **asked: Any) -> None:
    if path.suffix.lower() not in ("", ".png"):
        raise InvalidArgumentError(f"-o is {path}; pictures are PNG", f"-o {path.with_suffix('.png')}")
    try:
        content = job.picture(name, path, **asked)
    except OSError as error:
        raise InvalidArgumentError(f"{path} cannot be written: {error.strerror}", "-o names another place") from error
    if as_json:
        print_json({"object": "file", "job": job.id, "path": str(path), "bytes": len(content)})
    else:
        console().print(f"{path} ({len(content):,} bytes)", markup=False)


def _confusion(found: Document) -> None:
    metrics = found["metrics"]
    facts(
        [(found["rows"] + " rows", found["n_rows"]), *((k.replace("_", " "), number(v, 5)) for k, v in metrics.items())]
    )
    if len(found["classes"]) <= SHOWN_CLASSES:
        lines = [(name, *counts) for name, counts in zip(found["classes"], found["matrix"], strict=True)]
        table(("true \\ predicted", *found["classes"]), lines)
    columns = ("precision", "recall", "f1")
    rows = [(one["class"], *(number(one[c], 3) for c in columns), one["support"]) for one in found["per_class"]]
    table(("class", *columns, "rows"), rows[:SHOWN_ROWS])
    if len(found["classes"]) > SHOWN_CLASSES:
        table(("true", "taken for", "rows"), [(w["true"], w["predicted"], w["count"]) for w in found["most_confused"]])


def _importance(found: Document) -> None:
    facts([(found["metric"], number(found["baseline"], 5)), (found["rows"] + " rows", found["n_rows"])])
    largest = max((abs(one["mean"] or 0.0) for one in found["columns"]), default=0.0)
    rows = [
        (one["name"], number(one["mean"], 3), number(one["std"], 2), _bar(one["mean"], largest))
        for one in found["columns"][:SHOWN_ROWS]
    ]
    table(("column", "worse by", "±", ""), rows)
    if found["patch"] and found["patch"] > 1:
        say(f"patches of {found['patch']} × {found['patch']} pixels")
    if found["note"]:
        say(found["note"])


def _bar(value: float | None, largest: float) -> str:
    return "█" * max(0, round(BAR * (value or 0.0) / (largest or 1.0)))


def _calibration(found: Document) -> None:
    names = ("expected_calibration_error", "maximum_calibration_error", "brier_score")
    facts([(found["rows"] + " rows", found["n_rows"]), *((n.replace("_", " "), number(found[n], 3)) for n in names)])
    rows = [
        (f"{one['low']:.2f}..{one['high']:.2f}", one["count"], number(one["stated"], 3), number(one["observed"], 3))
        for one in found["bins"]
    ]
    table((found["of"], "rows", "stated", "came true"), rows)


def _histograms(found: Document) -> None:
    from mlpq.plot import sparkline

    rows = []
    for layer in found["layers"]:
        for kind in ("weights", "activations", "gradients"):
            shown = layer.get(kind)
            if shown is not None:
                curve = sparkline([math.sqrt(count) for count in shown["counts"]], BAR)
                dead = f"{shown['dead_units']:.0%} dead" if "dead_units" in shown else ""
                figures = [number(shown[key], 3) for key in ("min", "max", "std", "zeros")]
                rows.append((layer["name"], kind, curve, *figures, dead))
    table(("layer", "of", "", "min", "max", "std", "zeros", "units"), rows)


def _templates(found: Document) -> None:
    image = found["image"]
    shape = f"{image['height']} × {image['width']} × {image['channels']} pixels" if image else None
    facts([("of", found["of"]), ("units", found["n_units"]), ("each", shape)])
    shown = found["templates"][:SHOWN_ROWS]
    if image is not None:
        table(("unit", "largest weight"), [(one["name"], number(one["largest"], 3)) for one in shown])
        say("as images: mlpq explain JOB templates -o templates.png")
        return
    shown = shown[:SHOWN_UNITS]
    rows = [(name, *(number(one["weights"][i], 2) for one in shown)) for i, name in enumerate(found["inputs"])]
    table(("input", *(one["name"] for one in shown)), rows)


def _boundary(found: Document) -> None:
    """A map of the plane in letters or shades, the second column upwards."""
    field = found.get("predicted") or found["values"]
    lines = min(MAP_LINES, len(field))
    columns = min(MAP_COLUMNS, len(field[0]))
    picked = [
        [field[_at(lines - 1 - i, lines, len(field))][_at(j, columns, len(field[0]))] for j in range(columns)]
        for i in range(lines)
    ]
    mark = _class_mark if found["classes"] else _shades(picked)
    for line in picked:
        console().print("".join(map(mark, line)), markup=False)
    across, upward = found["columns"]
    facts(
        [
            (f"{across} →", f"{number(found['x'][0])} .. {number(found['x'][-1])}"),
            (f"{upward} ↑", f"{number(found['y'][0])} .. {number(found['y'][-1])}"),
            *((_class_mark(c), name) for c, name in enumerate((found["classes"] or [])[:SHOWN_ROWS])),
        ]
    )


def _at(place: int, places: int, length: int) -> int:
    return (2 * place + 1) * length // (2 * places)


def _class_mark(code: float) -> str:
    return MARKS[int(code) % len(MARKS)]


def _shades(picked: list[list[float]]) -> Callable[[float], str]:
    low, high = min(map(min, picked)), max(map(max, picked))
    return lambda value: " ░▒▓█"[min(4, int(5 * (value - low) / ((high - low) or 1.0)))]


def _gradient_check(found: Document) -> None:
    facts(
        [
            ("at", found["at"]),
            ("right", found["ok"]),
            ("tolerated", number(found["tolerance"])),
            ("rows", found["rows"]),
        ]
    )
    table(
        ("tensor", "largest relative error"),
        [(name, number(e, 3) or "not finite") for name, e in found["errors"].items()],
    )


def _plain(found: Document) -> None:
    print_json(found)


_TABLES: Mapping[str, Callable[[Document], None]] = {
    "confusion": _confusion,
    "importance": _importance,
    "calibration": _calibration,
    "histograms": _histograms,
    "templates": _templates,
    "boundary": _boundary,
    "gradient_check": _gradient_check,
}
"""How each explanation is shown; a service with more of them shows JSON."""
