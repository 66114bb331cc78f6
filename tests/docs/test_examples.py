"""Every program in examples/ runs against a service."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ELSEWHERE = {"lecture_figures.py": "tests/lecture/test_L16_L30_pictures.py"}
"""Examples that another test runs."""

SAID = {
    "asyncio_jobs.py": "16 hidden units",
    "optuna_ask_tell.py": "best validation loss",
    "own_csv.py": "a hot day sells",
    "plain_numpy.py": "largest difference",
    "train_digits.py": "'W1': (64, 128)",
}


@pytest.mark.parametrize("name", SAID)
def test_an_example_runs_and_says_what_it_should(name: str, service_url: str, tmp_path: Path) -> None:
    environment = {**os.environ, "MLPQ_URL": service_url, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / name)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert SAID[name] in done.stdout


def test_every_example_is_run_by_a_test_and_listed() -> None:
    there = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert there == {*SAID, *ELSEWHERE}
    listed = (ROOT / "docs" / "lecture.md").read_text(encoding="utf-8")
    assert all(f"examples/{name}" in listed for name in there)
    for name, other in ELSEWHERE.items():
        assert name in (ROOT / other).read_text(encoding="utf-8")
