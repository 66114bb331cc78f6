"""The `mlpq` command as tests run it: in this process, or with a terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlpq.cli import main


class Mlpq:
    """Runs the command in this process, in a folder of its own."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        patch.chdir(folder)
        self.stderr = ""

    def __call__(self, *arguments: str, status: int = 0, stdin: str = "") -> str:
        """Standard output; fails unless the exit status is `status`."""
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
        with self.patch.context() as patch:
            patch.delenv("COLUMNS", raising=False)
            for name, stream in (("stdin", io.StringIO(stdin)), ("stdout", out), ("stderr", err)):
                patch.setattr(sys, name, stream)
            with pytest.raises(SystemExit) as ended:
                main(arguments)
        out.seek(0)
        printed, self.stderr = out.read(), err.getvalue()
        assert (ended.value.code or 0) == status, f"{ended.value.code}: {printed}\n{self.stderr}"
        return printed

    def json(self, *arguments: str, **options: Any) -> dict[str, Any]:
        """The one JSON document on standard output."""
        (line,) = self(*arguments, "--json", **options).splitlines()
        return dict(json.loads(line))


class Terminal:
    """Standard error of a command as a terminal; what a person saw there, and what came out of standard output."""

    def __init__(self, *arguments: str) -> None:
        ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "PYTHONUTF8": "1"}
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True
        )
        os.close(theirs)
        seen = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the terminal's other side is closed
                break
            seen += piece
            if not piece:
                break
        os.close(ours)
        assert process.stdout is not None
        self.printed = process.stdout.read()
        process.stdout.close()
        assert process.wait(30) == 0, seen
        self.seen = seen.decode()
