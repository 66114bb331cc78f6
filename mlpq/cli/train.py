"""The commands that start jobs: train a net, or train on from another one's weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlpq.cli.arguments import AsJson, JobId, Url, connect, find_job, named_parts, split_of, widths
from mlpq.cli.complete import datasets_or_files
from mlpq.cli.data import dataset_id, read_like
from mlpq.cli.jobs import follow_job
from mlpq.cli.output import console, facts, print_json, say
from mlpq.cli.spec import assign, is_spec, merge, read_spec
from mlpq.errors import InvalidArgumentError

if TYPE_CHECKING:
    from mlpq.job import Job

PANEL = "Train"

Watch = Annotated[bool, typer.Option("--watch/--no-watch", "-w", help="Follow the job until it ends.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (train, fork):
        app.command(rich_help_panel=PANEL)(command)


def train(
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="A data set's id (`digits`), a file to upload first, or a specification (.yaml, .json, `-`).",
            autocompletion=datasets_or_files,
        ),
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            help='Of images: raw, hog, …, or \'{"name": "hog", "cell": 4}\'; may be repeated.', rich_help_panel="Net"
        ),
    ] = None,
    hidden: Annotated[
        str | None, typer.Option(help="Widths of the hidden layers: `128 64` or 128,64 or none.", rich_help_panel="Net")
    ] = None,
    activation: Annotated[
        str | None, typer.Option(help="relu, tanh, gelu, …; see `mlpq capabilities`.", rich_help_panel="Net")
    ] = None,
    loss: Annotated[
        str | None, typer.Option(help="softmax, svm, squared_error, …; see `mlpq capabilities`.", rich_help_panel="Net")
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="The optimizer's name.", rich_help_panel="Descent")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", "--lr", help="Length of a step.", rich_help_panel="Descent")
    ] = None,
    momentum: Annotated[float | None, typer.Option(help="Of SGD.", rich_help_panel="Descent")] = None,
    l2: Annotated[
        float | None, typer.Option(help="Weight of the squared weights in the loss.", rich_help_panel="Descent")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training data.", rich_help_panel="Descent")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows per step.", rich_help_panel="Descent")] = None,
    validation_fraction: Annotated[
        float | None, typer.Option(help="Share of the rows that is held out.", rich_help_panel="Rows")
    ] = None,
    test_fraction: Annotated[
        float | None, typer.Option(help="Share of the rows that test at the end.", rich_help_panel="Rows")
    ] = None,
    test_dataset: Annotated[
        str | None, typer.Option(help="What tests at the end: an id, or a file.", rich_help_panel="Rows")
    ] = None,
    validation_dataset: Annotated[
        str | None, typer.Option(help="What validates: an id, or a file.", rich_help_panel="Rows")
    ] = None,
    split_column: Annotated[
        str | None, typer.Option(help="The column that says where a row belongs.", rich_help_panel="Rows")
    ] = None,
    validation_value: Annotated[
        list[str] | None, typer.Option(help="Rows with it validate; repeatable.", rich_help_panel="Rows")
    ] = None,
    test_value: Annotated[
        list[str] | None, typer.Option(help="Rows with it test; repeatable.", rich_help_panel="Rows")
    ] = None,
    stratify: Annotated[
        bool | None,
        typer.Option(
            "--stratify/--no-stratify", help="Whether draws keep the shares of classes.", rich_help_panel="Rows"
        ),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Stop after so many epochs without a better loss.", rich_help_panel="Descent")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, splits and shuffling.", rich_help_panel="Run")] = None,
    precision: Annotated[
        str | None, typer.Option(help="float32, float64; on a GPU also tf32, bfloat16.", rich_help_panel="Run")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda:0.", rich_help_panel="Run")] = None,
    name: Annotated[str | None, typer.Option(help="What the job is called.", rich_help_panel="Run")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be repeated.", rich_help_panel="Run")] = None,
    priority: Annotated[int | None, typer.Option(help="Higher ones run first.", rich_help_panel="Run")] = None,
    target: Annotated[
        str | None, typer.Option(help="The column to predict, when a file is given.", rich_help_panel="Rows")
    ] = None,
    spec: Annotated[
        str | None,
        typer.Option(help="A YAML or JSON file with the specification; `-` is standard input. Options go over it."),
    ] = None,
    assignments: Annotated[list[str] | None, typer.Option("--set", help="More: training.clip_norm=1.0")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Resolve and check, but do not train.")] = False,
    follow: Watch = False,
    save: Annotated[Path | None, typer.Option("--weights", help="Watch, then write the weights there.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Train a net on a data set or a file.

    For example: mlpq train iris.csv --target species --hidden 64 64 --watch

    With a specification: mlpq train iris --spec net.yaml --epochs 50, or mlpq train net.yaml if it names the data set.
    """
    if dataset is not None and spec is None and is_spec(dataset):
        dataset, spec = None, dataset
    net = {
        "features": named_parts(features or []) or None,
        "hidden": None if hidden is None else widths(hidden),
        "activation": activation,
        "loss": loss,
    }
    descent = {"optimizer": optimizer, "learning_rate": learning_rate, "momentum": momentum, "l2": l2}
    length = {"epochs": epochs, "early_stopping": None if patience is None else {"patience": patience}}
    split = split_of(split_column, validation_value or [], test_value or [])
    parts = {"validation_fraction": validation_fraction, "test_fraction": test_fraction, "stratify": stratify}
    rows = {"batch_size": batch_size, "split": split, **parts}
    machine = {"seed": seed, "device": device, "precision": precision}
    about = {"name": name, "tags": tag or None, "priority": priority}
    specification = _specification(net | descent | length | rows | machine | about, spec, assignments or [])
    with connect(url) as client:
        named = dataset or _named(specification)
        specification["dataset"] = dataset_id(client, named, {"target": target}, quiet=as_json)
        for field, other in (("test_dataset", test_dataset), ("validation_dataset", validation_dataset)):
            if other is not None:
                chosen = dataset_id(client, other, read_like(client, specification["dataset"], other), quiet=as_json)
                specification.setdefault("training", {})[field] = chosen
        if dry_run:
            _print_dry_run(client.dry_run_of(specification), as_json)
        else:
            _report(client.submit(specification), as_json, follow, save)


def fork(
    job_id: JobId,
    dataset: Annotated[
        str | None,
        typer.Option(help="Other rows with the same columns: an id, or a file.", autocompletion=datasets_or_files),
    ] = None,
    checkpoint: Annotated[str | None, typer.Option(help="A step, or latest; default the result.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training data.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", "--lr")] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    name: Annotated[str | None, typer.Option(help="What the new job is called; default as the old one.")] = None,
    assignments: Annotated[list[str] | None, typer.Option("--set", help="More: training.clip_norm=1.0")] = None,
    follow: Watch = False,
    save: Annotated[Path | None, typer.Option("--weights", help="Watch, then write the weights there.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Train on from a job's weights, with changes.

    For example: mlpq fork last --epochs 5 --lr 0.0003 --watch
    """
    from mlpq.settings import job_changes

    given = {"epochs": epochs, "learning_rate": learning_rate, "seed": seed, "name": name}
    changes = job_changes({key: value for key, value in given.items() if value is not None})
    for assignment in assignments or []:
        assign(changes, assignment)
    with connect(url) as client:
        job = find_job(client, job_id)
        if dataset is not None:
            options = read_like(client, job.record.dataset, dataset)
            changes["dataset"] = dataset_id(client, dataset, options, quiet=as_json)
        _report(client.fork(job.id, changes, checkpoint), as_json, follow, save)


def _specification(given: dict[str, Any], spec: str | None, assignments: list[str]) -> dict[str, Any]:
    """File first, then the options, then `--set`, each over the one before."""
    from mlpq.settings import job_changes, name_optimizer

    chosen = {key: value for key, value in given.items() if value is not None}
    specification = merge(read_spec(spec) if spec else {}, job_changes(chosen))
    for assignment in assignments:
        assign(specification, assignment)
    name_optimizer(specification)
    return specification


def _named(specification: dict[str, Any]) -> str:
    """The data set that a specification names."""
    dataset = specification.get("dataset")
    if not isinstance(dataset, str):
        example = "`mlpq train digits`, `mlpq train my.csv --target column`, or `dataset: digits` in the specification"
        raise InvalidArgumentError("no data set is named", example)
    return dataset


def _report(job: Job, as_json: bool, follow: bool, save: Path | None) -> None:
    """What is said of a job that was just submitted."""
    if follow or save is not None:
        follow_job(job, as_json, save)
    elif as_json:
        print_json(job.to_json())
    else:
        console().print(f"{job.id} {job.status}", markup=False)
        say(f"follow it with: mlpq watch {job.id}")


def _print_dry_run(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    import json

    simple = [(name.replace("_", " "), value) for name, value in document.items() if not isinstance(value, dict | list)]
    facts(simple)
    for name, value in document.items():
        if isinstance(value, dict | list):
            console().print(f"\n{name.replace('_', ' ')}\n{json.dumps(value, indent=2)}", markup=False)
