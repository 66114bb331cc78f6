"""The `mlpq` command. A subcommand is read, and what it needs imported, when it is called: help is there at once."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Sequence
from copy import copy
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info, get_command_name, get_group

from mlpq.cli import data, explain, jobs, lecture, local, results, settings, sweep, top, train
from mlpq.cli.arguments import join_widths
from mlpq.cli.exits import EXIT_HELP, FAILED, exit_status
from mlpq.cli.meant import meant, place_of
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
    """All commands by name and first words; one that is called is read whole. The help ends with examples."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that words call, with its options, and the words that are left."""
        if not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"No such command {args[0]!r}.{meant(args[0], self.commands)}")
        called, command, rest = super().resolve_command(ctx, args)
        whole = next((info for info in app.registered_commands if command and _name(info) == command.name), None)
        return called, whole and get_command_from_info(whole, **_HOW), rest

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
_HOW: Any = {"pretty_exceptions_short": app.pretty_exceptions_short, "rich_markup_mode": app.rich_markup_mode}


def _name(info: Any) -> str:
    return str(info.name or get_command_name(info.callback.__name__))


def _briefly(info: Any) -> TyperCommand:
    """A command as a list of them shows it."""
    return TyperCommand(_name(info), help=inspect.getdoc(info.callback), rich_help_panel=info.rich_help_panel)


def _group() -> TyperGroup:
    bare = copy(app)
    bare.registered_commands = []
    group = get_group(bare)
    group.commands = {_name(info): _briefly(info) for info in app.registered_commands}
    return group


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and exit: an error is one line on standard error, and a hint."""
    words = join_widths(sys.argv[1:] if arguments is None else arguments)
    if settings.COMPLETE_VARIABLE in os.environ:
        settings.prepare_completion()
    try:
        sys.exit(_group()(words, prog_name="mlpq", standalone_mode=False))
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


_WANTED = {
    "int_parsing": "a whole number",
    "float_parsing": "a number",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
}


def _unreadable(error: typer.TyperException) -> str:
    """Which option has which value that is no number, or out of range; empty for all other mistakes."""
    option, told = getattr(error, "param", None), getattr(error.__cause__, "errors", None)
    if option is None or told is None:
        return ""
    [item, *_] = told()
    wanted = _WANTED.get(item["type"])
    return f"{option.opts[0]} is {item['input']!r}; must be {wanted.format(**item.get('ctx', {}))}" if wanted else ""


def _exit_with_usage(error: typer.TyperException) -> None:
    """What is wrong with the words that were typed, and where to read about them."""
    context = getattr(error, "ctx", None)
    message = _unreadable(error) or " ".join(error.format_message().split())  # choices stand on lines of their own
    if message:  # none where the help was shown instead
        place = place_of(getattr(error, "option_name", ""), before_command=context is None or context.parent is None)
        _complain(message, place or f"see `{context.command_path if context else 'mlpq'} --help`")
    sys.exit(error.exit_code)
