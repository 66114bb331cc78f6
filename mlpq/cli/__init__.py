"""The `mlpq` command. What a subcommand needs is imported when it runs, so that `mlpq --help` is there at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from mlpq.cli import data, explain, jobs, lecture, local, results, settings, sweep, top, train
from mlpq.cli.arguments import join_widths
from mlpq.cli.exits import EXIT_HELP, FAILED, exit_status
from mlpq.errors import MlpqError

EXAMPLES = """\
 Examples:
   mlpq up                                       start the service here, and the page
   mlpq train digits --hidden 128 64 --watch     a built-in data set, live curve
   mlpq train iris.csv --target species --watch  a file of your own
   mlpq predict last new.csv                     what the newest job says about rows
   mlpq weights last -o net.onnx                 the trained net, as a file
"""


class Commands(TyperGroup):
    """All commands; the help ends with examples."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help as typer has it, and the examples."""
        super().format_help(ctx, formatter)
        typer.echo(EXAMPLES)


app = typer.Typer(
    name="mlpq",
    cls=Commands,
    help="Train fully connected networks: submit a job, watch the loss fall, take the weights home.",
    epilog=EXIT_HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (local, train, sweep, data, jobs, top, results, explain, lecture, settings):
    part.register(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and exit: an error is one line on standard error, and a hint."""
    words = join_widths(sys.argv[1:] if arguments is None else arguments)
    if settings.COMPLETE_VARIABLE in os.environ:
        settings.prepare_completion()
    try:
        sys.exit(app(words, prog_name="mlpq", standalone_mode=False))
    except MlpqError as error:
        _complain(str(error), error.hint)
        sys.exit(exit_status(error))
    except typer.TyperException as error:
        _exit_with_usage(error)
    except typer.Abort:
        sys.exit(FAILED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)


def _complain(message: str, hint: str = "") -> None:
    sys.stderr.write(f"mlpq: {message}\n")
    if hint:
        sys.stderr.write(f"      {hint}\n")


def _exit_with_usage(error: typer.TyperException) -> None:
    """What is wrong with the words that were typed, and where to read about them."""
    context = getattr(error, "ctx", None)
    message = error.format_message()
    if message:  # none where the help was shown instead
        _complain(message, f"see `{context.command_path if context else 'mlpq'} --help`")
    sys.exit(error.exit_code)
