"""Sweeps and batches from Python and from the command line, on a real service."""

from __future__ import annotations

import io
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mlpq import ConflictError, InvalidInputError, JobFailedError
from tests.mlpq.command import Mlpq
from tests.mlpq.on_a_loop import KINDS, connect

BASE = {"net": {"hidden": [8]}, "training": {"epochs": 3}}
GRID = {"optimizer.learning_rate": [1e-6, 0.05], "net.hidden": [[], [8]]}
GRID_OPTIONS = ("--grid", "optimizer.learning_rate=1e-6,0.05", "--grid", "net.hidden=[],[8]")


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_is_awaited_and_tells_its_best(kind: str, service_url: str) -> None:
    with connect(kind, service_url) as client:
        sweep = client.sweep("iris", grid=GRID, base=BASE, name="rates", objective="val_accuracy")
        assert (sweep.direction, len(sweep.trials)) == ("maximize", 4)
        sweep.wait(timeout_s=60)
        rows = sweep.table()
        assert rows[0]["job"] == sweep.best.id
        assert [row["val_accuracy"] for row in rows] == sorted((row["val_accuracy"] for row in rows), reverse=True)
        assert set(rows[0]) == {"job", *GRID, "val_accuracy", "status", "epoch"}
        best = sweep.best_job()
        assert best.final_metrics["val_accuracy"] == sweep.best.objective
        assert {job.id for job in sweep.jobs()} == {trial.id for trial in sweep.trials}
        assert sweep.curves(jobs=2)[best.id]["epoch"] == [1, 2, 3]
        assert sweep.id in {one.id for one in client.sweeps(limit=5)}
        sweep.delete()
        assert sweep.id not in {one.id for one in client.sweeps(limit=5)}


@pytest.mark.parametrize("kind", KINDS)
def test_points_are_added_and_the_sweep_goes_on(kind: str, service_url: str) -> None:
    with connect(kind, service_url) as client:
        study = client.sweep("iris", points=[{"training.seed": 1}], base=BASE).wait()
        added = study.add([{"net.hidden": (4,)}, {"training.seed": 3, "dataset": "wine"}])
        assert (study.status, study.done) == ("running", (1, 3))
        added += client.add_points(study.id, [{"training.seed": 4}])
        assert [job.record.raw["point"].get("training.seed") for job in added] == [None, 3, 4]
        study.wait(timeout_s=60)
        assert [trial.id for trial in study.trials[1:]] == [job.id for job in added]
        with pytest.raises(InvalidInputError) as error:
            study.add([{}, {"net.hidden": [0]}])
        assert [problem.pointer for problem in error.value.errors] == ["/list/1/net.hidden/0"]
        with pytest.raises(ConflictError, match="only a list"):
            client.sweep("iris", grid={"training.seed": [1]}, base=BASE).add([{}])


def test_a_sweep_that_is_cancelled_has_no_result(client: Any) -> None:
    long = client.sweep("digits", grid={"training.seed": range(3)}, base={"training": {"epochs": 1_000_000}})
    long.cancel()
    with pytest.raises(JobFailedError, match="cancelled"):
        long.wait(timeout_s=30)
    assert long.wait(check=False).status == "cancelled"


def test_what_no_job_can_have_is_named(client: Any) -> None:
    with pytest.raises(InvalidInputError) as error:
        client.sweep("iris", grid={"net.hidden": [[8], [0]]})
    assert [problem.pointer for problem in error.value.errors] == ["/grid/net.hidden/1/0"]
    with pytest.raises(InvalidInputError) as error:
        client.submit_many([{"dataset": "iris"}, {"dataset": "iris", "net": {"hidden": [0]}}])
    assert [problem.pointer for problem in error.value.errors] == ["/jobs/1/net/hidden/0"]


@pytest.mark.parametrize("kind", KINDS)
def test_more_jobs_than_one_request_takes_are_queued_in_order(
    kind: str, service_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlpq.api.BATCH_JOBS", 10)
    specification = {"dataset": "iris", "training": {"epochs": 1}, "priority": -1}
    with connect(kind, service_url) as client:
        jobs = client.submit_many([specification | {"name": f"n{number}"} for number in range(23)])
        assert [job.record.name for job in jobs] == [f"n{number}" for number in range(23)]
        assert client.submit_many([]) == []
        for job in jobs:
            with suppress(ConflictError):  # it has ended
                job.cancel()


def test_a_sweep_from_the_command_line(mlpq: Mlpq, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("net: {activation: tanh}\ntraining: {epochs: 50, batch_size: 16}\n")
    shared = ("--spec", "base.yaml", "--activation", "elu", "--epochs", "9", "--set", "training.epochs=3")
    shown = mlpq("sweep", "iris", *GRID_OPTIONS, *shared, "--watch")
    head, titles, *rows = [line for line in shown.splitlines() if line.strip()]
    assert head.split()[1] == "succeeded"
    assert titles.split() == ["job", *GRID, "val_loss", "epoch", "status"]
    assert [row.startswith("*") for row in rows] == [True, False, False, False]
    again = mlpq.json("sweep", "last")
    assert (again["id"], again["best"]["id"]) == (head.split()[0], rows[0].split()[1])
    spec = mlpq.json("show", again["best"]["id"])["spec"]
    assert (spec["net"]["activation"][0]["name"], spec["training"]["epochs"], spec["training"]["batch_size"]) == (
        "elu",
        3,
        16,
    )
    assert again["id"] in mlpq("sweeps")
    assert mlpq.json("sweeps", "--limit", "1")["data"][0]["id"] == again["id"]


def test_draws_and_halving_from_the_command_line(mlpq: Mlpq) -> None:
    draws = ("--random", "4", "--draw", "optimizer.learning_rate=log_uniform:1e-4:0.1")
    draws += ("--draw", "net.hidden=choice:[8],[4,4]", "--draw", "training.batch_size=int:8:32")
    found = mlpq.json("sweep", "iris", *draws, "--asha", "1:4:2", "--seed", "3", "--watch")
    assert (found["kind"], found["rungs"], found["n_jobs"], found["status"]) == ("asha", [1, 2], 4, "succeeded")
    assert {job["epoch"] for job in found["jobs"]} <= {1, 2, 4}
    found = mlpq.json("sweep", "digits", *draws, "--set", "training.epochs=1000000")
    assert found["kind"] == "random"
    assert mlpq.json("sweep", found["id"], "--cancel")["status"] in {"cancelled", "cancelling"}


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--grid", "net.hidden"),
        ("--grid", "net.bias=true", "--draw", "net.dropout=uniform:0:1"),
        ("--grid", "net.bias=true", "--random", "3"),
        ("--grid", "net.bias=true", "--points", "points.yaml"),
        ("--points", "none.yaml"),
        ("--points", "none.yaml", "--seed", "3"),
        ("--draw", "net.dropout=uniform:0:1"),
        ("--draw", "net.dropout=uniform:0", "--random", "3"),
        ("--draw", "net.dropout=uniform:0:0.5", "--random", "3", "--asha", "1"),
    ],
)
def test_options_that_are_no_plan_are_refused(mlpq: Mlpq, options: tuple[str, ...]) -> None:
    mlpq("sweep", "iris", *options, status=2)
    assert mlpq.stderr.startswith("mlpq: ")


def test_points_from_a_file_and_why_jobs_ended(mlpq: Mlpq, tmp_path: Path) -> None:
    wild = {"optimizer": {"name": "sgd", "learning_rate": 1.0, "l2": 5e4}, "training.early_stopping": None}
    points = [{"training.seed": 1}, {"training.seed": 2, "net.hidden": [8]}, wild]
    (tmp_path / "points.yaml").write_text("\n".join(f"- {json.dumps(point)}" for point in points))
    stopping = ("--set", "training.early_stopping.patience=1", "--set", "training.early_stopping.min_delta=9")
    shared = ("--hidden", "4 2", "--epochs", "40")
    shown = mlpq("sweep", "iris", "--points", "points.yaml", *shared, *stopping, "--watch")
    assert shown.split()[1] == "succeeded"
    rows = [line.rstrip() for line in shown.splitlines()[2:]]
    ends = ["succeeded, early stopped", "succeeded, early stopped", "failed, diverged"]
    assert [row.endswith(end) for row, end in zip(rows, ends, strict=True)] == [True, True, True], shown
    found = mlpq.json("sweep", "last")
    assert (found["kind"], [job["point"] for job in found["jobs"]]) == ("list", points)
    widths = [mlpq.json("show", job["id"])["spec"]["net"]["hidden"] for job in found["jobs"]]
    assert widths == [[4, 2], [8], [4, 2]]
    (tmp_path / "more.yaml").write_text("- training.seed: 3")
    more = mlpq.json("sweep", found["id"], "--points", "more.yaml", "--watch")
    assert [job["point"] for job in more["jobs"]] == [*points, {"training.seed": 3}]
    assert more["counts"] == found["counts"] | {"succeeded": 3}
    for lost in (("--grid", "net.bias=true"), ("--epochs", "9"), ("--seed", "0"), ("--name", "other")):
        mlpq("sweep", found["id"], *lost, status=2)
        assert "only --points adds to one" in mlpq.stderr
    mlpq("sweep", "iris", "--grid", "net.bias=true", "--cancel", status=2)
    assert "--cancel is for a sweep" in mlpq.stderr


def test_of_a_sweep_that_halved_the_table_says_where_each_stood(mlpq: Mlpq) -> None:
    draws = ("--random", "4", "--draw", "optimizer.learning_rate=log_uniform:1e-4:0.1", "--set", "net.hidden=[8]")
    shown = mlpq("sweep", "iris", *draws, "--asha", "1:4:2", "--watch")
    ends = [line.split(maxsplit=4)[-1].strip() for line in shown.splitlines()[3:]]
    assert "succeeded" in shown
    assert ends
    assert all(re.fullmatch(r"(\S+ )?(succeeded|not promoted, \d of \d)", end) for end in ends), ends


def test_a_watched_sweep_is_a_bar_in_a_terminal(service_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = io.StringIO()
    monkeypatch.setattr(drawn, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", drawn)
    monkeypatch.setenv("TERM", "xterm")
    with connect("blocking", service_url) as client:
        sweep = client.sweep("iris", grid={"training.seed": [1, 2, 3]}, base=BASE)
        assert sweep.done[1] == 3
        sweep.wait(progress=True)
    assert sweep.done == (3, 3)
    assert sweep.headline == f"{sweep.id} succeeded, best val_loss {sweep.best.objective:.4g}"
    assert sweep.id in drawn.getvalue()
    assert "3/3" in drawn.getvalue()
    assert "jobs" in drawn.getvalue()


@pytest.mark.parametrize("ending", ["yaml", "json"])
def test_a_list_of_jobs_from_a_file(mlpq: Mlpq, tmp_path: Path, ending: str) -> None:
    jobs = [{"dataset": "iris", "name": f"n{number}", "training": {"seed": number}} for number in range(3)]
    text = json.dumps({"jobs": jobs}) if ending == "json" else "\n".join(f"- {json.dumps(job)}" for job in jobs)
    (tmp_path / f"jobs.{ending}").write_text(text)
    found = mlpq.json("batch", f"jobs.{ending}", "--set", "training.epochs=1")["data"]
    assert [(job["name"], job["spec"]["training"]["epochs"]) for job in found] == [("n0", 1), ("n1", 1), ("n2", 1)]
    (tmp_path / "none.yaml").write_text("dataset: iris")
    mlpq("batch", "none.yaml", status=2)
