"""The commands that start many jobs: a sweep over settings, or a list of specifications."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlpq.cli import train_options as option
from mlpq.cli.arguments import AsJson, Url, connect, widths
from mlpq.cli.complete import datasets_or_files
from mlpq.cli.data import dataset_id
from mlpq.cli.exits import FAILED
from mlpq.cli.output import console, dataset_cells, number, print_json, say, table
from mlpq.cli.spec import assign, composed, merge, read_specs
from mlpq.errors import InvalidArgumentError

if TYPE_CHECKING:
    from mlpq.client import Client
    from mlpq.sweep import Sweep, Trial

PANEL = "Train"
DRAW_HINT = "for example --draw optimizer.learning_rate=log_uniform:1e-4:1 or --draw 'net.hidden=choice:[8],[16]'"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (sweep, sweeps, batch):
        app.command(rich_help_panel=PANEL)(command)


def sweep(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A data set's id, a file to upload first, or a sweep (`swp_…`, `last`) to look at or add points to.",
            autocompletion=datasets_or_files,
        ),
    ],
    grid: Annotated[
        list[str] | None, typer.Option(help="Every value, with every other: net.hidden=[],[64]; repeatable.")
    ] = None,
    draw: Annotated[list[str] | None, typer.Option(help="Drawn values: net.dropout=uniform:0:0.5; repeatable.")] = None,
    points: Annotated[
        str | None, typer.Option(help="A YAML or JSON list of jobs by what they set: - {training.seed: 1}; or `-`.")
    ] = None,
    random: Annotated[int | None, typer.Option(help="How many draws.")] = None,
    asha: Annotated[
        str | None, typer.Option(help="1:27:3: after 1, 3, 9 epochs one draw in 3 trains on, up to 27.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the draws.")] = None,
    objective: Annotated[str | None, typer.Option(help="The figure that decides; default val_loss.")] = None,
    direction: Annotated[str | None, typer.Option(help="minimize or maximize; default by the figure.")] = None,
    hidden: option.Hidden = None,
    activation: option.Activation = None,
    epochs: option.Epochs = None,
    batch_size: option.BatchSize = None,
    spec: Annotated[str | None, typer.Option(help="A YAML or JSON file with what all jobs share.")] = None,
    assignments: Annotated[list[str] | None, typer.Option("--set", help="For all jobs: training.epochs=5")] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict, when a file is given.")] = None,
    name: Annotated[str | None, typer.Option(help="What the sweep is called.")] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel the sweep that is named.")] = False,
    follow: Annotated[bool, typer.Option("--watch/--no-watch", "-w", help="Wait until all jobs have ended.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Try many settings, and see which is best.

    For example: mlpq sweep digits --grid optimizer.learning_rate=0.01,0.1 --grid 'net.hidden=[],[64]' --watch

    With all at 5 epochs: mlpq sweep iris --hidden 64 --epochs 5 --grid training.seed=1,2,3

    Draws: mlpq sweep digits --random 20 --draw optimizer.learning_rate=log_uniform:1e-4:1 --asha 1:27:3
    """
    with connect(url) as client:
        if dataset == "last" or dataset.startswith("swp_"):
            jobs = (grid, draw, random, asha, seed, hidden, activation, epochs, batch_size, spec, assignments)
            if any(one not in (None, []) for one in (*jobs, objective, direction, target, name)):
                raise InvalidArgumentError(
                    f"{dataset} is a sweep; only --points adds to one", "mlpq sweep iris --grid …"
                )
            found = _find(client, dataset)
            if points:
                found.add(read_specs(points))
                found.refresh()
            if cancel:
                found.cancel()
        elif cancel:
            raise InvalidArgumentError(f"--cancel is for a sweep; {dataset} is none", "mlpq sweep last --cancel")
        else:
            plan = _plan(grid or [], draw or [], points, random, asha, seed)
            shared: dict[str, Any] = {"activation": activation, "epochs": epochs, "batch_size": batch_size}
            shared["hidden"] = None if hidden is None else widths(hidden)
            base = composed(spec, shared, assignments or [])
            told: dict[str, Any] = {"base": base or None, "objective": objective, "direction": direction, "name": name}
            named = dataset_id(client, dataset, {"target": target}, quiet=as_json)
            found = client.sweep(named, **plan, **told)
        _report(found, follow, as_json)


def sweeps(
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List sweeps, newest first."""
    with connect(url) as client:
        found = list(client.sweeps(limit))
    if as_json:
        print_json({"object": "list", "data": [one.to_json() for one in found]})
        return
    rows = []
    sets = [(one.record["dataset"], str(one.record.get("dataset_name") or one.record["dataset"])) for one in found]
    data = dataset_cells(sets)
    for one, on in zip(found, data, strict=True):
        counts = one.record["counts"]
        done = counts["succeeded"] + counts["failed"] + counts["cancelled"]
        jobs = f"{done}/{one.record['n_jobs']}"
        rows.append((one.id, one.status, on, one.record["kind"], jobs, one.record["name"]))
    table(("sweep", "status", "data set", "kind", "ended", "name"), rows)


def batch(
    source: Annotated[str, typer.Argument(metavar="FILE", help="A YAML or JSON list of specifications, or `-`.")],
    assignments: Annotated[list[str] | None, typer.Option("--set", help="For all jobs: training.epochs=5")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Queue many jobs at once, all of them or none.

    For example: mlpq batch jobs.yaml --set training.epochs=5
    """
    over: dict[str, Any] = {}
    for assignment in assignments or []:
        assign(over, assignment)
    specifications = [merge(one, over) for one in read_specs(source)]
    with connect(url) as client:
        jobs = client.submit_many(specifications)
    if as_json:
        print_json({"object": "list", "data": [job.to_json() for job in jobs]})
        return
    for job in jobs:
        console().print(f"{job.id} {job.status}", markup=False)


def _find(client: Client, sweep_id: str) -> Sweep:
    if sweep_id != "last":
        return client.sweep_of(sweep_id)
    newest = next(client.sweeps(limit=1), None)
    if newest is None:
        raise InvalidArgumentError("there is no sweep yet", "start one with `mlpq sweep digits --grid …`")
    return newest.refresh()


def _plan(
    grid: Sequence[str],
    draws: Sequence[str],
    points: str | None,
    count: int | None,
    asha: str | None,
    seed: int | None,
) -> dict[str, Any]:
    """The plan that the options describe."""
    if sum(map(bool, (grid, draws, points))) != 1:
        raise InvalidArgumentError("a sweep needs one of --grid, --draw and --points", DRAW_HINT)
    if not draws and (count is not None or asha is not None or seed is not None):
        raise InvalidArgumentError("--random, --asha and --seed go with --draw alone", DRAW_HINT)
    if points:
        return {"points": read_specs(points)}
    if grid:
        return {"grid": {path: _values(text) for path, text in map(_assignment, grid)}}
    if count is None:
        raise InvalidArgumentError("--draw needs --random, the number of draws", "--random 20")
    drawn: dict[str, Any] = {"n": count, "space": {path: _draw(text) for path, text in map(_assignment, draws)}}
    if seed is not None:
        drawn["seed"] = seed
    if asha is None:
        return {"random": drawn}
    numbers = asha.split(":")
    if not 2 <= len(numbers) <= 3 or not all(part.isascii() and part.isdigit() for part in numbers):
        raise InvalidArgumentError(f"--asha is {asha!r}; must be least:most epochs, or least:most:reduction", "1:27:3")
    names = ("min_epochs", "max_epochs", "reduction")
    return {"asha": drawn | dict(zip(names, map(int, numbers), strict=False))}


def _assignment(text: str) -> tuple[str, str]:
    path, equals, value = text.partition("=")
    if not equals or not path or not value:
        raise InvalidArgumentError(f"{text!r} is no setting with values", "--grid optimizer.learning_rate=0.01,0.1")
    return path, value


def _values(text: str) -> list[Any]:
    """Values apart by commas: `0.1,0.2`, `relu,tanh`, `[8],[16,16]`; each is JSON, or else text."""
    try:
        listed: list[Any] = json.loads(f"[{text}]")
    except ValueError:
        return [_value(part) for part in text.split(",")]
    return listed


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _draw(text: str) -> dict[str, Any]:
    kind, _, rest = text.partition(":")
    if kind == "choice" and rest:
        return {"choice": _values(rest)}
    bounds = [_value(part) for part in rest.split(":")]
    if len(bounds) != 2 or not all(isinstance(bound, int | float) for bound in bounds):
        raise InvalidArgumentError(
            f"{text!r} is no draw; must be uniform, log_uniform or int with two bounds", DRAW_HINT
        )
    return {kind: bounds}


def _report(found: Sweep, follow: bool, as_json: bool) -> None:
    """What is said of a sweep: at once, or when it has ended."""
    try:
        if follow:
            found.wait(check=False, progress=True)
    except KeyboardInterrupt:
        say(f"\nthe sweep goes on: mlpq sweep {found.id} --watch, mlpq sweep {found.id} --cancel")
        raise
    if as_json:
        print_json(found.to_json())
    else:
        console().print(f"{found.id} {found.status}", markup=False)
        _print_table(found)
        if not found.ended:
            say(f"follow it with: mlpq sweep {found.id} --watch")
    if follow and found.status != "succeeded":
        raise typer.Exit(FAILED)


def _print_table(found: Sweep) -> None:
    """One line a job, the best first and marked."""
    rows, said = found.table(), {one.id: _status(one) for one in found.trials}
    if not rows:
        return
    best = None if found.best is None else found.best.id
    paths = [name for name in rows[0] if name not in {"job", found.objective, "status", "epoch"}]
    lines = [
        (
            "*" if row["job"] == best else "",
            row["job"],
            *(_cell(row[path]) for path in paths),
            number(row[found.objective]),
            row["epoch"],
            said[row["job"]],
        )
        for row in rows
    ]
    table(("", "job", *paths, found.objective, "epoch", "status"), lines)


def _status(trial: Trial) -> str:
    """The status, and why where that says more."""
    reason = (trial.status_reason or "").replace("_", " ")
    if reason.startswith("not promoted: "):
        return reason.partition(" after")[0].replace(":", ",")
    tells = trial.status in {"failed", "cancelled", "paused"} or reason == "early stopped"
    return f"{trial.status}, {reason}" if tells and reason not in {"", trial.status} else trial.status


def _cell(value: Any) -> str:
    if value is None:  # this point does not set it
        return ""
    return number(value) if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
