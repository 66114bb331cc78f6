"""The commands about what a job leaves: weights, predictions, scores, its card."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlpq.cli.arguments import AsJson, JobId, Url, connect, find_job
from mlpq.cli.complete import datasets_or_files
from mlpq.cli.data import dataset_id, known, read_like
from mlpq.cli.output import console, facts, number, print_json, print_predictions, printable, say, table
from mlpq.errors import InvalidArgumentError

if TYPE_CHECKING:
    from mlpq.client import Client
    from mlpq.job import Job
    from mlpq.results import Prediction

PANEL = "Results"

SHOWN_CLASSES = 20
"""Most classes of a confusion matrix that is shown."""

SHOWN_COLUMNS, SHOWN_VALUES = 20, 8
"""Most columns, and most values of one, that a word is said of."""


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (weights, predict, evaluate, card):
        app.command(rich_help_panel=PANEL)(command)


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
        path = save_weights(job, output or Path(f"{name}.{ending}"), file_format, checkpoint)
    tell_file(job, path, as_json)


def predict(
    job_id: JobId,
    rows: Annotated[str, typer.Argument(help="A CSV, JSON, Parquet, Feather, NPY or NPZ file, or `-`.")] = "-",
    probabilities: Annotated[
        bool, typer.Option("--probabilities", "-p", help="CSV: the prediction, and the probability of every class.")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Predict rows with a trained job, one line each."""
    with connect(url) as client:
        job = find_job(client, job_id)
        prediction = job.predict(_fitted(client, job, rows))
    _tell_unseen(prediction)
    listed = prediction.predictions.tolist()
    if as_json:
        chances = None if prediction.probabilities is None else prediction.probabilities.tolist()
        unseen = [asdict(one) for one in prediction.unseen]
        classes = list(prediction.classes)
        print_json({"predictions": listed, "probabilities": chances, "classes": classes, "unseen": unseen})
    elif probabilities:
        print_predictions(prediction)
    else:
        for value in listed:
            typer.echo(printable(value))


def evaluate(
    job_id: JobId,
    dataset: Annotated[
        str,
        typer.Argument(
            help="An id, or a file with the job's columns and its target.", autocompletion=datasets_or_files
        ),
    ],
    checkpoint: Annotated[str | None, typer.Option(help="A step, or latest; default the result.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Measure a trained job on a data set or a file.

    Loss, scores and, for classes, the confusion matrix.
    """
    with connect(url) as client:
        job = find_job(client, job_id)
        options = read_like(client, job.record.dataset, dataset)
        rows = dataset_id(client, dataset, options, quiet=as_json)
        found = job.evaluate(rows, checkpoint)
        is_own = not as_json and _same_rows(client, rows, job.record.dataset)
    matrix = None if found.confusion is None else found.confusion.tolist()
    if as_json:
        figures = dict(found.metrics)
        shown = {"n_rows": found.n_rows, "metrics": figures, "classes": found.classes, "confusion_matrix": matrix}
        print_json(shown)
        return
    if is_own:
        say("the job was trained on this data set; `mlpq show` has its scores on the rows that were held out")
    facts([("rows", found.n_rows), *((name.replace("_", " "), number(v, 5)) for name, v in found.metrics.items())])
    if matrix is not None and len(found.classes) <= SHOWN_CLASSES:
        counted = [(name, *counts) for name, counts in zip(found.classes, matrix, strict=True)]
        table(("true \\ predicted", *found.classes), counted)


def _same_rows(client: Client, one: str, other: str) -> bool:
    """Whether two data sets are of the same file, however it was read."""
    first, second = known(client, one), known(client, other)
    return first is not None and second is not None and first.sha256 == second.sha256


def _fitted(client: Client, job: Job, source: str) -> Any:
    """Rows as the job's columns want them; others, such as the target, may be in the file and are left out."""
    from mlpq.cli.rows import fit_rows, read_rows

    record = known(client, job.record.dataset)
    if record is None:
        rows = read_rows(source)
        return fit_rows(rows, None)[0] if isinstance(rows, list) else rows
    training = job.spec.get("training") or {}
    apart = {training.get("sample_weight"), (training.get("split") or {}).get("column")}
    kinds = {c.name: c.kind for c in record.columns if c.name not in apart}
    text = record.raw.get("text")
    rows = read_rows(source, list(kinds), text)
    if not isinstance(rows, list):
        return rows
    fitted, unused, absent = fit_rows(rows, kinds, text)
    unused = [name for name in unused if name != record.raw.get("target")]
    for said, names in (("not used", unused), ("not there, taken as missing", absent)):
        if names:
            more = ", …" if len(names) > SHOWN_COLUMNS else ""
            say(f"{said}: {printable(', '.join(names[:SHOWN_COLUMNS]))}{more}")
    return fitted


def _tell_unseen(prediction: Prediction) -> None:
    """Say which cells were taken as none of the categories that the job was trained on."""
    for one in prediction.unseen[:SHOWN_COLUMNS]:
        values = ", ".join(map(printable, one.values[:SHOWN_VALUES])) + (", …" * (len(one.values) > SHOWN_VALUES))
        rows = "1 row" if one.n_rows == 1 else f"{one.n_rows} rows"
        say(f"not seen in training, taken as no category: {values} in {printable(one.column)} ({rows})")
    if len(prediction.unseen) > SHOWN_COLUMNS:
        say(f"so are cells of {len(prediction.unseen) - SHOWN_COLUMNS} more columns")


def card(
    job_id: JobId,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it there.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show a job's model card, as Markdown.

    Data, settings, figures, environment, files with their hashes.
    """
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
        raise InvalidArgumentError(f"{output} cannot be written: {error.strerror}", "-o names another place") from error


def save_weights(job: Job, path: Path, file_format: str | None = None, checkpoint: str | None = None) -> Path:
    """Write a job's weights file."""
    try:
        return job.save_weights(path, file_format, checkpoint)
    except OSError as error:
        raise InvalidArgumentError(f"{path} cannot be written: {error.strerror}", "-o names another place") from error


def tell_file(job: Job, path: Path, as_json: bool, quiet: bool = False) -> None:
    """Say what was written."""
    if as_json:
        print_json({"object": "file", "job": job.id, "path": str(path), "bytes": path.stat().st_size})
    elif not quiet:
        console().print(f"{path} ({path.stat().st_size:,} bytes, SHA-256 verified)", markup=False)
