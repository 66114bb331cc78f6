"""Every block of README and docs that can run does, as it stands there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.snippets import ELSEWHERE, PAGES, ROOT, RUN, SHOWN, Snippet, program, runs, snippets

RUNNING = [
    pytest.param(page, id=str(page.relative_to(ROOT)))
    for page in PAGES
    if str(page.relative_to(ROOT)) not in ELSEWHERE and any(map(runs, snippets(page)))
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a reader's own files are."""
    (tmp_path / "flowers.csv").write_text("length,species\n" + "".join(f"{n},{'ab'[n > 20]}\n" for n in range(40)))
    return tmp_path


@pytest.mark.parametrize("page", RUNNING)
def test_the_blocks_of_a_page_run_in_order(page: Path, service_url: str, folder: Path) -> None:
    blocks = list(filter(runs, snippets(page)))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "MLPQ_URL": service_url, "PYTHONPATH": str(ROOT)}
    command = ["bash", "-c", program(blocks, service_url)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_names_its_language_and_has_a_reason_not_to_run(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = snippets(page)
    name = str(page.relative_to(ROOT))
    assert text.count("\n```") + text.startswith("```") == 2 * len(blocks), "a block that is not closed, or in a list"
    for block in blocks:
        allowed = (*RUN, *SHOWN, "pycon") if name in ELSEWHERE else (*RUN, *SHOWN)
        assert block.language in allowed, f"{name}:{block.line}"
        assert block.not_run is None or block.language in RUN, f"{name}:{block.line} does not run anyway"
    indented = [
        line for line in text.splitlines() if line.startswith(("    $", "    docker", "    mlpq", "    python"))
    ]
    assert not indented, "commands that no test sees"


@pytest.mark.parametrize("other", ELSEWHERE.values())
def test_what_runs_elsewhere_is_there(other: str) -> None:
    assert (ROOT / other).exists()


def test_a_block_that_fails_is_named(tmp_path: Path) -> None:
    page = ROOT / "docs" / "index.md"
    for language, text in (("bash", "false\n"), ("python", "raise SystemExit(3)\n"), ("bash", "absent | cat\n")):
        bad = Snippet(page.name, 7, language, text, None)
        good = Snippet(page.name, 1, "bash", "X=1\n", None)
        done = subprocess.run(["bash", "-c", program([good, bad, good], "http://x")], capture_output=True, text=True)
        assert done.returncode != 0
        assert "at index.md:7" in done.stderr.splitlines()
        assert done.stderr.count("at index.md") == 2
