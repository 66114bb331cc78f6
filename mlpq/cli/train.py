"""The commands that start jobs: train a net, or train on from another one's weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlpq.cli import train_options as option
from mlpq.cli.arguments import AsJson, JobId, Url, connect, find_job, named_parts, split_of, widths
from mlpq.cli.complete import datasets_or_files
from mlpq.cli.data import dataset_id, read_like
from mlpq.cli.jobs import follow_job
from mlpq.cli.output import console, facts, print_json, say
from mlpq.cli.spec import composed, is_spec
from mlpq.errors import InvalidArgumentError

if TYPE_CHECKING:
    from mlpq.client import Client
    from mlpq.job import Job

PANEL = "Train"

SETTINGS = (
    "activation",
    "loss",
    "optimizer",
    "learning_rate",
    "momentum",
    "l2",
    "epochs",
    "batch_size",
    "validation_fraction",
    "test_fraction",
    "stratify",
    "seed",
    "device",
    "precision",
    "name",
    "priority",
)
"""Options of `train` that are settings of a job as they are."""

Watch = Annotated[bool, typer.Option("--watch/--no-watch", "-w", help="Follow the job until it ends.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (train, fork):
        app.command(rich_help_panel=PANEL)(command)


def train(
    dataset: option.Data = None,
    features: option.Features = None,
    hidden: option.Hidden = None,
    activation: option.Activation = None,
    loss: option.Loss = None,
    optimizer: option.Optimizer = None,
    learning_rate: option.LearningRate = None,
    momentum: option.Momentum = None,
    l2: option.L2 = None,
    epochs: option.Epochs = None,
    batch_size: option.BatchSize = None,
    validation_fraction: option.ValidationFraction = None,
    test_fraction: option.TestFraction = None,
    test_dataset: option.TestDataset = None,
    validation_dataset: option.ValidationDataset = None,
    split_column: option.SplitColumn = None,
    validation_value: option.ValidationValue = None,
    test_value: option.TestValue = None,
    stratify: option.Stratify = None,
    patience: option.Patience = None,
    seed: option.Seed = None,
    precision: option.Precision = None,
    device: option.Device = None,
    name: option.Name = None,
    tag: option.Tags = None,
    priority: option.Priority = None,
    target: option.Target = None,
    spec: option.SpecFile = None,
    assignments: option.Assignments = None,
    dry_run: option.DryRun = False,
    follow: Watch = False,
    save: option.WeightsFile = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Train a net on a data set or a file.

    For example: mlpq train iris.csv --target species --hidden 64 64 --watch

    With a specification: mlpq train iris --spec net.yaml --epochs 50, or mlpq train net.yaml if it names the data set.
    """
    given = locals()
    if dataset is not None and spec is None and is_spec(dataset):
        dataset, spec = None, dataset
    specification = _specification(_settings(given), spec, assignments or [])
    with connect(url) as client:
        _find_data(client, specification, dataset, given)
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
    assignments: option.Assignments = None,
    follow: Watch = False,
    save: option.WeightsFile = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Train on from a job's weights, with changes.

    For example: mlpq fork last --epochs 5 --lr 0.0003 --watch
    """
    given = {"epochs": epochs, "learning_rate": learning_rate, "seed": seed, "name": name}
    changes = composed(None, given, assignments or [])
    with connect(url) as client:
        job = find_job(client, job_id)
        if dataset is not None:
            options = read_like(client, job.record.dataset, dataset)
            changes["dataset"] = dataset_id(client, dataset, options, quiet=as_json)
        _report(client.fork(job.id, changes, checkpoint), as_json, follow, save)


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """What `train` was given, as settings of a job."""
    own = {name: given[name] for name in SETTINGS} | {"tags": given["tag"] or None}
    return own | {
        "features": named_parts(given["features"] or []) or None,
        "hidden": None if given["hidden"] is None else widths(given["hidden"]),
        "early_stopping": None if given["patience"] is None else {"patience": given["patience"]},
        "split": split_of(given["split_column"], given["validation_value"] or [], given["test_value"] or []),
    }


def _find_data(client: Client, specification: dict[str, Any], dataset: str | None, given: Mapping[str, Any]) -> None:
    """Name the data sets of a job, those of files after an upload."""
    quiet = given["as_json"]
    own = dataset_id(client, dataset or _named(specification), {"target": given["target"]}, quiet=quiet)
    specification["dataset"] = own
    for field in ("test_dataset", "validation_dataset"):
        other = given[field]
        if other is not None:
            chosen = dataset_id(client, other, read_like(client, own, other), quiet=quiet)
            specification.setdefault("training", {})[field] = chosen


def _specification(given: dict[str, Any], spec: str | None, assignments: list[str]) -> dict[str, Any]:
    from mlpq.settings import name_optimizer

    specification = composed(spec, given, assignments)
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
