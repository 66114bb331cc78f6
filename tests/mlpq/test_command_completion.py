"""Completion as a shell asks for it: words of the parser, and jobs and data sets of the service, never an error."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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


def bash(folder: Path, url: str, *words: str) -> list[str]:
    """What bash offers for the last of these words."""
    script = (
        'source <(mlpq completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1));'
        '_mlpq_completion mlpq; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{folder.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "MLPQ_URL": url, "PYTHONPATH": str(ROOT)}
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
