"""`mlpq demo` as a newcomer runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from mlpq.up.launch import deployment
from mlpq.up.lock import running_deployment
from tests.processes import processes_with


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=110, env={**os.environ, "PYTHONUTF8": "1", **environment}
    )


def test_the_demo_trains_checks_and_leaves_nothing_running(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    done = run("-m", "mlpq", "demo", "--data-dir", str(data_dir))
    assert done.returncode == 0, done.stdout + done.stderr
    for said in ("accuracy", "agrees", "weights.npz", "mlpq up", "validation loss"):
        assert said in done.stdout
    assert (data_dir / "demo" / "weights.npz").is_file()
    assert running_deployment(data_dir) is None
    assert processes_with(str(data_dir)) == []


def test_the_demo_uses_what_runs_already_and_leaves_it_running(tmp_path: Path) -> None:
    with deployment(tmp_path / "data", "--port", "0", "--device", "cpu") as (url, _):
        done = run("-m", "mlpq", "demo", "--data-dir", str(tmp_path / "data"), "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        (line,) = done.stdout.splitlines()
        outcome = json.loads(line)
        assert outcome["url"] == url
        assert outcome["ok"]
        assert outcome["val_accuracy"] >= 0.96
        assert outcome["largest_difference"] <= 1e-5
        assert outcome["rows_checked"] >= 100
        assert running_deployment(tmp_path / "data") is not None
