"""The `mlpq` command against the real service."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mlpq import Client, InvalidInputError, NotFoundError
from tests.mlpq.command import Mlpq, Terminal


@pytest.fixture(scope="module")
def trained(service_url: str) -> str:
    """The id of a finished job on iris."""
    with Client(service_url) as client:
        return client.train("iris", hidden=[8], epochs=6).wait(timeout_s=60).id


def test_training_from_a_file_to_predictions_in_three_commands(mlpq: Mlpq, tmp_path: Path) -> None:
    rows = "\n".join(f"{x},{'big' if x > 25 else 'small'}" for x in range(50))
    (tmp_path / "sizes.csv").write_text(f"x,size\n{rows}\n")
    shown = mlpq("train", "sizes.csv", "--target", "size", "--hidden", "8", "8", "--epochs", "80", "--watch")
    assert "succeeded" in shown
    assert "train loss" in shown
    assert "\x1b" not in shown
    assert mlpq("predict", "last", "-", stdin="x\n3\n47\n").split() == ["small", "big"]
    learned = mlpq("predict", "last", "sizes.csv").split()  # as it is, with the column that is predicted
    assert (len(learned), set(learned)) == (50, {"small", "big"})
    assert "SHA-256 verified" in mlpq("weights", "last", "-o", "net.npz")
    assert (tmp_path / "net.npz").exists()


def test_a_file_is_predicted_and_evaluated_as_the_training_file_was_read(mlpq: Mlpq, tmp_path: Path) -> None:
    zips = ["01067", "1067", "80331x"]
    lines = [f"{n},{zips[n % 3]},id{n},{'in' if n % 3 == 0 else 'out'}" for n in range(90)]
    (tmp_path / "people.csv").write_text("age,zip,who,side\n" + "\n".join(lines) + "\n")
    mlpq("train", "people.csv", "--target", "side", "--hidden", "8", "--epochs", "80", "--watch")
    (tmp_path / "new.csv").write_text("who,zip,age\nx,01067,5\ny,1067,5\nz,,\n")
    assert mlpq("predict", "last", "new.csv").split()[:2] == ["in", "out"]
    found = mlpq.json("evaluate", "last", "people.csv")
    assert (found["n_rows"], found["classes"]) == (90, ["in", "out"])
    assert found["metrics"]["accuracy"] == 1.0
    assert found["confusion_matrix"] == [[30, 0], [0, 60]]
    mlpq("weights", "last", "-o", "predict.py")
    command = [sys.executable, "predict.py", "people.csv"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [row.partition(",")[0] for row in said[1:]] == mlpq("predict", "last", "people.csv").split()
    assert mlpq.json("weights", "last", "--format", "torch")["path"].endswith(".pt")
    shown = mlpq("evaluate", "last", "people.csv")
    assert "the job was trained on this data set" in mlpq.stderr
    assert "balanced accuracy" in shown
    assert "predicted" in shown


def test_a_file_tests_what_another_one_trains_and_the_card_tells(mlpq: Mlpq, tmp_path: Path) -> None:
    rows = [f"{n % 10},{n % 5 == 0},{'in' if n % 10 > 4 else 'out'}" for n in range(100)]
    for name, part in (("train.csv", rows[:80]), ("test.csv", rows[80:])):
        (tmp_path / name).write_text("\n".join(["size,held,side", *part, ""]))
    options = ("--split-column", "held", "--validation-value", "true", "--hidden", "8", "--epochs", "60", "--watch")
    shown = mlpq("train", "train.csv", *options, "--test-dataset", "test.csv")
    assert "test accuracy" in shown
    card = mlpq.json("card", "last")
    assert card["rows"] == {"train": 64, "validation": 16, "test": 20}
    assert card["metrics"]["test"]["accuracy"] > 0.8
    assert (card["dataset"]["name"], card["test_dataset"]["name"]) == ("train", "test")
    assert mlpq("card", "last").startswith("# Model card: ")
    mlpq("card", "last", "-o", "card.md")
    assert "| held | boolean | 0 | split |" in (tmp_path / "card.md").read_text()
    assert len(mlpq("predict", "last", "test.csv").split()) == 20


def test_kinds_of_columns_are_chosen_and_shown(mlpq: Mlpq, tmp_path: Path) -> None:
    rows = "\n".join(f"2026-01-{n % 28 + 1:02d},{n % 3},{'ab'[n % 2]}" for n in range(60))
    (tmp_path / "days.csv").write_text(f"day,a=b,y\n{rows}\n")
    shown = mlpq("upload", "days.csv", "--kind", "a=b=categorical")
    assert "2026-01-01 00:00:00 – 2026-01-28 00:00:00" in shown
    assert "0, 1, 2" in shown
    record = mlpq.json("upload", "days.csv", "--kind", "a=b=categorical", "--feature", "a=b")
    assert [(c["name"], c["kind"]) for c in record["columns"]] == [("a=b", "categorical")]
    mlpq("train", record["id"], "--epochs", "1", "--watch")
    mlpq("train", "days.csv", "--epochs", "1", "--watch")
    assert len(mlpq("predict", "last", "days.csv").split()) == 60
    table = list(csv.reader(mlpq("predict", "last", "days.csv", "--probabilities").splitlines()))
    assert table[0] == ["prediction", "a", "b"]
    assert [row[0] for row in table[1:]] == mlpq("predict", "last", "days.csv").split()
    assert all(abs(sum(map(float, row[1:])) - 1) < 1e-5 for row in table[1:])
    assert mlpq.json("evaluate", "last", "days.csv")["n_rows"] == 60


def test_a_job_is_listed_with_its_data_set_by_name(mlpq: Mlpq, tmp_path: Path) -> None:
    def job_on(file: str, name: str) -> tuple[str, str]:
        data = mlpq.json("upload", file, "--name", name)["id"]
        mlpq("train", data, "--epochs", "1", "--hidden", "4", "--watch")
        return data, mlpq.json("show", "last")["id"]

    for file, first in (("a.csv", 0), ("b.csv", 1), ("c.csv", 2)):
        (tmp_path / file).write_text("x,y\n" + "".join(f"{x},{x % 3}\n" for x in range(first, first + 60)))
    (one, _), (two, _), (three, job) = job_on("a.csv", "twins"), job_on("b.csv", "twins"), job_on("c.csv", "alone")
    mlpq("sweep", three, "--grid", "training.seed=1", "--set", "training.epochs=1", "--watch")
    mlpq("datasets", three, "--delete")
    mlpq("train", "iris", "--epochs", "1", "--hidden", "4")
    shown = mlpq("jobs", "--limit", "5")
    assert [row in shown for row in (f"twins ({one})", f"twins ({two})", " alone ", " iris ")] == [True] * 4
    assert three not in shown
    assert f"alone ({three})" in mlpq("show", job)
    assert " alone " in mlpq("sweeps", "--limit", "1")


def test_names_and_labels_are_shown_as_they_are_and_steer_no_terminal(mlpq: Mlpq, tmp_path: Path) -> None:
    name = "[/b] [red]half"
    mlpq("train", "iris", "--epochs", "1", "--hidden", "4", "--name", name, "--watch")
    assert name in mlpq("jobs", "--limit", "1")
    assert name in mlpq("show", "last")
    rows = "\n".join(f"{x},{'a' if x % 2 else 'b'}\x1b[2J" for x in range(30))
    (tmp_path / "rude.csv").write_text(f"x,[/y]\n{rows}\n")
    shown = mlpq("upload", "rude.csv", "--name", name)
    shown += mlpq("train", "rude.csv", "--epochs", "1", "--hidden", "4", "--watch") + mlpq("datasets")
    shown += mlpq("predict", "last", "-", stdin="x\n3\n")
    assert r"a\x1b[2J" in shown
    assert name in shown
    assert "\x1b" not in shown


def test_json_is_all_there_is_on_standard_output(mlpq: Mlpq, trained: str) -> None:
    assert mlpq.json("show", trained)["id"] == trained
    assert trained in [job["id"] for job in mlpq.json("jobs", "--limit", "100")["data"]]
    assert {"digits", "iris"} <= {record["id"] for record in mlpq.json("datasets")["data"]}
    assert mlpq.json("datasets", "iris")["n_rows"] == 150
    assert mlpq.json("capabilities")["object"] == "capabilities"
    assert mlpq.json("train", "iris", "--hidden", "none", "--dry-run")["parameters"] == 4 * 3 + 3
    features = ("--features", '{"name": "hog", "cell": 4}', "--features", "raw")
    assert mlpq.json("train", "digits", "--hidden", "none", *features, "--dry-run")["inputs"] == 36 + 64
    assert mlpq.json("weights", trained, "-o", "w.safetensors")["path"] == "w.safetensors"
    assert len(mlpq.json("predict", trained, "-", stdin="[[5.1, 3.5, 1.4, 0.2]]")["predictions"]) == 1
    assert "version" in mlpq.json("version")


def test_watching_as_json_gives_every_event_and_then_the_job(mlpq: Mlpq, trained: str) -> None:
    documents = [json.loads(line) for line in mlpq("watch", trained, "--json").splitlines()]
    assert [one["id"] for one in documents[:-1]] == list(range(1, len(documents)))
    assert documents[-2]["type"] == "end"
    assert documents[-1]["status"] == "succeeded"


def test_fork_goes_on_from_a_job(mlpq: Mlpq, trained: str, client: Client) -> None:
    fork = mlpq.json("fork", trained, "--epochs", "2", "--lr", "1e-12", "--set", "training.batch_size=10", "--no-watch")
    assert (fork["origin"], fork["spec"]["training"]["epochs"]) == ({"job": trained, "checkpoint": None}, 2)
    assert fork["spec"]["training"]["batch_size"] == 10
    job = client.job(fork["id"]).wait(timeout_s=60)
    before, after = client.job(trained).weights(), job.weights()
    assert np.allclose(before["W1"], after["W1"], 1e-6, 1e-8)
    again = job.fork(dataset=client.dataset("iris"), learning_rate=0.01, epochs=3).wait(timeout_s=60)
    assert again.record.raw["origin"]["job"] == job.id
    assert again.spec["optimizer"]["learning_rate"] == 0.01
    assert not np.allclose(again.weights()["W1"], after["W1"], 1e-3)
    with pytest.raises(InvalidInputError, match="the weights have"):
        job.fork(hidden=[3])


@pytest.mark.parametrize(
    "command", [["jobs"], ["datasets"], ["datasets", "iris"], ["capabilities"], ["train", "iris", "--dry-run"]]
)
def test_what_people_read_holds_no_control_characters_when_piped(mlpq: Mlpq, command: list[str]) -> None:
    shown = mlpq(*command)
    assert len(shown) > 50
    assert "\x1b" not in shown


def test_a_specification_comes_from_a_file_and_options_go_over_it(mlpq: Mlpq, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text('{"net": {"hidden": [5], "activation": "tanh"}, "training": {"epochs": 9}}')
    told = mlpq.json("train", "iris", "--spec", "spec.json", "--epochs", "2", "--set", "training.seed=7", "--dry-run")
    assert told["spec"]["net"]["hidden"] == [5]
    assert (told["spec"]["training"]["epochs"], told["spec"]["training"]["seed"]) == (2, 7)
    assert mlpq.json("train", "iris", "--spec", "-", "--dry-run", stdin='{"net": {"hidden": []}}')["parameters"] == 15


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["show", "job_absent"], 3, "404"),
        (["train", "nowhere"], 2, "nowhere"),
        (["train", "absent.csv"], 2, "absent.csv is no file"),
        (["train", "iris", "--hidden", "0"], 2, "/net/hidden/0"),
        (["train", "iris", "--epochs", "many"], 2, "see `mlpq train --help`"),
        (["tarin", "iris"], 2, "No such command 'tarin'"),
        (["train"], 2, "no data set is named"),
        (["watch"], 2, "Missing argument"),
        (["show", ""], 2, "the id of a job is ''"),
        (["train", "iris", "--hidden", "a,b"], 2, "must be widths"),
        (["jobs", "--url", "http://127.0.0.1:9"], 4, "mlpq up"),
        (["jobs", "--url", "nowhere"], 2, "must start with http://"),
        (["train", "iris", "--lr", "nan"], 2, "/optimizer/learning_rate: is nan; must be a finite number"),
        (["train", "iris", "--set", "training.clip_norm=Infinity"], 2, "/training/clip_norm: is inf"),
    ],
)
def test_errors_are_short_and_have_their_own_exit_status(
    mlpq: Mlpq, arguments: list[str], status: int, said: str
) -> None:
    assert mlpq(*arguments, status=status) == ""
    assert said in mlpq.stderr
    assert 1 <= len(mlpq.stderr.splitlines()) <= 2


def test_a_place_that_cannot_be_written_is_named(mlpq: Mlpq, trained: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    mlpq("weights", trained, "-o", "folder", status=2)
    assert mlpq.stderr.splitlines()[0] == "mlpq: folder cannot be written: Is a directory"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_the_version_is_an_option_too(mlpq: Mlpq) -> None:
    assert mlpq("--version") == mlpq("version")


def test_a_paused_job_s_checkpoint_is_saved_as_weights(mlpq: Mlpq, tmp_path: Path) -> None:
    job = mlpq.json("train", "iris", "--hidden", "8", "--epochs", "1000000")["id"]
    with Client() as client:
        running = client.job(job)
        next(event for event in running.watch() if event.type == "metric")
        mlpq("pause", job)
        next(event for event in running.watch() if event.type == "checkpoint")
        mlpq("weights", job, status=3)
        assert "it has checkpoints of steps" in mlpq.stderr
        assert mlpq.json("weights", job, "--checkpoint", "latest")["path"] == f"{job}-latest.npz"
        with np.load(tmp_path / f"{job}-latest.npz") as saved:
            assert saved["W1"].shape == (4, 8)
            assert np.array_equal(saved["W1"], running.weights(checkpoint="latest")["W1"])
        mlpq("cancel", job)


def test_a_cancelled_job_is_no_success(mlpq: Mlpq) -> None:
    job = mlpq.json("train", "digits", "--epochs", "100000")["id"]
    assert job in mlpq("cancel", job)
    assert "cancelled" in mlpq("watch", job, status=1)
    assert "(cancelled)" not in mlpq("show", job)


@pytest.fixture
def large_file(tmp_path: Path) -> Path:
    """Twenty pieces of an upload."""
    path = tmp_path / "[b]large.csv"
    path.write_text("x,label\n" + "".join(f"{n + 5},{'ab'[n % 2]}\n" for n in range(600_000)))
    return path


@pytest.mark.parametrize("command", [("upload",), ("train", "--epochs", "1", "--hidden", "2")])
def test_an_upload_is_a_bar_in_a_terminal_alone(mlpq: Mlpq, large_file: Path, command: tuple[str, ...]) -> None:
    terminal = Terminal("-m", "mlpq", command[0], str(large_file), *command[1:])
    assert "[b]large.csv" in terminal.seen
    assert "━" in terminal.seen
    assert re.search(r"\d\.\d/\d\.\d MB", terminal.seen), terminal.seen[-500:]
    assert "━" not in terminal.printed
    quiet = Terminal("-m", "mlpq", command[0], str(large_file), *command[1:], "--json")
    assert quiet.seen == ""
    assert json.loads(quiet.printed)["object"] in ("dataset", "job")
    mlpq("upload", large_file.name)
    assert "━" not in mlpq.stderr


def test_the_client_draws_a_bar_when_asked_and_tells_who_asks(mlpq: Mlpq, large_file: Path) -> None:
    assert mlpq
    program = (
        "import sys, mlpq; told = [];"
        "c = mlpq.Client(); c.upload(sys.argv[1], progress=True);"
        "c.upload(sys.argv[1]); c.upload(sys.argv[1], progress=lambda done, size: told.append((done, size)));"
        "print(len(told), told[-1][0] == told[-1][1], told == sorted(told))"
    )
    terminal = Terminal("-c", program, str(large_file))
    assert terminal.seen.count("[b]large.csv") >= 1
    assert re.fullmatch(r"\d\d True True", terminal.printed.strip())


def test_a_terminal_sees_a_bar_and_a_curve_and_ctrl_c_leaves_the_job_running(mlpq: Mlpq) -> None:
    job = mlpq.json("train", "digits", "--epochs", "100000")["id"]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONUTF8": "1", "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    command = [sys.executable, "-m", "mlpq", "watch", job]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=environment)
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + 90
    while "━".encode() not in seen or not any(chr(c).encode() in seen for c in range(0x2801, 0x2900)):
        assert time.monotonic() < deadline, seen[-2000:]
        if select.select([ours], [], [], 0.5)[0]:
            seen += os.read(ours, 65536)
    process.send_signal(signal.SIGINT)
    while select.select([ours], [], [], 0.5)[0]:
        try:
            if not os.read(ours, 65536):
                break
        except OSError:
            break
    _, said = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 130
    assert f"mlpq watch {job}".encode() in said
    assert mlpq.json("show", job)["status"] == "running"
    mlpq("cancel", job)


@pytest.mark.parametrize(
    "command",
    [
        "up",
        "demo",
        "version",
        "train",
        "jobs",
        "show",
        "watch",
        "weights",
        "predict",
        "evaluate",
        "card",
        "fork",
        "cancel",
        "pause",
        "resume",
        "datasets",
        "upload",
        "capabilities",
        "explain",
        "top",
        "sweep",
        "sweeps",
        "batch",
        "config",
    ],
)
def test_every_command_has_help_and_speaks_json(mlpq: Mlpq, command: str) -> None:
    assert "--json" in mlpq(command, "--help")


def test_the_lecture_is_computed_row_by_row(mlpq: Mlpq, client: Client) -> None:
    shown = mlpq("lecture", "l04")
    assert "L04 · The softmax loss of the example" in shown
    assert "1.040191" in shown
    assert "1.0402" in shown
    document = mlpq.json("lecture", "L04")
    assert document["ok"] is True
    assert [claim["slide"] for claim in document["claims"]][-2:] == ["1.0402", "0.452"]
    assert len(client.lecture()) == 50
    lines = mlpq("lecture").splitlines()
    assert len(lines) == 51
    assert sum(line.split()[-1] == "holds" for line in lines) == 45
    with pytest.raises(NotFoundError):
        client.lecture_row("L51")


def test_a_command_without_arrays_needs_no_numpy_and_no_event_loop(service_url: str) -> None:
    code = (
        "import sys, mlpq.cli\n"
        "try: mlpq.cli.main(['jobs', '--limit', '1'])\nexcept SystemExit as end: assert not end.code\n"
        "heavy = {'numpy', 'asyncio', 'yaml', 'tomllib', 'rich.progress', 'mlpq.plot', 'mlpq.notebook.cards'}\n"
        "print(heavy & {*sys.modules} or 'light', file=sys.stderr)"
    )
    environment = {**os.environ, "MLPQ_URL": service_url}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "light"


def test_help_imports_nothing_heavy() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "mlpq", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Exit status" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not {"numpy", "httpx2", "asyncio", "pydantic", "mlpq.client", "mlpq.plot", "csv"} & imported


@pytest.mark.parametrize(("words", "read"), [("--help", set()), ("sweep --help", {"sweep"})])
def test_only_the_options_of_the_command_that_is_called_are_read(words: str, read: set[str]) -> None:
    code = (
        "import sys, typer.main, mlpq.cli\n"
        "read, look = set(), typer.main.get_params_from_function\n"
        "typer.main.get_params_from_function = lambda function: read.add(function.__name__) or look(function)\n"
        "commands = {info.callback.__name__ for info in mlpq.cli.app.registered_commands}\n"
        "try: mlpq.cli.main(sys.argv[1:])\nexcept SystemExit: print(*read & commands, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(done.stderr.split()) == read
