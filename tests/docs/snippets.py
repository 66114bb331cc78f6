"""The fenced blocks of README and docs, and pages as programs that run them in order.

A block in `bash` or `python` runs, in the order of its page, in one folder and one shell: what a line sets, others see.
`<!-- not run: reason -->` on the line before the fence says why a block does not. Other languages are shown, not run;
one that begins with `# NAME.yaml` is written to that file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

RUN = ("bash", "python")
SHOWN = ("json", "yaml", "toml", "text")
ELSEWHERE = {
    "docs/sklearn.md": "tests/mlpq/test_sklearn_estimators.py",
    "docs/reference-python.md": "tests/mlpq/test_doctests.py",
}
"""Pages whose blocks another test runs."""

_FENCE = re.compile(r"^(?:<!-- not run: (?P<why>[^\n]+) -->\n+)?```(?P<language>\S*)\n(?P<text>.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Snippet:
    """One block.

    Attributes:
        page: the file, from the repository's root.
        line: where its first line stands.
        language: what stands behind the fence.
        text: what it says.
        not_run: the reason, or None.
    """

    page: str
    line: int
    language: str
    text: str
    not_run: str | None


def snippets(page: Path) -> list[Snippet]:
    """The blocks of a page in order."""
    text = page.read_text(encoding="utf-8")
    name = str(page.relative_to(ROOT))
    return [
        Snippet(name, text.count("\n", 0, found.start("text")) + 1, found["language"], found["text"], found["why"])
        for found in _FENCE.finditer(text)
    ]


def runs(block: Snippet) -> bool:
    """Whether a block takes part in its page's program."""
    return block.not_run is None and (block.language in RUN or _file(block) is not None)


def _file(block: Snippet) -> str | None:
    named = re.match(r"# ([\w-]+\.(?:yaml|json|toml))\n", block.text)
    return named[1] if named and block.language in SHOWN else None


def program(blocks: list[Snippet], url: str) -> str:
    """A bash script that runs blocks in order and stops at the first that fails; it names each on standard error."""
    lines = ["set -euo pipefail"]
    for block in blocks:
        lines.append(f"echo 'at {block.page}:{block.line}' >&2")
        if (file := _file(block)) is not None:
            lines.append(f"cat > {file} <<'END OF SNIPPET'\n{block.text}END OF SNIPPET")
            continue
        text = block.text.replace("http://127.0.0.1:8000", url).replace("localhost:8000", url.removeprefix("http://"))
        lines.append(
            text if block.language == "bash" else f"python -W error - <<'END OF SNIPPET'\n{text}END OF SNIPPET"
        )
    return "\n".join(lines)
