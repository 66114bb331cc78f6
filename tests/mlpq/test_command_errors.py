"""What goes wrong at the command line is one line, a hint, and an exit status of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlpq import Client
from mlpq.cli import app
from mlpq.cli.meant import SYNONYMS
from mlpq.up.launch import deployment
from tests.mlpq.command import Mlpq


@pytest.fixture(scope="module")
def ended(service_url: str) -> str:
    """The id of a finished job."""
    with Client(service_url) as client:
        return client.train("iris", hidden=[], epochs=1).wait(timeout_s=60).id


@pytest.mark.parametrize(
    ("words", "status", "message", "hint"),
    [
        (["jobs", "--url", "http://127.0.0.1:9"], 4, "no service answers at http://127.0.0.1:9", "mlpq up"),
        (["show", "job_absent"], 3, "There is no such resource at /v1/jobs/job_absent [404 not_found]", "mlpq jobs"),
        (["datasets", "ds_absent"], 3, "404", "mlpq datasets"),
        (["pause", "ENDED"], 5, "cannot pause", "mlpq show"),
        (["resume", "ENDED"], 5, "cannot resume", "mlpq show"),
        (["train", "absent.csv"], 2, "absent.csv is no file", "mlpq datasets"),
        (["train", "ragged.csv"], 2, "3", "mlpq upload --help"),
        (["train", "iris", "--hidden", "64,x"], 2, "must be widths", "--hidden none"),
        (["train", "iris", "--hidden", "0"], 2, "/net/hidden/0", "mlpq capabilities"),
        (["train", "iris", "--epochs", "many"], 2, "--epochs is 'many'; must be a whole number", "mlpq train --help"),
        (["train", "iris", "--learning-rate", "x"], 2, "--learning-rate is 'x'; must be a number", "mlpq train --help"),
        (["train", "irs"], 2, 'did you mean "iris"?', "mlpq datasets"),
        (["train", "iris", "--target", "x"], 2, "the data set iris has its target", "mlpq upload FILE --target COLUMN"),
        (["train", "iris", "--epoch", "3"], 2, "No such option: --epoch", "mlpq train --help"),
        (["train", "iris", "--set", "x"], 2, "--set is 'x'", "mlpq train"),
        (["tarin"], 2, "No such command 'tarin'. Did you mean 'train'?", "mlpq --help"),
        (["sweap"], 2, "Did you mean 'sweep' or 'sweeps'?", "mlpq --help"),
        (["LIST"], 2, "No such command 'LIST'. Did you mean 'jobs'?", "mlpq --help"),
        (["submit", "iris"], 2, "Did you mean 'train'?", "mlpq --help"),
        (["help"], 2, "Did you mean '--help'?", "mlpq --help"),
        (["--url", "http://127.0.0.1:9", "jobs"], 2, "No such option: --url", "mlpq jobs --url URL"),
        (["jobs", "--profile", "x"], 2, "No such option: --profile", "mlpq --profile NAME jobs"),
        (["jobs", "--limit", "0"], 2, "--limit is '0'; must be at least 1", "mlpq jobs --help"),
        (["lecture", "L999"], 3, "404", "`mlpq lecture` lists the rows"),
        (["weights", "ENDED", "-o", "net.foo"], 2, 'is "foo"; must be "npz"', "the ending of the file's name"),
        (["predict", "ENDED", "absent.csv"], 2, "absent.csv", "rows are a CSV, JSON"),
        (["predict", "ENDED"], 2, "standard input holds no rows", "rows are a CSV, JSON"),
        (["weights", "ENDED", "-o", "/proc/none"], 2, "cannot be written", "-o"),
        (["explain", "ENDED", "conf"], 2, "conf is no explanation", "mlpq explain"),
        (["explain", "ENDED", "confusion", "-o", "x.jpg"], 2, "-o is x.jpg; pictures are PNG", "-o x.png"),
        (["train", "iris", "--activation", "{relu}"], 2, "--activation is no JSON", "--activation '{"),
        (["completion"], 2, "Missing argument 'SHELL'. Choose from: bash, zsh, fish", "mlpq completion --help"),
        (["demo", "--port", "65536"], 2, "--port is '65536'; must be at most 65535", "mlpq demo --help"),
        (["jobs", "--url", "http://[::1"], 2, "url is 'http://[::1', which is no address", "mlpq config"),
        (["completion", "tcsh"], 2, "'tcsh' is not one of", "mlpq completion --help"),
    ],
)
def test_an_error_is_a_line_and_a_hint(
    mlpq: Mlpq, ended: str, tmp_path: Path, words: list[str], status: int, message: str, hint: str
) -> None:
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n3\n")
    assert mlpq(*(ended if word == "ENDED" else word for word in words), status=status) == ""
    said, advice = mlpq.stderr.splitlines()
    assert said.startswith("mlpq: ")
    assert message in said
    assert hint in advice


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers", "-1"], "mlpq: --workers is -1; must be 0..256"),
        (["--device", "gpu"], "mlpq: --device is 'gpu'; must be auto, cpu or cuda:0, cuda:1, …"),
        (["--redis-url", "nowhere"], "mlpq: --redis-url is 'nowhere'; must start with redis://, rediss:// or unix://"),
    ],
)
def test_a_deployment_that_was_asked_for_wrongly_is_wrong_usage(mlpq: Mlpq, words: list[str], message: str) -> None:
    assert mlpq("up", "--data-dir", "unmade", *words, status=2) == ""
    assert mlpq.stderr.splitlines()[-1] == message


def test_what_other_programs_call_a_command_names_one_of_ours() -> None:
    commands = {info.name or info.callback.__name__ for info in app.registered_commands if info.callback}
    assert set(SYNONYMS.values()) <= {*commands, "--help"}
    assert not commands & set(SYNONYMS)


def test_a_word_that_is_near_nothing_gets_no_guess(mlpq: Mlpq) -> None:
    assert mlpq("xyzzy", status=2) == ""
    assert mlpq.stderr == "mlpq: No such command 'xyzzy'.\n      see `mlpq --help`\n"


def test_a_conflict_about_a_data_set_gives_no_hint_about_a_job(mlpq: Mlpq) -> None:
    assert mlpq("datasets", "iris", "--delete", status=5) == ""
    assert mlpq.stderr.splitlines() == ["mlpq: iris is built in and cannot be deleted [409 conflict]"]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service that wants a key."""
    environment = {**os.environ, "MLPQ_API_KEY": "right"}
    folder = tmp_path_factory.mktemp("locked") / "data"
    with deployment(folder, "--port", "0", "--workers", "0", environment=environment) as (url, _):
        yield url


def test_a_missing_or_wrong_key_is_a_line_and_a_hint(mlpq: Mlpq, locked: str) -> None:
    mlpq.patch.setenv("MLPQ_URL", locked)
    for key in ("", "wrong"):
        mlpq.patch.setenv("MLPQ_API_KEY", key)
        mlpq("jobs", status=7)
        said, advice = mlpq.stderr.splitlines()
        assert "key" in said.lower()
        assert "MLPQ_API_KEY" in advice
    mlpq.patch.setenv("MLPQ_API_KEY", "right")
    mlpq("jobs")
