"""Turn one sign in the sources at a time and see that the suite notices: `make mutants`.

    python -m tests.mutants                  # the sources whose tests compile nothing; minutes
    python -m tests.mutants --compiled       # the compiled kernels as well; about a minute each
    python -m tests.mutants optimizers       # only files whose path holds the word

Every mutant is planted in a copy of the checkout and judged by the tests of its file. One that no test notices is
printed, and the exit status is 1. What tests/nets/test_gradient_mutants.py plants while the suite runs is not repeated.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
TIMEOUT_S = 600


@dataclass(frozen=True)
class Source:
    """One file: what in it is turned (pattern, replacement), and the tests that must notice."""

    path: str
    turns: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]
    compiled: bool = False


CALLS = (
    (r"\bxp\.subtract\b", "xp.add"),
    (r"\bxp\.add\b", "xp.subtract"),
    (r"\bxp\.negative\b", "xp.positive"),
)
STEPS = (
    (r'"subtract"', '"add"'),
    (r'"add"', '"subtract"'),
    (r"tape\.constant\(-1\.0\)", "tape.constant(1.0)"),
    (r"tape\.constant\(0\.5\)", "tape.constant(-0.5)"),
    (r"tape\.constant\(2\.0\)", "tape.constant(-2.0)"),
    (r"tape\.constant\(_SLOPE", "tape.constant(-_SLOPE"),
    (r"one, minus\)", "minus, one)"),
)
IN_PLACE = (
    (r"= -(?=rest|active)", "= "),
    (r"\* peak\[b\]$", "* -peak[b]"),
    (r"= weights\[b\] if", "= -weights[b] if"),
    (r"values\[b\] \+= result", "values[b] -= result"),
)
FORMS = (
    (r'"\{\} \+ \{\}"', '"{} - {}"'),
    (r'"\{\} - \{\}"', '"{} + {}"'),
)
MATRICES = ((r"\bup @", "-up @"), (r"@ up\b", "@ -up"))
SOURCES = (
    Source("nets/losses.py", CALLS, ("tests/nets/test_losses.py", "tests/nets/test_gradient_matrix.py -k numpy")),
    Source("nets/batch_norm.py", CALLS, ("tests/nets/test_regularisation.py",)),
    Source("kernels/derivative.py", STEPS, ("tests/kernels/test_custom_activations.py",)),
    Source(
        "nets/gates.py", ((r"\bup @", "-up @"), (r"@ up\b", "@ -up")), ("tests/nets/test_gradient_mutants.py -k gate",)
    ),
    Source(
        "kernels/compiled/losses.py",
        IN_PLACE,
        ("tests/nets/test_gradient_matrix.py -k compiled", "tests/nets/test_compiled_engine.py -k follow"),
        compiled=True,
    ),
    Source(
        "kernels/compiled/programs.py",
        ((r"Numbers\.subtract\b", "Numbers.add"), (r"Numbers\.add\b", "Numbers.subtract")),
        ("tests/kernels/test_compiled_kernels.py",),
        compiled=True,
    ),
    Source("kernels/compiled/updates.py", FORMS, ("tests/nets/test_compiled_engine.py -k follow",), compiled=True),
)


@dataclass(frozen=True)
class Mutant:
    """One turned sign: the file's whole new text, and where it differs."""

    source: Source
    line: int
    before: str
    after: str
    text: str


def mutants_of(source: Source, root: Path = ROOT) -> list[Mutant]:
    """Every place of the file that a turn applies to, one at a time; comments and docstrings are not touched."""
    lines = (root / source.path).read_text("utf-8").splitlines(keepends=True)
    found, quoted = [], False
    for number, line in enumerate(lines):
        inside, quotes = quoted, line.count('"""')
        quoted ^= quotes % 2 == 1
        if inside or quotes or line.lstrip().startswith("#"):
            continue
        for pattern, replacement in source.turns:
            for match in re.finditer(pattern, line.rstrip("\n")):
                after = line[: match.start()] + match.expand(replacement) + line[match.end() :]
                text = "".join([*lines[:number], after, *lines[number + 1 :]])
                found.append(Mutant(source, number + 1, line.strip(), after.strip(), text))
    return found


def survives(mutant: Mutant, root: Path) -> bool:
    """True if the tests of its file pass with it. The file is put back."""
    path = root / mutant.source.path
    right = path.read_text("utf-8")
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    if not mutant.source.compiled:
        environment["MLPQ_COMPILED"] = "0"
    try:
        path.write_text(mutant.text, "utf-8")
        return all(
            subprocess.run(
                [sys.executable, "-m", "pytest", "-x", "-q", *tests.split()],
                cwd=root, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False,
            ).returncode == 0
            for tests in mutant.source.tests
        )  # fmt: skip
    finally:
        path.write_text(right, "utf-8")


def main(arguments: list[str]) -> int:
    """Try every mutant; 1 if one survives."""
    words = [word for word in arguments if not word.startswith("-")]
    chosen = [
        mutant
        for source in SOURCES
        if (not source.compiled or "--compiled" in arguments) and (not words or any(w in source.path for w in words))
        for mutant in mutants_of(source)
    ]
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="mlpq-mutants-") as folder:
        root = Path(folder) / "checkout"
        shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(".venv", ".git", "*cache*", "mlpq-data"))
        for mutant in chosen:
            began = time.monotonic()
            alive = survives(mutant, root)
            survivors += alive
            said = f"{'SURVIVES' if alive else 'seen':8} {time.monotonic() - began:5.1f} s"
            print(f"{said}  {mutant.source.path}:{mutant.line}: {mutant.after}", flush=True)
    print(f"{len(chosen)} signs turned, {survivors} not noticed")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
