"""Completion as a shell asks for it: words of the parser, and jobs and data sets of the service, never an error."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlpq import Client
from mlpq.cli import complete
from tests.mlpq.command import Mlpq

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def job(service_url: str) -> str:
    with Client(service_url) as client:
        return client.train("iris", hidden=[], epochs=1, name="$(touch pwned)").wait(timeout_s=60).id


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder, and beside it the command in a folder of the path."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "mlpq"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mlpq "$@"\n')
    command.chmod(0o755)
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


def surroundings(folder: Path, url: str) -> dict[str, str]:
    """The environment of a shell that finds the command."""
    path = f"{folder.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "MLPQ_URL": url, "PYTHONPATH": str(ROOT)}


def bash(folder: Path, url: str, *words: str) -> list[str]:
    """What bash offers for the last of these words."""
    script = (
        'source <(mlpq completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1));'
        '_mlpq_completion mlpq; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environment = surroundings(folder, url)
    command = [str(shutil.which("bash")), "-c", script, "bash", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_words_of_the_parser_and_things_of_the_service(service_url: str, folder: Path, job: str) -> None:
    (folder / "dice.csv").touch()
    assert bash(folder, service_url, "mlpq", "comp") == ["completion"]
    assert bash(folder, service_url, "mlpq", "train", "--learn") == ["--learning-rate"]
    assert bash(folder, service_url, "mlpq", "train", "di") == ["digits", "diabetes", "dice.csv"]
    assert {"last", job} <= {*bash(folder, service_url, "mlpq", "weights", "")}
    assert bash(folder, service_url, "mlpq", "completion", "f") == ["fish"]


def test_a_service_that_is_away_gives_files_alone_and_no_error(folder: Path) -> None:
    (folder / "dice.csv").touch()
    assert bash(folder, "http://127.0.0.1:9", "mlpq", "train", "di") == ["dice.csv"]
    assert bash(folder, "nowhere", "mlpq", "show", "") == []
    assert complete.LIMIT_S <= 1.0


@pytest.mark.parametrize(
    ("shell", "asked"),
    [
        ("zsh", {"_TYPER_COMPLETE_ARGS": "mlpq show "}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "mlpq show ", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_other_shells_see_what_a_job_is_but_not_what_people_called_it(
    service_url: str, job: str, shell: str, asked: dict[str, str]
) -> None:
    environment = {**os.environ, "MLPQ_URL": service_url, "_MLPQ_COMPLETE": f"complete_{shell}", **asked}
    command = [sys.executable, "-m", "mlpq"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert job in done.stdout
    assert "succeeded on iris" in done.stdout
    assert "pwned" not in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_printed_and_names_this_command(mlpq: Mlpq, shell: str) -> None:
    script = mlpq("completion", shell)
    assert f"_MLPQ_COMPLETE=complete_{shell}" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def typed_in_zsh(folder: Path, environment: dict[str, str], keys: str, until: str) -> str:
    """What a terminal shows once these keys were pressed in a real zsh."""
    ours, theirs = pty.openpty()
    settings = environment | {"TERM": "dumb", "ZDOTDIR": str(folder)}
    command = ["zsh", "-f", "-i"]
    shell = subprocess.Popen(command, cwd=folder, env=settings, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown, deadline = "", time.monotonic() + 30
    os.write(ours, b"autoload -Uz compinit && compinit -u; source <(mlpq completion zsh); echo re''ady\n")
    wanted = "ready"
    try:
        while time.monotonic() < deadline and until not in shown:
            if select.select([ours], [], [], 0.1)[0]:
                shown += os.read(ours, 65536).decode(errors="replace")
            if wanted in shown:
                os.write(ours, keys.encode())
                shown, wanted = "", "\0"
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)
    return shown


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_commands_and_goes_on_from_a_folder(folder: Path, service_url: str) -> None:
    (folder / "my dir").mkdir()
    (folder / "my dir" / "inner.csv").touch()
    environment = surroundings(folder, service_url)
    keys = "mlpq tra\tmy\tinn\t"
    shown = typed_in_zsh(folder, environment, keys, until="inner.csv")
    assert "mlpq train my\\ dir/inner.csv" in shown.replace("\a", "").replace(" \b", "")


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_offers_words_with_what_they_are(folder: Path, service_url: str, job: str) -> None:
    def offered(line: str) -> list[str]:
        script = f"mlpq completion fish | source; complete -C '{line}'"
        environment = surroundings(folder, service_url) | {"HOME": str(folder)}
        command = ["fish", "--no-config", "-c", script]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True).stdout.splitlines()

    assert [line.partition("\t")[0] for line in offered("mlpq comp")] == ["completion"]
    assert f"{job}\tsucceeded on iris" in offered("mlpq show job_")
