"""The `mlpq` command. What a subcommand needs is imported when it runs, so that `mlpq --help` is there at once."""

from __future__ import annotations

import os
import sys

import typer

from mlpq.cli import data, jobs, local
from mlpq.cli.arguments import join_widths
from mlpq.cli.exits import EXIT_HELP, exit_status
from mlpq.errors import MlpqError

app = typer.Typer(
    name="mlpq",
    help="Train fully connected networks: submit a job, watch the loss fall, take the weights home.",
    epilog=EXIT_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
local.register(app)
jobs.register(app)
data.register(app)


def main() -> None:
    """Run the command line; an error is one line on standard error, with a hint, and an exit status of its own."""
    try:
        app(join_widths(sys.argv[1:]), prog_name="mlpq")
    except MlpqError as error:
        sys.stderr.write(f"mlpq: {error}\n")
        if error.hint:
            sys.stderr.write(f"      {error.hint}\n")
        sys.exit(exit_status(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
