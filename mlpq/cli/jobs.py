"""The commands about jobs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlpq.cli.arguments import (
    AsJson,
    JobId,
    Url,
    assign,
    connect,
    find_job,
    merge,
    named_parts,
    read_json,
    split_of,
    widths,
)
from mlpq.cli.exits import FAILED
from mlpq.cli.output import console, duration, facts, number, print_json, print_predictions, printable, say, table
from mlpq.errors import InvalidArgumentError, NotFoundError

if TYPE_CHECKING:
    from mlpq.client import Client
    from mlpq.job import Job
    from mlpq.records import DatasetRecord

SHOWN_CLASSES = 20
"""Most classes of a confusion matrix that is shown."""

Watch = Annotated[bool, typer.Option("--watch/--no-watch", "-w", help="Follow the job until it ends.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (train, jobs, show, watch, weights, predict, evaluate, card, fork, cancel, pause, resume):
        app.command()(command)


def train(
    dataset: Annotated[str, typer.Argument(help="A data set's id (`digits`), or a file to upload first.")],
    features: Annotated[
        list[str] | None,
        typer.Option(help='Of images: raw, hog, …, or \'{"name": "hog", "cell": 4}\'; may be repeated.'),
    ] = None,
    hidden: Annotated[str | None, typer.Option(help="Widths of the hidden layers: `128 64` or 128,64 or none.")] = None,
    activation: Annotated[str | None, typer.Option(help="relu, tanh, gelu, …; see `mlpq capabilities`.")] = None,
    loss: Annotated[str | None, typer.Option(help="softmax, svm, squared_error, …; see `mlpq capabilities`.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="The optimizer's name.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", "--lr")] = None,
    momentum: Annotated[float | None, typer.Option()] = None,
    l2: Annotated[float | None, typer.Option(help="Weight of the squared weights in the loss.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training data.")] = None,
    batch_size: Annotated[int | None, typer.Option()] = None,
    validation_fraction: Annotated[float | None, typer.Option(help="Share of the rows that is held out.")] = None,
    test_fraction: Annotated[float | None, typer.Option(help="Share of the rows that test at the end.")] = None,
    test_dataset: Annotated[str | None, typer.Option(help="What tests at the end: an id, or a file.")] = None,
    validation_dataset: Annotated[str | None, typer.Option(help="What validates: an id, or a file.")] = None,
    split_column: Annotated[str | None, typer.Option(help="The column that says where a row belongs.")] = None,
    validation_value: Annotated[list[str] | None, typer.Option(help="Rows with it validate; repeatable.")] = None,
    test_value: Annotated[list[str] | None, typer.Option(help="Rows with it test; repeatable.")] = None,
    stratify: Annotated[
        bool | None, typer.Option("--stratify/--no-stratify", help="Whether draws keep the shares of classes.")
    ] = None,
    patience: Annotated[int | None, typer.Option(help="Stop after so many epochs without a better loss.")] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    precision: Annotated[str | None, typer.Option(help="float32 or float64.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda:0.")] = None,
    name: Annotated[str | None, typer.Option(help="What the job is called.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be repeated.")] = None,
    priority: Annotated[int | None, typer.Option(help="Higher ones run first.")] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict, when a file is given.")] = None,
    spec: Annotated[str | None, typer.Option(help="A JSON file with the specification; `-` is standard input.")] = None,
    assignments: Annotated[list[str] | None, typer.Option("--set", help="More: training.clip_norm=1.0")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Resolve and check, but do not train.")] = False,
    follow: Watch = False,
    save: Annotated[Path | None, typer.Option("--weights", help="Watch, then write the weights there.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Train a net on a data set, or on a file: `mlpq train iris.csv --target species --hidden 64 64 --watch`."""
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
        specification["dataset"] = _dataset(client, dataset, {"target": target}, quiet=as_json)
        for field, other in (("test_dataset", test_dataset), ("validation_dataset", validation_dataset)):
            if other is not None:
                chosen = _dataset(client, other, _like(client, specification["dataset"], other), quiet=as_json)
                specification.setdefault("training", {})[field] = chosen
        if dry_run:
            _print_dry_run(client.dry_run_of(specification), as_json)
        else:
            _report(client.submit(specification), as_json, follow, save)


def jobs(
    status: Annotated[str | None, typer.Option(help="Only those that are queued, running, succeeded, …")] = None,
    tag: Annotated[str | None, typer.Option(help="Only those with this tag.")] = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with connect(url) as client:
        found = list(client.jobs(status, tag, limit))
    if as_json:
        print_json({"object": "list", "data": [job.to_json() for job in found]})
        return
    table(("job", "status", "data set", "epoch", "val loss", "score", "name"), [_row(job) for job in found])


def show(job_id: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Show one job: status, progress, metrics, error."""
    with connect(url) as client:
        job = find_job(client, job_id)
    if as_json:
        print_json(job.to_json())
    else:
        _describe(job)


def watch(
    job_id: JobId,
    save: Annotated[Path | None, typer.Option("--weights", help="Write the weights there when it has ended.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Follow a job from its beginning to its end; Ctrl-C ends the watching, not the job."""
    with connect(url) as client:
        _follow(find_job(client, job_id), as_json, save)


def weights(
    job_id: JobId,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: JOB.npz here.")] = None,
    file_format: Annotated[str | None, typer.Option("--format", help="npz safetensors onnx torch predict.py")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="Those of a checkpoint: its step, or `latest`.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Download a job's weights, verified."""
    with connect(url) as client:
        job = find_job(client, job_id)
        name = job.id if checkpoint is None else f"{job.id}-{checkpoint}"
        ending = "pt" if file_format == "torch" else file_format or "npz"
        path = _save(job, output or Path(f"{name}.{ending}"), file_format, checkpoint)
    _tell_file(job, path, as_json)


def predict(
    job_id: JobId,
    rows: Annotated[str, typer.Argument(help="A CSV file with a header, a JSON list of rows, or `-`.")] = "-",
    probabilities: Annotated[
        bool, typer.Option("--probabilities", "-p", help="CSV: the prediction, and the probability of every class.")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Predict rows with a trained job: one prediction a line."""
    from mlpq.cli.rows import read_rows

    wanted = read_rows(rows)
    with connect(url) as client:
        job = find_job(client, job_id)
        prediction = job.predict(_fitted(client, job, wanted))
    listed = prediction.predictions.tolist()
    if as_json:
        chances = None if prediction.probabilities is None else prediction.probabilities.tolist()
        print_json({"predictions": listed, "probabilities": chances, "classes": list(prediction.classes)})
    elif probabilities:
        print_predictions(prediction)
    else:
        for value in listed:
            typer.echo(printable(value))


def evaluate(
    job_id: JobId,
    dataset: Annotated[str, typer.Argument(help="An id, or a file with the job's columns and its target.")],
    checkpoint: Annotated[str | None, typer.Option(help="A step, or latest; default the result.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Measure a trained job on a data set: loss, scores and the confusion matrix."""
    with connect(url) as client:
        job = find_job(client, job_id)
        like = _like(client, job.record.dataset, dataset)
        found = job.evaluate(_dataset(client, dataset, like, quiet=as_json), checkpoint)
    matrix = None if found.confusion is None else found.confusion.tolist()
    if as_json:
        figures = dict(found.metrics)
        shown = {"n_rows": found.n_rows, "metrics": figures, "classes": found.classes, "confusion_matrix": matrix}
        print_json(shown)
        return
    facts([("rows", found.n_rows), *((name.replace("_", " "), number(v, 5)) for name, v in found.metrics.items())])
    if matrix is not None and len(found.classes) <= SHOWN_CLASSES:
        rows = [(name, *counts) for name, counts in zip(found.classes, matrix, strict=True)]
        table(("true \\ predicted", *found.classes), rows)


def _known(client: Client, dataset: str) -> DatasetRecord | None:
    try:
        return client.dataset(dataset)
    except NotFoundError:  # deleted since
        return None


def _like(client: Client, trained_on: str, other: str) -> dict[str, Any]:
    """What a file must be read with to be like the data set that is trained on."""
    from mlpq.client import looks_like_file

    record = _known(client, trained_on) if looks_like_file(other) else None
    return {} if record is None else {"target": record.raw.get("target"), "task": record.task}


def _fitted(client: Client, job: Job, rows: list[Any]) -> list[Any]:
    """Rows by name as the job's columns want them; others, such as the target, may be in the file and are left out."""
    from mlpq.cli.rows import fit_rows

    record = _known(client, job.record.dataset)
    training = job.spec.get("training") or {}
    apart = {training.get("sample_weight"), (training.get("split") or {}).get("column")}
    kinds = None if record is None else {c.name: c.kind for c in record.columns if c.name not in apart}
    fitted, unused = fit_rows(rows, kinds)
    if unused and record is not None and unused != [record.raw.get("target")]:
        say(f"not used: {printable(', '.join(unused[:20]))}")
    return fitted


def card(
    job_id: JobId,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it there.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show a job's model card as Markdown: data, settings, figures, environment, files with their hashes."""
    with connect(url) as client:
        job = find_job(client, job_id)
        if as_json:
            print_json(job.card())
            return
        text = job.card_text()
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidArgumentError(f"{output} cannot be written: {error.strerror}") from error


def fork(
    job_id: JobId,
    dataset: Annotated[str | None, typer.Option(help="Other rows with the same columns: an id, or a file.")] = None,
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
    """Train on from a job's weights, with changes: `mlpq fork last --epochs 5 --lr 0.0003 --watch`."""
    from mlpq.settings import job_changes

    given = {"epochs": epochs, "learning_rate": learning_rate, "seed": seed, "name": name}
    changes = job_changes({key: value for key, value in given.items() if value is not None})
    for assignment in assignments or []:
        assign(changes, assignment)
    with connect(url) as client:
        job = find_job(client, job_id)
        if dataset is not None:
            like = _like(client, job.record.dataset, dataset)
            changes["dataset"] = _dataset(client, dataset, like, quiet=as_json)
        _report(client.fork(job.id, changes, checkpoint), as_json, follow, save)


def cancel(job_id: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Stop a job for good."""
    _act("cancel", job_id, url, as_json)


def pause(job_id: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Checkpoint a job and release its worker."""
    _act("pause", job_id, url, as_json)


def resume(job_id: JobId, url: Url = None, as_json: AsJson = False) -> None:
    """Let a paused job go on where it stopped."""
    _act("resume", job_id, url, as_json)


def _act(verb: str, job_id: str, url: str | None, as_json: bool) -> None:
    with connect(url) as client:
        job = getattr(find_job(client, job_id), verb)()
    if as_json:
        print_json(job.to_json())
    else:
        console().print(f"{job.id} {job.status}", markup=False)


def _specification(given: dict[str, Any], spec: str | None, assignments: list[str]) -> dict[str, Any]:
    """File first, then the options, then `--set`, each over the one before."""
    from mlpq.settings import job_specification

    chosen = {key: value for key, value in given.items() if value is not None}
    from_options = job_specification("", chosen)
    specification = merge(read_json(spec) if spec else {}, from_options)
    for assignment in assignments:
        assign(specification, assignment)
    return specification


def _dataset(client: Any, dataset: str, options: Mapping[str, Any], *, quiet: bool) -> str:
    """The id of a data set, after uploading it if it is a file."""
    from mlpq.cli.data import upload_with_bar
    from mlpq.client import looks_like_file

    if not looks_like_file(dataset):
        return dataset
    return str(upload_with_bar(client, [Path(dataset)], options, quiet=quiet).id)


def _report(job: Job, as_json: bool, follow: bool, save: Path | None) -> None:
    """What is said of a job that was just submitted."""
    if follow or save is not None:
        _follow(job, as_json, save)
    elif as_json:
        print_json(job.to_json())
    else:
        console().print(f"{job.id} {job.status}", markup=False)
        say(f"follow it with: mlpq watch {job.id}")


def _follow(job: Job, as_json: bool, save: Path | None) -> None:
    from mlpq.cli.live import follow

    try:
        follow(job, as_json=as_json)
    except KeyboardInterrupt:
        say(f"\nthe job goes on: mlpq watch {job.id}, mlpq cancel {job.id}")
        raise
    if as_json:
        print_json(job.to_json())
    else:
        _describe(job)
    if job.status != "succeeded":
        raise typer.Exit(FAILED)
    if save is not None:
        _tell_file(job, _save(job, save), as_json=False, quiet=as_json)


def _save(job: Job, path: Path, file_format: str | None = None, checkpoint: str | None = None) -> Path:
    try:
        return job.save_weights(path, file_format, checkpoint)
    except OSError as error:
        raise InvalidArgumentError(f"{path} cannot be written: {error.strerror}") from error


def _tell_file(job: Job, path: Path, as_json: bool, quiet: bool = False) -> None:
    if as_json:
        print_json({"object": "file", "job": job.id, "path": str(path), "bytes": path.stat().st_size})
    elif not quiet:
        console().print(f"{path} ({path.stat().st_size:,} bytes, SHA-256 verified)", markup=False)


def _row(job: Job) -> tuple[Any, ...]:
    progress, metrics = job.progress, job.final_metrics
    score = metrics.get("val_accuracy", metrics.get("val_r2"))
    epoch = f"{progress.epoch}/{progress.epochs}"
    name = job.record.name
    return (job.id, job.status, job.record.dataset, epoch, number(metrics.get("val_loss")), number(score), name)


def _describe(job: Job) -> None:
    record, progress = job.record, job.progress
    ran = record.started_at and record.finished_at and (record.finished_at - record.started_at).total_seconds()
    place = " ".join(text for text in (record.device, record.backend and f"({record.backend})") if text)
    facts(
        [
            ("job", record.id),
            ("name", record.name),
            ("status", record.status + (f" ({record.status_reason})" if record.status_reason else "")),
            ("error", record.error and f"{record.error.code}: {record.error.message}"),
            ("data set", record.dataset),
            ("epoch", f"{progress.epoch}/{progress.epochs}"),
            ("left", duration(progress.eta_s) if progress.eta_s and not record.ended else None),
            ("ran", duration(ran) if ran else None),
            ("device", place or None),
            ("queue", record.queue_position),
            *((name.replace("_", " "), number(value, 5)) for name, value in record.metrics.items() if _simple(value)),
        ]
    )


def _simple(value: Any) -> bool:
    return isinstance(value, int | float)


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
