"""What the README tells people to type does work, as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The README's fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def run(command: list[str], folder: Path, url: str) -> str:
    """Run in an empty folder against the service; what it printed."""
    environment = {**os.environ, "MLPQ_URL": url, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_readme_s_python_runs(service_url: str, tmp_path: Path) -> None:
    (code,) = blocks("python")
    shown = run([sys.executable, "-c", code + "print(sorted(weights))"], tmp_path, service_url)
    assert "MetricEvent" in shown
    assert "'W1', 'W2', 'W3', 'b1', 'b2', 'b3'" in shown


def test_the_readme_s_commands_run(service_url: str, tmp_path: Path) -> None:
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("mlpq ")]
    assert len(lines) == 5
    (tmp_path / "flowers.csv").write_text("length,species\n" + "".join(f"{n},{'ab'[n > 20]}\n" for n in range(40)))
    for line in lines:
        assert run([sys.executable, "-m", *shlex.split(line, comments=True)], tmp_path, service_url)
    assert (tmp_path / "weights.npz").stat().st_size > 1000
