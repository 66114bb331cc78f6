"""The commands about this command: what it is connected to, and how the shell completes it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

import mlpq
from mlpq.cli.arguments import AsJson, Url, profile_of
from mlpq.cli.output import facts, print_json, say

if TYPE_CHECKING:
    from mlpq.config import Setting

PANEL = "This command"
COMPLETE_VARIABLE = "_MLPQ_COMPLETE"


ZSH = (
    f"""  eval $(env _TYPER_COMPLETE_ARGS="${{words[1,$CURRENT]}}" {COMPLETE_VARIABLE}=complete_zsh mlpq)
""",
    f"""  local offers="$(env _TYPER_COMPLETE_ARGS="${{words[1,$CURRENT]}}" {COMPLETE_VARIABLE}=complete_zsh mlpq)"
  if [[ $offers == *'/":"a folder"'* ]]; then
    compadd() {{ builtin compadd -S '' "$@" }}
  fi
  eval $offers
  unfunction compadd 2>/dev/null
  return 0
""",
)
"""What typer's script for zsh does, and what it shall do: a folder is gone on from, without a space behind it."""


class Shell(StrEnum):
    """The shells for which there is a script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def prepare_completion() -> None:
    """Let typer answer the shell; what it asks stands in the environment."""
    from typer.completion import completion_init  # type: ignore[attr-defined]

    completion_init()


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (config, completion, version):
        app.command(rich_help_panel=PANEL)(command)


def config(context: typer.Context, url: Url = None, as_json: AsJson = False) -> None:
    """Show which service and key hold, and why.

    An option goes over the environment (MLPQ_URL, MLPQ_API_KEY, MLPQ_PROFILE), this over the file
    ~/.config/mlpq/config.toml, and this over the default.
    """
    from mlpq.config import resolve

    found = resolve(url, None, profile_of(context))
    for warning in found.warnings:
        say(f"warning: {warning}")
    if as_json:
        told = {name: vars(getattr(found, name)) for name in ("url", "profile")}
        told["key"] = {"given": found.key.value is not None, "source": found.key.source}
        print_json({"object": "config", **told, "file": str(found.path), "file_exists": found.path.exists()})
        return
    key = None if found.key.value is None else f"{'•' * 8}, {len(found.key.value)} characters"
    there = "" if found.path.exists() else " (not there)"
    facts(
        [
            ("url", _told(found.url, found.url.value)),
            ("key", _told(found.key, key)),
            ("profile", _told(found.profile, found.profile.value)),
            ("file", f"{found.path}{there}"),
        ]
    )


def version(as_json: AsJson = False) -> None:
    """Say which version this is."""
    if as_json:
        print_json({"name": "mlpq", "version": mlpq.__version__})
    else:
        typer.echo(mlpq.__version__)


def _told(setting: Setting, shown: str | None) -> str:
    return "none" if shown is None else f"{shown}  ({setting.source})"


def completion(shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]) -> None:
    """Print the script for completion in a shell.

    It completes commands, options, files, and the jobs and data sets of the service.

    bash: `source <(mlpq completion bash)` in ~/.bashrc. zsh: `source <(mlpq completion zsh)` in ~/.zshrc, behind
    compinit. fish: `mlpq completion fish > ~/.config/fish/completions/mlpq.fish`.
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    script = get_completion_script(prog_name="mlpq", complete_var=COMPLETE_VARIABLE, shell=shell.value)
    typer.echo(script.replace(*ZSH) if shell is Shell.ZSH else script)
