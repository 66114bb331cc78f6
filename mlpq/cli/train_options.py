"""What `mlpq train` can be told (some of it `sweep` too), one option each, and its panel in the help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlpq.cli.complete import datasets_or_files

Data = Annotated[
    str | None,
    typer.Argument(
        metavar="DATA",
        help="A data set's id (`digits`), a file to upload first, or a specification (.yaml, .json, `-`).",
        autocompletion=datasets_or_files,
    ),
]
Features = Annotated[
    list[str] | None,
    typer.Option(
        help='Of images: raw, hog, …, or \'{"name": "hog", "cell": 4}\'; may be repeated.', rich_help_panel="Net"
    ),
]
Hidden = Annotated[
    str | None, typer.Option(help="Widths of the hidden layers: `128 64` or 128,64 or none.", rich_help_panel="Net")
]
Activation = Annotated[
    str | None,
    typer.Option(
        help='relu, tanh, …, or with settings \'{"name": "elu", "alpha": 0.5}\'; see `mlpq capabilities`.',
        rich_help_panel="Net",
    ),
]
Loss = Annotated[
    str | None, typer.Option(help="softmax, svm, squared_error, …; see `mlpq capabilities`.", rich_help_panel="Net")
]
Optimizer = Annotated[str | None, typer.Option(help="The optimizer's name.", rich_help_panel="Descent")]
LearningRate = Annotated[
    float | None, typer.Option("--learning-rate", "--lr", help="Length of a step.", rich_help_panel="Descent")
]
Momentum = Annotated[float | None, typer.Option(help="Of SGD.", rich_help_panel="Descent")]
L2 = Annotated[float | None, typer.Option(help="Weight of the squared weights in the loss.", rich_help_panel="Descent")]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training data.", rich_help_panel="Descent")]
BatchSize = Annotated[int | None, typer.Option(help="Rows per step.", rich_help_panel="Descent")]
ValidationFraction = Annotated[
    float | None, typer.Option(help="Share of the rows that is held out.", rich_help_panel="Rows")
]
TestFraction = Annotated[
    float | None, typer.Option(help="Share of the rows that test at the end.", rich_help_panel="Rows")
]
TestDataset = Annotated[
    str | None, typer.Option(help="What tests at the end: an id, or a file.", rich_help_panel="Rows")
]
ValidationDataset = Annotated[
    str | None, typer.Option(help="What validates: an id, or a file.", rich_help_panel="Rows")
]
SplitColumn = Annotated[
    str | None, typer.Option(help="The column that says where a row belongs.", rich_help_panel="Rows")
]
ValidationValue = Annotated[
    list[str] | None, typer.Option(help="Rows with it validate; repeatable.", rich_help_panel="Rows")
]
TestValue = Annotated[list[str] | None, typer.Option(help="Rows with it test; repeatable.", rich_help_panel="Rows")]
Stratify = Annotated[
    bool | None,
    typer.Option("--stratify/--no-stratify", help="Whether draws keep the shares of classes.", rich_help_panel="Rows"),
]
Patience = Annotated[
    int | None, typer.Option(help="Stop after so many epochs without a better loss.", rich_help_panel="Descent")
]
Seed = Annotated[int | None, typer.Option(help="Of weights, splits and shuffling.", rich_help_panel="Run")]
Precision = Annotated[
    str | None, typer.Option(help="float32, float64; on a GPU also tf32, bfloat16.", rich_help_panel="Run")
]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda:0.", rich_help_panel="Run")]
Name = Annotated[str | None, typer.Option(help="What the job is called.", rich_help_panel="Run")]
Tags = Annotated[list[str] | None, typer.Option(help="A tag; may be repeated.", rich_help_panel="Run")]
Priority = Annotated[int | None, typer.Option(help="Higher ones run first.", rich_help_panel="Run")]
Target = Annotated[
    str | None, typer.Option(help="The column to predict, when a file is given.", rich_help_panel="Rows")
]
SpecFile = Annotated[
    str | None,
    typer.Option(help="A YAML or JSON file with the specification; `-` is standard input. Options go over it."),
]
Assignments = Annotated[list[str] | None, typer.Option("--set", help="More: training.clip_norm=1.0")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Resolve and check, but do not train.")]
WeightsFile = Annotated[Path | None, typer.Option("--weights", help="Watch, then write the weights there.")]
