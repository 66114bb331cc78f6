"""The commands about this machine: start everything, show that it works."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import mlpq
from mlpq.addresses import DEFAULT_URL
from mlpq.cli.arguments import AsJson, choose_profile
from mlpq.cli.exits import FAILED
from mlpq.cli.output import command_name, facts, print_json, say

if TYPE_CHECKING:
    from mlpq.up.deployment import Running

Host = Annotated[str, typer.Option(envvar="MLPQ_HOST", help="Where to listen; beyond loopback needs MLPQ_API_KEY.")]
Port = Annotated[int, typer.Option(envvar="MLPQ_PORT", min=0, max=65535, help="0 takes a free one.")]
DataDir = Annotated[Path, typer.Option(envvar="MLPQ_DATA_DIR", help="Where everything is kept.")]
RedisUrl = Annotated[
    str | None, typer.Option(envvar="REDIS_URL", help="An existing Redis or Valkey.", show_default="an embedded Valkey")
]
Workers = Annotated[
    int | None, typer.Option(envvar="MLPQ_WORKERS", help="How many.", show_default="one per GPU, or one on the CPU")
]
Device = Annotated[str, typer.Option(envvar="MLPQ_DEVICE", help="auto, cpu or cuda:0.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(mlpq.__version__)
        raise typer.Exit


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.callback()(_options)
    for command in (up, demo):
        app.command(rich_help_panel="Start")(command)


def up(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    data_dir: DataDir = Path("mlpq-data"),
    redis_url: RedisUrl = None,
    workers: Workers = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Start the service and keep it running.

    Store, API, page and workers start here; what dies is started again. Ctrl-C stops everything gracefully.
    """
    from mlpq.up.deployment import up as keep_up
    from mlpq.up.plan import Options

    def ready(running: Running) -> None:
        if as_json:
            print_json(running.to_json())
        else:
            _screen(running)

    say(f"mlpq {mlpq.__version__} is starting …")
    graceful = keep_up(Options(host, port, data_dir, redis_url, workers, device), ready, say)
    say("stopped" if graceful else "stopped, not everything by itself")
    if not graceful:
        raise typer.Exit(FAILED)


def demo(
    data_dir: DataDir = Path("mlpq-data"),
    dataset: Annotated[str, typer.Option(help="What to train on.")] = "digits",
    port: Annotated[
        int | None, typer.Option(envvar="MLPQ_PORT", min=0, max=65535, help="Default 8000, or a free one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train on real data through the whole service, once.

    Starts what is not running, trains, draws the curve, and checks the downloaded weights in plain NumPy.
    """
    from mlpq.demo import run_demo

    if not run_demo(data_dir, dataset, port, as_json=as_json):
        raise typer.Exit(FAILED)


def _options(
    profile: Annotated[
        str | None, typer.Option(help="A profile of the config file; default MLPQ_PROFILE; see `mlpq config`.")
    ] = None,
    shown: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """What `mlpq` understands before a command; `mlpq.cli` says what the whole is for."""
    _ = shown  # said already
    choose_profile(profile)


def _screen(running: Running) -> None:
    address = "" if running.url == DEFAULT_URL else f" --url {running.url}"
    facts(
        [
            ("page", f"{running.url}/"),
            ("API docs", f"{running.url}/docs"),
            ("workers", ", ".join(running.devices) or "none"),
            ("store", running.redis),
            ("data", running.data_dir),
            ("logs", running.logs),
            ("try", f"{command_name()} train digits --watch{address}"),
            ("stop", "Ctrl-C; once more to hurry"),
        ]
    )
